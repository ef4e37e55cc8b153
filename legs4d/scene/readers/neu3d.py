"""The layout of Neural 3D Video (Li et al. 2022), and others with LLFF's poses:

    poses_bounds.npy               LLFF's poses, in the order of the names below
    cam00.mp4, cam01.mp4, …        a video per camera, or
    cam00/images/0000.png, …       a folder of pictures per camera (or cam00/0000.png), or
    images/*.jpg                   LLFF's own: a scene at one moment; where there is none, the largest of images_2/, …

The first camera is the test camera, as in the paper; of a scene at one moment the first of every eight pictures, as is
the custom there. Cameras whose footage was taken out are told by the numbers of the
others. Frames are decoded when they are asked for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import check_no_offsets, chosen_cameras, whole_frames
from legs4d.scene.footage.footage import Footage
from legs4d.scene.footage.frames import common_frames
from legs4d.scene.footage.names import PICTURES, VIDEOS, list_files, list_folder, numbers_of
from legs4d.scene.footage.shots import Shot, file_shot, held_out, split_shots, test_among
from legs4d.scene.images import inspect_picture
from legs4d.scene.movies.movie_set import MovieSet, open_videos
from legs4d.scene.readers.llff import LlffCamera, bounds_of, match_rows, read_poses
from legs4d.scene.sequence import Split

TEST_CAMERA = 0
"""Position of the camera that is held out."""

PICTURE_FPS = 30.0
"""Frames per second of pictures, which tell no time."""


class Neu3dSequence(Footage):
    """A `Sequence` with LLFF's poses.

    Raises:
        DatasetError: there is no footage, more of it than poses, poses that cannot be read, or footage that does not go
            together.
    """

    def __init__(self, root: Path, settings: DatasetSettings, context: Context = QUIET) -> None:
        file = root / "poses_bounds.npy"
        rows = read_poses(file)
        sources = _sources(root)
        if not sources:
            what = "has no pictures in images/, and no videos or folders cam*"
            raise DatasetError(what, where=str(root), fix="copy them there")
        at_once = sources[0].suffix.casefold() in PICTURES
        what = f"pictures in {sources[0].parent.name}/" if at_once else "videos or folders cam*"
        order, note = match_rows([source.stem for source in sources], len(rows), str(file), what)
        numbers = numbers_of([source.stem for source in sources])
        called = [(s.stem, s.name, str(n)) for s, n in zip(sources, numbers, strict=True)]
        chosen = chosen_cameras(called, settings, str(root))
        cameras = [rows[order[i]] for i in chosen]
        paths, numbers = [sources[i] for i in chosen], [numbers[i] for i in chosen]
        self._videos: MovieSet | None = None
        self._position = {number: k for k, number in enumerate(numbers)}
        if paths[0].is_dir() or at_once:
            check_no_offsets(settings, str(root))
            frames, notes = _of_pictures(paths, cameras, numbers, str(root))
            fps, given = PICTURE_FPS, [shot.picture for row in frames for shot in row if shot.picture is not None]
        else:
            names: list[tuple[str, ...]] = [called[i] for i in chosen]
            self._videos, settings = open_videos(paths, names, settings, str(root), context)
            frames, notes = _of_videos(self._videos, cameras, numbers, names, str(file)), self._videos.notes
            fps, given = self._videos.fps, paths
        held = held_out(len(sources)) if at_once else [TEST_CAMERA]
        shots = split_shots(frames, test_among(chosen, held) or [TEST_CAMERA])
        still = (f"All {len(paths)} {what} are of one moment: nothing moves in what they show.",) if at_once else ()
        notes = (*(() if note is None else (note,)), *notes, *still)
        super().__init__(root, settings, shots, fps, (file, *given), bounds=bounds_of(cameras), notes=notes)

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        if self._videos is None:
            return super()._picture(split, frame, camera)
        return self._videos.read(self._position[self._shots[split][frame][camera].number], frame)


def _sources(root: Path) -> list[Path]:
    """A video, a folder or a picture per camera, in natural order."""
    videos = [path for path in list_files(root, VIDEOS) if path.stem.casefold().startswith("cam")]
    folders = [path for path in list_folder(root) if path.is_dir() and path.name.casefold().startswith("cam")]
    return videos or folders or list_files(_pictures(root), PICTURES)


def _pictures(root: Path) -> Path:
    """The folder of a moment's pictures: images/, else the largest of images_2/, images_4/, …"""
    smaller = {int(path.name[7:]): path for path in list_folder(root) if re.fullmatch(r"images_\d+", path.name)}
    images = root / "images"
    return images if list_files(images, PICTURES) or not smaller else smaller[min(smaller)]


def _of_videos(
    videos: MovieSet, cameras: list[LlffCamera], numbers: list[int], names: list[tuple[str, ...]], where: str
) -> list[list[Shot]]:
    row = []
    for position, (camera, number) in enumerate(zip(cameras, numbers, strict=True)):
        videos.fit_shape(position, camera.width, camera.height)
        lens = camera.lens(videos.sizes[position], f"{where}, camera {number}")
        row.append(Shot(number, camera.world_to_camera, lens))
    return [
        [replace(s, film=(names[k], videos.picture_number(k, frame))) for k, s in enumerate(row)]
        for frame in range(videos.num_frames)
    ]


def _of_pictures(
    paths: list[Path], cameras: list[LlffCamera], numbers: list[int], where: str
) -> tuple[list[list[Shot]], tuple[str, ...]]:
    files: dict[str, dict[str, Path]] = {}
    for path in paths:
        inside = path / "images" if (path / "images").is_dir() else path
        files[path.name] = {p.stem: p for p in list_files(inside, PICTURES)} if path.is_dir() else {"": path}
        if not files[path.name]:
            raise DatasetError("has no pictures", where=str(inside), fix="add them, or leave this camera out")
    moments, by_camera, missing = common_frames(files, where)
    kept, notes = whole_frames(len(moments), missing, where)
    frames = []
    for moment in (moments[frame] for frame in kept):
        row = []
        for path, camera, number in zip(paths, cameras, numbers, strict=True):
            picture = by_camera[path.name][moment]
            lens = camera.lens(inspect_picture(picture).shown, f"{where}, camera {number}")
            row.append(file_shot(Shot(number, camera.world_to_camera, lens, picture)))
        frames.append(row)
    return frames, notes
