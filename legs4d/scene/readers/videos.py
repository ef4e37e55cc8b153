"""A plain folder of synchronised videos with a camera file, `cameras.json`:

    {"w": 1920, "h": 1080,
     "cameras": [{"id": 0, "video": "left.mp4", "k": 3×3, "w2c": 4×4, "test": true}, …]}

`w` and `h` are the pixels for which `k` holds, as players show them: turned as the file asks for; where pixels are not
square, as stored or made square. The videos may be smaller, of the same shape. `k` and `w2c` (world to camera, OpenCV)
are as in the native camera files, but one matrix per camera; a camera that moves has a list of `w2c`, one per frame.
Cameras with `"test": true` are held out; where none is marked, every eighth. A camera may have `w` and `h` of its own,
and for a distorted lens `distortion`: OpenCV's coefficients (k1, k2, p1, p2, k3 to k6), or those of its `camera_model`,
a name of COLMAP's, in COLMAP's order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.footage.choice import chosen_cameras
from legs4d.scene.footage.footage import Footage, read_model
from legs4d.scene.footage.names import as_posix, find_inside
from legs4d.scene.footage.shots import Shot, held_out, split_shots, test_among
from legs4d.scene.layouts import CAMERA_FILE
from legs4d.scene.lens import lens_of_matrix
from legs4d.scene.movies.movie_set import MovieSet, open_videos
from legs4d.scene.sequence import Split

Vector = tuple[float, float, float]
Row = tuple[float, float, float, float]
Pose = tuple[Row, Row, Row, Row]


class _Camera(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: int | str
    video: str = Field(min_length=1)
    k: tuple[Vector, Vector, Vector]
    w2c: Pose | list[Pose]
    w: int | None = Field(default=None, gt=0)
    h: int | None = Field(default=None, gt=0)
    camera_model: str | None = None
    distortion: list[float] = []
    test: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    w: int = Field(gt=0)
    h: int = Field(gt=0)
    cameras: list[_Camera] = Field(min_length=1)


class VideoSequence(Footage):
    """A `Sequence` in a folder of videos.

    Raises:
        DatasetError: `cameras.json` is missing or says something else, a video is missing, unreadable, or of another
            shape than its calibration, or a moving camera has too few poses.
    """

    def __init__(self, root: Path, settings: DatasetSettings, context: Context = QUIET) -> None:
        path = root / CAMERA_FILE
        content, where = _read(path), str(path)
        every = content.cameras
        names = [str(camera.id).strip() for camera in every]
        if len(set(names)) != len(names):
            raise DatasetError("names a camera twice", where=where, fix="give each camera its own id")
        called = [(name, as_posix(c.video).name, as_posix(c.video).stem) for name, c in zip(names, every, strict=True)]
        chosen = chosen_cameras(called, settings, str(root))
        paths = [_find(root, every[i].video, where) for i in chosen]
        self._videos, settings = open_videos(paths, [called[i] for i in chosen], settings, where, context)
        numbers = [int(name) if all(n.isdecimal() for n in names) else i for i, name in enumerate(names)]
        marked = [i for i, camera in enumerate(every) if camera.test]
        tests = [k for k, i in enumerate(chosen) if i in marked] if marked else test_among(chosen, held_out(len(every)))
        rows = [_shots(content, every[i], numbers[i], called[i], self._videos, k, where) for k, i in enumerate(chosen)]
        self._position = {numbers[i]: k for k, i in enumerate(chosen)}
        frames = [list(row) for row in zip(*rows, strict=True)]
        files = (path, *paths)
        notes = self._videos.notes
        super().__init__(root, settings, split_shots(frames, tests), self._videos.fps, files, notes=notes)

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        return self._videos.read(self._position[self._shots[split][frame][camera].number], frame)


def _read(path: Path) -> _File:
    return read_model(path, _File, "camera file", 'write {"w", "h", "cameras": [{"id", "video", "k", "w2c"}]}')


def _find(root: Path, name: str, where: str) -> Path:
    found = find_inside(root, name, where)
    if found is None:
        raise DatasetError(
            "is missing", where=str(root / as_posix(name)), fix=f"add it, or take it out of {CAMERA_FILE}"
        )
    return found


def _shots(
    content: _File,
    camera: _Camera,
    number: int,
    called: tuple[str, ...],
    videos: MovieSet,
    position: int,
    where: str,
) -> list[Shot]:
    """A camera's shot of every frame, at its video's size."""
    width, height = camera.w or content.w, camera.h or content.h
    if not videos.fit_shape(position, width, height):
        raise DatasetError(
            f"says {width}×{height}, the videos are {videos.describe_size(position)}",
            where=where,
            fix="w and h must have the videos' shape, as players show them",
        )
    told = f"{where}, camera {camera.id}"
    lens = lens_of_matrix(camera.camera_model, width, height, np.array(camera.k), camera.distortion, told)
    lens = lens.resized(*videos.sizes[position])
    poses = np.array(camera.w2c, np.float64)
    if poses.ndim == 3 and len(poses) < videos.num_frames:
        raise DatasetError(
            f"camera {camera.id} has {len(poses)} poses for {videos.num_frames} frames",
            where=where,
            fix="give one w2c, or one per frame",
        )
    of_frame = np.broadcast_to(poses, (videos.num_frames, 4, 4)) if poses.ndim == 2 else poses
    return [
        Shot(number, of_frame[frame], lens, film=(called, videos.picture_number(position, frame)))
        for frame in range(videos.num_frames)
    ]
