"""The layout of 4DGaussians' multipleview scripts (Wu et al. 2024):

    cam01/frame_00001.jpg, …              a folder of pictures per camera
    sparse_/                              a COLMAP model of one picture per camera, image1.jpg or cam01.jpg, …
    points3D_multipleview.ply             points to start from, where the model has none (optional)
    poses_bounds_multipleview.npy         LLFF's poses of the same cameras, read where there is no model

Pictures of the model belong to the folder of the same number. The first of every eight cameras is held out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import chosen_cameras, whole_frames
from legs4d.scene.footage.footage import Footage
from legs4d.scene.footage.frames import common_frames
from legs4d.scene.footage.names import PICTURES, list_files, list_folder, natural_key, numbers_of, some
from legs4d.scene.footage.points import Points, read_ply_points
from legs4d.scene.footage.shots import Shot, file_shot, held_out, split_shots, test_among
from legs4d.scene.images import inspect_picture
from legs4d.scene.layouts import MULTIPLEVIEW_MODEL, MULTIPLEVIEW_POSES, has_model
from legs4d.scene.lens import Lens
from legs4d.scene.readers.colmap import FPS, read_colmap, read_points, read_pose
from legs4d.scene.readers.llff import match_rows, read_poses

POINTS = "points3D_multipleview.ply"


class MultipleViewSequence(Footage):
    """A `Sequence` in 4DGaussians' layout of several cameras.

    Raises:
        DatasetError: there are no folders of pictures, poses cannot be read, or the two do not go together.
    """

    def __init__(self, root: Path, settings: DatasetSettings) -> None:
        folders = [path for path in list_folder(root) if path.is_dir() and list_files(path, PICTURES)]
        if not folders:
            raise DatasetError("has no folders of pictures", where=str(root), fix="add them, as cam01/frame_00001.jpg")
        names = [folder.name for folder in folders]
        numbers = numbers_of(names)
        called = [(name, str(number)) for name, number in zip(names, numbers, strict=True)]
        chosen = chosen_cameras(called, settings, str(root))
        files = {names[i]: {p.stem: p for p in list_files(folders[i], PICTURES)} for i in chosen}
        moments, by_camera, missing = common_frames(files, str(root))
        kept, notes = whole_frames(len(moments), missing, str(root))
        first = {name: next(iter(pictures.values())) for name, pictures in files.items()}
        sources, placed, points, more = _cameras(root, names, [names[i] for i in chosen], first)
        frames = []
        for moment in (moments[frame] for frame in kept):
            row = []
            for i in chosen:
                pose, lens = placed[names[i]]
                row.append(file_shot(Shot(numbers[i], pose, lens, by_camera[names[i]][moment])))
            frames.append(row)
        given = [shot.picture for row in frames for shot in row if shot.picture is not None]
        super().__init__(
            root,
            settings,
            split_shots(frames, test_among(chosen, held_out(len(names)))),
            FPS,
            (*sources, *given),
            points=points,
            times=kept,
            notes=(*more, *notes),
        )


def _cameras(
    root: Path, names: list[str], chosen: list[str], first: dict[str, Path]
) -> tuple[list[Path], dict[str, tuple[np.ndarray, Lens]], Points | None, tuple[str, ...]]:
    """Files of poses, each chosen camera's pose and lens, points to start from, and what to note."""
    if not has_model(root / MULTIPLEVIEW_MODEL):
        rows = read_poses(root / MULTIPLEVIEW_POSES)
        order, note = match_rows(names, len(rows), str(root / MULTIPLEVIEW_POSES))
        placed = {}
        for name in chosen:
            camera = rows[order[names.index(name)]]
            lens = camera.lens(inspect_picture(first[name]).shown, f"{root / MULTIPLEVIEW_POSES}, camera {name}")
            placed[name] = (camera.world_to_camera, lens)
        own = [root / POINTS] if (root / POINTS).is_file() else []
        points = read_ply_points(own[0]) if own else None
        return [root / MULTIPLEVIEW_POSES, *own], placed, points, () if note is None else (note,)
    where = str(root / MULTIPLEVIEW_MODEL)
    model = read_colmap(root / MULTIPLEVIEW_MODEL)
    poses = {pose.camera: pose for pose in (read_pose(image, True, where) for image in model.images.values())}
    of_folder, note = _match(names, chosen, sorted(poses, key=natural_key), where)
    placed = {name: (poses[own].world_to_camera, poses[own].lens) for name, own in of_folder.items()}
    sources = sorted(path for path in (root / MULTIPLEVIEW_MODEL).iterdir() if path.is_file())
    points = read_points(model)
    if points is None and (root / POINTS).is_file():
        points, sources = read_ply_points(root / POINTS), [*sources, root / POINTS]
    return sources, placed, points, () if note is None else (note,)


def _match(names: list[str], chosen: list[str], posed: list[str], where: str) -> tuple[dict[str, str], str | None]:
    """The model's picture of each chosen folder, by number; where all numbers differ by one, as some scripts count."""
    own = dict(zip(numbers_of(posed), posed, strict=True))
    wanted = dict(zip(names, numbers_of(names), strict=True))
    shift = 0
    if len(names) == len(posed) and sorted(wanted.values()) != sorted(own):
        steps = {a - b for a, b in zip(sorted(wanted.values()), sorted(own), strict=True)}
        shift = steps.pop() if len(steps) == 1 else 0
    lost = [name for name in chosen if wanted[name] - shift not in own]
    if lost:
        raise DatasetError(
            f"has no pose of {some(lost)} (it has {some(posed)})",
            where=where,
            fix="register these cameras too, or leave them out with --leave-out",
        )
    note = None
    if shift:
        name = names[0]
        note = f"The model counts cameras from another number: {name} has the pose of {own[wanted[name] - shift]}."
    return {name: own[wanted[name] - shift] for name in chosen}, note
