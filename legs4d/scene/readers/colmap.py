"""A COLMAP model with pictures over time, read by pycolmap.

    sparse/0/ (or sparse/)         cameras, images and points3D, .bin or .txt; cameras without distortion
    images/<camera>/<frame>.jpg    one folder per camera, or
    images/<frame>/<camera>.jpg    one folder per frame, or
    images/<camera>.jpg            a scene at one moment

The model names pictures relative to images/. It may hold one moment (each camera once: cameras stand still) or all
(each picture has its own pose: cameras move). The first of every eight cameras, by name, is held out. Training starts
from the model's points.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.images import check_image_size, read_image
from legs4d.scene.readers.footage import Footage, hash_files, held_out, split_cameras
from legs4d.scene.sequence import InitialPoints, Split

if TYPE_CHECKING:
    import pycolmap

FPS = 30.0
"""Frames per second: COLMAP knows no time."""

_PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class _Pose:
    """One registered picture: camera and frame by name, world to camera [4, 4], intrinsics [3, 3], size."""

    camera: str
    frame: str
    world_to_camera: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    size: tuple[int, int]


def find_model(root: Path) -> Path | None:
    """The folder of the COLMAP model in a dataset folder."""
    for name in ("sparse/0", "sparse"):
        if any((root / name / f"cameras.{suffix}").is_file() for suffix in ("bin", "txt")):
            return root / name
    return None


class ColmapSequence(Footage):
    """A `Sequence` with a COLMAP model.

    Raises:
        DatasetError: pycolmap is not installed, the model cannot be read or is empty, a camera has distortion, cameras
            differ in size, a picture is missing, or pictures and model do not fit together.
    """

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        folder = find_model(root)
        if folder is None:
            raise DatasetError("has no sparse/0 with a COLMAP model", where=str(root), fix="run COLMAP's mapper first")
        model = _read_model(folder)
        files = _list_pictures(root / "images")
        per_frame = _is_per_frame(model, files, str(folder))
        poses = [_pose(image, per_frame, str(folder)) for image in model.images.values()]
        table = _by_camera_and_frame(files, root / "images", per_frame)
        names, moments = _complete(table, {p.camera for p in poses}, str(root / "images"))
        width, height = _one_size(poses, str(folder))
        for name in names:
            for moment in moments:
                check_image_size(table[name][moment], width, height)
        all_cameras = _cameras(poses, names, moments, width, height, str(folder))
        self._files = [[table[name][moment] for name in names] for moment in moments]
        model_files = sorted(p for p in folder.iterdir() if p.is_file())
        super().__init__(
            root,
            scale,
            split_cameras(all_cameras, held_out(len(names))),
            FPS,
            hash_files(*model_files, *(path for paths in self._files for path in paths)),
            points=_points(model),
        )

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        return read_image(self._files[frame][self._tracks[split][frame].ids[camera]])


def _read_model(folder: Path) -> pycolmap.Reconstruction:
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
    if not model.num_images():
        raise DatasetError("has no registered pictures", where=str(folder), fix="run COLMAP's mapper again")
    return model


def _list_pictures(folder: Path) -> list[PurePosixPath]:
    """Pictures in images/ and its folders, relative to it, sorted."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES) if folder.is_dir() else []
    if not found:
        raise DatasetError("has no pictures", where=str(folder), fix="put them there as <camera>/<frame>.jpg")
    return [PurePosixPath(p.relative_to(folder).as_posix()) for p in found]


def _is_per_frame(model: pycolmap.Reconstruction, files: list[PurePosixPath], where: str) -> bool:
    """Whether folders are frames and pictures cameras: else it is the other way round."""
    parents, stems = {p.parent.name for p in files}, {p.stem for p in files}
    if parents == {""}:
        return True
    registered = [PurePosixPath(image.name) for image in model.images.values()]
    if all(p.parent.name == "" for p in registered):
        # The model was made from one picture per camera, named after it.
        names = {p.stem for p in registered}
        if not names <= parents and not names <= stems:
            lost = sorted(names - parents)[0]
            raise DatasetError(
                f"names the picture {lost!r}, but images/ has neither a folder nor pictures of this name",
                where=where,
                fix="name folders (or the pictures in per-frame folders) as the model names its pictures",
            )
        return not names <= parents
    # One folder for all of the model's pictures is the frame it was made from, unless it is the only camera.
    return len({p.parent.name for p in registered}) == 1 < len(registered)


def _pose(image: Any, per_frame: bool, where: str) -> _Pose:
    name, camera = PurePosixPath(image.name), image.camera
    if camera.model_name not in ("PINHOLE", "SIMPLE_PINHOLE"):
        raise DatasetError(
            f"{image.name} was taken by a camera of model {camera.model_name}, whose lens is distorted",
            where=where,
            fix="run `colmap image_undistorter` and give its output",
        )
    key, frame = (name.stem, name.parent.name) if per_frame else (name.parent.name or name.stem, name.stem)
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().matrix()
    return _Pose(key, frame, matrix, camera.calibration_matrix(), (camera.width, camera.height))


def _by_camera_and_frame(files: list[PurePosixPath], folder: Path, per_frame: bool) -> dict[str, dict[str, Path]]:
    table: dict[str, dict[str, Path]] = {}
    for file in files:
        camera, frame = (file.stem, file.parent.name) if per_frame else (file.parent.name, file.stem)
        table.setdefault(camera, {})[frame] = folder / file
    return table


def _complete(table: dict[str, dict[str, Path]], posed: set[str], where: str) -> tuple[list[str], list[str]]:
    """Cameras that have poses, and frames, both by name; every camera has every frame."""
    lost = sorted(posed - set(table))
    if lost:
        raise DatasetError(f"has no pictures of camera {lost[0]!r}", where=where, fix="add them, or map again")
    names = sorted(posed)
    moments = sorted(set().union(*(table[name] for name in names)))
    for name in names:
        missing = sorted(set(moments) - set(table[name]))
        if missing:
            raise DatasetError(
                f"camera {name!r} has no picture of frame {missing[0]!r}",
                where=where,
                fix="every camera needs every frame",
            )
    return names, moments


def _one_size(poses: list[_Pose], where: str) -> tuple[int, int]:
    sizes = {pose.size for pose in poses}
    if len(sizes) != 1:
        (w1, h1), (w2, h2) = sorted(sizes)[:2]
        raise DatasetError(
            f"has cameras of {w1}×{h1} and of {w2}×{h2} pixels", where=where, fix="crop all pictures to one size"
        )
    return sizes.pop()


def _cameras(
    poses: list[_Pose], names: list[str], moments: list[str], width: int, height: int, where: str
) -> list[Cameras]:
    """All cameras of each frame, numbered by name; one pose per camera holds for all frames."""
    of_camera: dict[str, dict[str, _Pose]] = {}
    for pose in poses:
        of_camera.setdefault(pose.camera, {})[pose.frame] = pose

    def at(name: str, moment: str) -> _Pose:
        known = of_camera[name]
        if moment in known:
            return known[moment]
        if len(known) == 1:
            return next(iter(known.values()))
        raise DatasetError(
            f"camera {name!r} moves, but has no pose in frame {moment!r}",
            where=where,
            fix="register all of its pictures, or only one if it stands still",
        )

    frames = []
    for moment in moments:
        row = [at(name, moment) for name in names]
        world_to_camera = np.array([p.world_to_camera for p in row], np.float32)
        intrinsics = np.array([p.intrinsics for p in row], np.float32)
        frames.append(Cameras(world_to_camera, intrinsics, width, height, tuple(range(len(names)))))
    return frames


def _points(model: pycolmap.Reconstruction) -> InitialPoints | None:
    """The model's points; COLMAP does not know which of them are foreground."""
    points = list(model.points3D.values())
    if not points:
        return None
    return InitialPoints(
        np.array([p.xyz for p in points], np.float32),
        (np.array([p.color for p in points]) / 255).astype(np.float32),
        np.zeros(len(points), bool),
    )
