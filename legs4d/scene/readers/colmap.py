"""A COLMAP model with pictures over time, read by pycolmap.

    sparse/0/, sparse/1/, …        cameras, images and points3D, .bin or .txt; of several models the largest is read.
                                   Or in sparse/, in the folder itself, or in nerfstudio's colmap/sparse/
    images/<camera>/<frame>.jpg    one folder per camera, or
    images/<frame>/<camera>.jpg    one folder per frame, or
    images/<camera>.jpg            a scene at one moment
    images/<camera>/<frame>.jpg    with one folder alone: one camera in time, in the order of names
    masks/ (or seg/)               foreground where not black, named as the pictures (optional)

The model names pictures relative to images/. It may hold one moment (each camera once: cameras stand still) or all
(each picture has its own pose: cameras move). Frames are in the order of their numbers, whatever zeros lead them. The
first of every eight cameras, by name, is held out. Training starts from the model's points. Lenses are undistorted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import chosen_cameras, whole_frames
from legs4d.scene.footage.footage import Footage
from legs4d.scene.footage.frames import common_frames
from legs4d.scene.footage.names import (
    PICTURES,
    as_posix,
    folded,
    list_files,
    natural_key,
    numbers_of,
    some,
)
from legs4d.scene.footage.points import Points
from legs4d.scene.footage.shots import Shot, file_shot, held_out, split_shots, test_among
from legs4d.scene.layouts import PICTURE_FOLDER, find_models
from legs4d.scene.lens import COEFFICIENTS, ONE_FOCAL, Lens, lens_of

if TYPE_CHECKING:
    import pycolmap

FPS = 30.0
"""Frames per second: COLMAP knows no time."""


@dataclass(frozen=True)
class Pose:
    """One registered picture: camera and frame by name, world to camera [4, 4], lens."""

    camera: str
    frame: str
    world_to_camera: NDArray[np.float64]
    lens: Lens


class ColmapSequence(Footage):
    """A `Sequence` with a COLMAP model.

    Raises:
        DatasetError: pycolmap is not installed, the model cannot be read or is empty, a lens cannot be undone, pictures
            are missing, or pictures and model do not fit together.
    """

    def __init__(self, root: Path, settings: DatasetSettings) -> None:
        folders = find_models(root)
        if not folders:
            raise DatasetError("has no sparse/0 with a COLMAP model", where=str(root), fix="run COLMAP's mapper first")
        folder, model, of_models = _largest(folders)
        images = root / PICTURE_FOLDER
        files = _list_pictures(images)
        per_frame = _is_per_frame(model, files, str(folder))
        poses = [read_pose(image, per_frame, str(folder)) for image in model.images.values()]
        if (only := _only_camera(poses, files)) is not None and not per_frame:
            poses = [replace(pose, camera=only) for pose in poses]
        table = _by_camera_and_frame(files, images, per_frame)
        pictured = list(table)
        every = sorted({pose.camera for pose in poses}, key=natural_key)
        numbers = numbers_of(every)
        chosen = chosen_cameras([(name, str(n)) for name, n in zip(every, numbers, strict=True)], settings, str(root))
        names = [every[i] for i in chosen]
        lost = [name for name in names if name not in table]
        if lost:
            raise DatasetError(
                f"has no pictures of camera {lost[0]!r}", where=str(images), fix="add them, or leave this camera out"
            )
        at = _poses_at(poses)
        table, notes = _with_poses({name: table[name] for name in names}, at, per_frame, str(folder))
        moments, by_name, missing = common_frames(table, str(images))
        kept, of_missing = whole_frames(len(moments), missing, str(images))
        frames = []
        for moment in (moments[f] for f in kept):
            row = []
            for i, name in zip(chosen, names, strict=True):
                path = by_name[name][moment]
                pose = at(name, path.parent.name if per_frame else path.stem)
                assert pose is not None  # others are not in the table
                row.append(file_shot(Shot(numbers[i], pose.world_to_camera, pose.lens, path)))
            frames.append(row)
        model_files = sorted(p for p in folder.iterdir() if p.is_file())
        given = [path for row in frames for shot in row for path in (shot.picture, shot.mask) if path is not None]
        super().__init__(
            root,
            settings,
            split_shots(frames, test_among(chosen, held_out(len(every)))),
            FPS,
            (*model_files, *given),
            points=read_points(model),
            times=_times([moments[f] for f in kept]) if len(names) == 1 else kept,
            notes=(*of_models, *_without_poses(pictured, every, files), *notes, *of_missing, *_of_one_moment(frames)),
        )


def _largest(folders: list[Path]) -> tuple[Path, pycolmap.Reconstruction, tuple[str, ...]]:
    """The model with the most pictures, the first of equal ones, and a note of the others."""
    models = [read_colmap(folder) for folder in folders]
    counts = [model.num_images() for model in models]
    best = counts.index(max(counts))
    folder = folders[best]
    others = [f"{each.name} has {count}" for each, count in zip(folders, counts, strict=True) if each != folder]
    if not others:
        return folder, models[best], ()
    told = f"{folder.parent.name}/{folder.name} is read, with {counts[best]} pictures; {some(others)}"
    return folder, models[best], (f"COLMAP made {len(folders)} models that it could not join: {told}.",)


def _without_poses(pictured: list[str], posed: list[str], files: list[PurePosixPath]) -> tuple[str, ...]:
    """A note of the cameras that have pictures and are not in the model."""
    lost = sorted(set(pictured) - set(posed), key=natural_key)
    if not lost:
        return ()
    what = "cameras" if any(file.parent.name for file in files) else "pictures"
    return (f"{len(lost)} of {len(pictured)} {what} are left out, as the model has no pose of them: {some(lost)}.",)


def read_colmap(folder: Path) -> pycolmap.Reconstruction:
    """A model from its folder. Raises DatasetError when it cannot be read, or nothing is registered in it."""
    try:
        import pycolmap
    except ImportError as error:
        raise DatasetError(
            "COLMAP models need pycolmap, which is not installed", where=str(folder), fix="pip install pycolmap"
        ) from error
    try:
        model = pycolmap.Reconstruction(str(folder))
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(f"cannot be read as a COLMAP model ({reason})", where=str(folder)) from error
    try:
        _ = [image.name for image in model.images.values()]
    except UnicodeDecodeError as error:
        what = f"names a picture in letters that are not UTF-8 ({error.object!r})"
        raise DatasetError(what, where=str(folder), fix="rename it, and map again") from error
    if not model.num_images():
        raise DatasetError("has no registered pictures", where=str(folder), fix="run COLMAP's mapper again")
    return model


def _list_pictures(folder: Path) -> list[PurePosixPath]:
    """Pictures in images/ and its folders, relative to it, in natural order."""
    found = list_files(folder, PICTURES, deep=True)
    if not found:
        raise DatasetError("has no pictures", where=str(folder), fix="put them there as <camera>/<frame>.jpg")
    return [PurePosixPath(p.relative_to(folder).as_posix()) for p in found]


def _is_per_frame(model: pycolmap.Reconstruction, files: list[PurePosixPath], where: str) -> bool:
    """Whether folders are frames and pictures cameras: else it is the other way round."""
    parents, stems = {folded(p.parent.name) for p in files}, {folded(p.stem) for p in files}
    if parents == {""}:
        return True
    registered = [as_posix(image.name) for image in model.images.values()]
    if all(p.parent.name == "" for p in registered):
        # The model was made from one picture per camera, named after it.
        names = {folded(p.stem) for p in registered}
        if len(parents) == 1 and len(names) > 1 and names <= stems:
            return False  # all pictures in one folder: those of a camera, made into a model from within it
        if not names <= parents and not names <= stems:
            lost = sorted(names - parents)[0]
            raise DatasetError(
                f"names the picture {lost!r}, but images/ has neither a folder nor pictures of this name",
                where=where,
                fix="name folders (or the pictures in per-frame folders) as the model names its pictures",
            )
        return not names <= parents
    # One folder for all of the model's pictures is the frame it was made from, if others have the same cameras.
    if len({p.parent.name for p in registered}) > 1 or len(registered) == 1:
        return False
    return _come_again(files, folded(registered[0].parent.name), {folded(p.stem) for p in registered})


def _only_camera(poses: list[Pose], files: list[PurePosixPath]) -> str | None:
    """The only folder of pictures, where a model was made from within it, so that its names tell no folder."""
    folders = {folded(file.parent.name) for file in files}
    named = {pose.camera for pose in poses}
    return folders.pop() if len(folders) == 1 and len(named) > 1 and not named & folders else None


def _come_again(files: list[PurePosixPath], folder: str, names: set[str]) -> bool:
    """Whether another folder than this has pictures by any of these names."""
    return any(folded(file.parent.name) != folder and folded(file.stem) in names for file in files)


def read_pose(image: Any, per_frame: bool, where: str) -> Pose:
    """A registered picture of a model; `per_frame`: whether folders are frames."""
    name, camera = as_posix(image.name), image.camera
    key, frame = (name.stem, name.parent.name) if per_frame else (name.parent.name or name.stem, name.stem)
    key = folded(key)
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().matrix()
    model, values = str(camera.model_name), [float(value) for value in camera.params]
    focals = 1 if model in ONE_FOCAL else 2
    coefficients = dict(zip(COEFFICIENTS.get(model, ()), values[focals + 2 :], strict=False))
    focal, center = (values[0], values[focals - 1]), (values[focals], values[focals + 1]) if len(values) > 3 else (0, 0)
    lens = lens_of(model, camera.width, camera.height, focal, center, coefficients, f"{where}, {image.name}")
    return Pose(key, frame, matrix, lens)


def _by_camera_and_frame(files: list[PurePosixPath], folder: Path, per_frame: bool) -> dict[str, dict[str, Path]]:
    table: dict[str, dict[str, Path]] = {}
    for file in files:
        camera, frame = (file.stem, file.parent.name) if per_frame else (file.parent.name, file.stem)
        table.setdefault(folded(camera), {})[frame] = folder / file
    return table


def _poses_at(poses: list[Pose]) -> Callable[[str, str], Pose | None]:
    """A camera's pose in a frame, both by name; one pose per camera holds for all frames."""
    of_camera: dict[str, dict[Any, Pose]] = {}
    for pose in poses:
        of_camera.setdefault(pose.camera, {})[natural_key(pose.frame)] = pose

    def at(camera: str, frame: str) -> Pose | None:
        known = of_camera[camera]
        return next(iter(known.values())) if len(known) == 1 else known.get(natural_key(frame))

    return at


def _with_poses(
    table: dict[str, dict[str, Path]], at: Callable[[str, str], Pose | None], per_frame: bool, where: str
) -> tuple[dict[str, dict[str, Path]], tuple[str, ...]]:
    """The pictures that have a pose, as COLMAP seldom finds those of all pictures of what moves; and a note of others.

    Of several cameras, a frame then lacks a picture.

    Raises:
        DatasetError: no picture of a camera has a pose.
    """
    found: dict[str, dict[str, Path]] = {}
    lost: list[str] = []
    for camera, named in table.items():
        posed = {frame: at(camera, p.parent.name if per_frame else p.stem) is not None for frame, p in named.items()}
        found[camera] = {frame: path for frame, path in named.items() if posed[frame]}
        if not any(posed.values()):
            raise DatasetError(
                f"has no pose of any picture of camera {camera!r}, as {next(iter(named.values())).name}",
                where=where,
                fix="name pictures as the model does, whose names are relative to images/",
            )
        lost += [f"{camera}/{frame}" for frame, known in posed.items() if not known]
    count = sum(map(len, table.values()))
    return found, (f"{len(lost)} of {count} pictures have no pose, and are left out: {some(lost)}.",) * bool(lost)


def _times(names: list[str]) -> list[int]:
    """The time of each frame of one camera, in any unit: the number in its name, where one alone differs; else its
    place."""
    numbers = np.array([[value for kind, value in natural_key(name) if kind == 0] for name in names], object)
    apart = numbers - numbers[:1]  # of whole numbers of any size
    differ = (apart != 0).any(axis=0)
    return [int(value) for value in apart[:, differ.argmax()]] if differ.sum() == 1 else list(range(len(names)))


def _of_one_moment(frames: list[list[Shot]]) -> tuple[str, ...]:
    """A note where all pictures are of one moment: the films of people who meant otherwise lie in one folder too."""
    what = "pictures are of one moment: nothing moves in what they show. A film's go into a folder in images/."
    return (f"All {len(frames[0])} {what}",) * (len(frames) == 1)


def read_points(model: pycolmap.Reconstruction) -> Points | None:
    """The model's points, colours in 0..1; COLMAP does not know which of them are foreground."""
    points = list(model.points3D.values())
    if not points:
        return None
    colors = np.array([p.color for p in points]) / 255
    return np.array([p.xyz for p in points]), colors, np.zeros(len(points), bool)
