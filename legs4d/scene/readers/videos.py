"""A plain folder of synchronised videos with a camera file, `cameras.json`:

    {"w": 1920, "h": 1080,
     "cameras": [{"id": 0, "video": "left.mp4", "k": 3×3, "w2c": 4×4, "test": true}, …]}

`w` and `h` are the pixels for which `k` holds, as players show them: turned as the file asks for; where pixels are not
square, as stored or made square. The videos may be smaller, of the same shape. `k` and `w2c` (world to camera, OpenCV)
are as in the native camera files, but one matrix per camera; a camera that moves has a list of `w2c`, one per frame.
Cameras with `"test": true` are held out; where none is marked, every eighth. Lenses must be undistorted.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.readers.footage import Footage, hash_files, held_out, inside, read_model, split_cameras
from legs4d.scene.readers.movie_set import MovieSet
from legs4d.scene.sequence import Split

CAMERA_FILE = "cameras.json"

Vector = tuple[float, float, float]
Row = tuple[float, float, float, float]
Pose = tuple[Row, Row, Row, Row]


class _Camera(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: int = Field(ge=0)
    video: str = Field(min_length=1)
    k: tuple[Vector, Vector, Vector]
    w2c: Pose | list[Pose]
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
            shape or rate, or a moving camera has too few poses.
    """

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        path = root / CAMERA_FILE
        content, where = _read(path), str(path)
        paths = [inside(root, camera.video, where) for camera in content.cameras]
        for video in paths:
            if not video.is_file():
                raise DatasetError("is missing", where=str(video), fix=f"add it, or take it out of {CAMERA_FILE}")
        ids = tuple(camera.id for camera in content.cameras)
        if len(set(ids)) != len(ids):
            raise DatasetError("names a camera twice", where=where, fix="give each camera its own id")
        self._videos = MovieSet(paths)
        tracks = split_cameras(_cameras(content, self._videos, ids, where), _test(content))
        self._position = {camera: i for i, camera in enumerate(ids)}
        super().__init__(root, scale, tracks, self._videos.fps, hash_files(path, *paths))
        self.notes = self._videos.notes

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        number = self._tracks[split][frame].ids[camera]
        return self._videos.read(self._position[number], frame)


def _read(path: Path) -> _File:
    return read_model(path, _File, "camera file", 'write {"w", "h", "cameras": [{"id", "video", "k", "w2c"}]}')


def _test(content: _File) -> list[int]:
    """Positions of the cameras that are held out."""
    marked = [i for i, camera in enumerate(content.cameras) if camera.test]
    return marked or held_out(len(content.cameras))


def _cameras(content: _File, videos: MovieSet, ids: tuple[int, ...], where: str) -> list[Cameras]:
    """All cameras of each frame, at the videos' size."""
    if not videos.fit_shape(content.w, content.h):
        raise DatasetError(
            f"says {content.w}×{content.h}, the videos are {videos.describe_size()}",
            where=where,
            fix="w and h must have the videos' shape, as players show them",
        )
    width, height = videos.width, videos.height
    intrinsics = np.array([camera.k for camera in content.cameras], np.float32)
    intrinsics[:, 0] *= width / content.w
    intrinsics[:, 1] *= height / content.h
    poses = np.empty((videos.num_frames, len(ids), 4, 4), np.float32)
    for i, camera in enumerate(content.cameras):
        given = np.array(camera.w2c, np.float32)
        if given.ndim == 3 and len(given) < videos.num_frames:
            raise DatasetError(
                f"camera {camera.id} has {len(given)} poses for {videos.num_frames} frames",
                where=where,
                fix="give one w2c, or one per frame",
            )
        poses[:, i] = given if given.ndim == 2 else given[: videos.num_frames]
    return [Cameras(poses[frame], intrinsics, width, height, ids) for frame in range(videos.num_frames)]
