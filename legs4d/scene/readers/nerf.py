"""NeRF's layout: `transforms_train.json` and `transforms_test.json`, or one `transforms.json` (instant-ngp's way).

    {"camera_angle_x": 0.69,                                  or fl_x, fl_y, cx, cy, w, h; in a frame or for all
     "frames": [{"file_path": "./train/r_000", "time": 0.5, "transform_matrix": 4×4}, …]}

`transform_matrix` is camera to world, OpenGL (y up, z towards the viewer). Pictures of one `time` (D-NeRF; 0 where none
is given) are one frame, so that a moving camera has one picture per frame, and a capture by many cameras has many. An
alpha channel is the foreground. Test pictures are those of `transforms_test.json`, shown in the frame nearest to their
time; with a single file, the first of every eight pictures of each frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.images import check_image_size, image_layout, image_size, read_image, read_rgba
from legs4d.scene.readers.footage import Footage, hash_files, held_out, inside, read_model
from legs4d.scene.sequence import Split

FPS = 30.0
"""Frames per second where the file tells none: times are shares of the clip."""

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".PNG", ".JPG")
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenGL's camera axes to OpenCV's."""


class _Lens(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    camera_angle_x: float | None = Field(default=None, gt=0, lt=np.pi)
    fl_x: float | None = None
    fl_y: float | None = None
    cx: float | None = None
    cy: float | None = None
    w: int | None = Field(default=None, gt=0)
    h: int | None = Field(default=None, gt=0)
    k1: float = 0
    k2: float = 0
    k3: float = 0
    k4: float = 0
    p1: float = 0
    p2: float = 0


class _Frame(_Lens):
    file_path: str
    transform_matrix: list[list[float]]
    time: float = 0.0


class _File(_Lens):
    frames: list[_Frame] = Field(min_length=1)
    fps: float | None = Field(default=None, gt=0)


class NerfSequence(Footage):
    """A `Sequence` in NeRF's layout.

    Raises:
        DatasetError: a file is missing or says something else, a picture is missing or of another size than the first,
            a lens is distorted, no time has two pictures, or a camera is impossible.
    """

    def __init__(self, root: Path, scale: float = 1.0) -> None:
        names = ["transforms_train.json", "transforms_test.json"]
        if not (root / names[0]).exists():
            names = ["transforms.json"]
        files = {name: _read(root / name) for name in names if (root / name).exists()}
        shots = {name: [_Shot(root, name, file, frame) for frame in file.frames] for name, file in files.items()}
        first = shots[names[0]][0]
        for shot in (s for several in shots.values() for s in several):
            check_image_size(shot.path, first.width, first.height)
        times = sorted({shot.time for shot in shots[names[0]]})
        frames = _by_time(shots[names[0]], times)
        if len(names) == 2:
            self._shots: dict[Split, list[list[_Shot]]] = {"train": frames}
            if names[1] in shots:
                self._shots["test"] = _by_time(shots[names[1]], times)
        else:
            self._shots = {
                "train": [[s for i, s in enumerate(f) if i not in held_out(len(f))] for f in frames],
                "test": [[f[i] for i in held_out(len(f))] for f in frames],
            }
        numbers = {id(s): i for i, s in enumerate(s for several in shots.values() for s in several)}
        tracks = {split: [_cameras(f, first, numbers) for f in frames] for split, frames in self._shots.items()}
        paths = [root / name for name in files] + [s.path for several in shots.values() for s in several]
        super().__init__(
            root,
            scale,
            tracks,
            files[names[0]].fps or FPS,
            hash_files(*paths),
            has_alpha=image_layout(first.path) == "RGBA",
        )

    def _picture(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        path = self._shots[split][frame][camera].path
        return read_rgba(path) if self._has_alpha else read_image(path)


class _Shot:
    """One picture: its file, time, pose (world to camera, OpenCV) and intrinsics."""

    def __init__(self, root: Path, name: str, file: _File, frame: _Frame) -> None:
        where = f"{root / name}, {frame.file_path}"
        self.path, self.time = _find(root, frame.file_path, where), frame.time

        def of(field: str) -> Any:
            own = getattr(frame, field)
            return own if field in frame.model_fields_set else getattr(file, field)

        if any(abs(of(k)) > 1e-9 for k in _DISTORTION):
            raise DatasetError("has a distorted lens", where=where, fix="undistort the pictures first")
        self.width, self.height = image_size(self.path)
        if (of("w") or self.width, of("h") or self.height) != (self.width, self.height):
            raise DatasetError(
                f"is {self.width}×{self.height} pixels, the file says {of('w')}×{of('h')}",
                where=where,
                fix="scale fl_x, fl_y, cx, cy, w and h to the pictures, or the pictures to them",
            )
        if of("fl_x") is None and of("camera_angle_x") is None:
            raise DatasetError("has no focal length", where=where, fix="add camera_angle_x, or fl_x and fl_y")
        fx = of("fl_x") if of("fl_x") is not None else self.width / 2 / np.tan(of("camera_angle_x") / 2)
        fy = of("fl_y") if of("fl_y") is not None else fx
        cx, cy = (of(n) if of(n) is not None else side / 2 for n, side in (("cx", self.width), ("cy", self.height)))
        self.intrinsics = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        matrix = _matrix(frame.transform_matrix, where)
        if abs(np.linalg.det(matrix)) < 1e-12:
            raise DatasetError("transform_matrix cannot be inverted", where=where, fix="write camera to world, 4×4")
        self.world_to_camera = np.linalg.inv(matrix @ _FLIP)


def _read(path: Path) -> _File:
    return read_model(
        path, _File, "list of pictures", "write camera_angle_x (or fl_x) and frames: [{file_path, transform_matrix}]"
    )


def _matrix(rows: list[list[float]], where: str) -> NDArray[np.float64]:
    if len(rows) not in (3, 4) or any(len(row) != 4 for row in rows):
        raise DatasetError("transform_matrix is not 4×4", where=where, fix="write camera to world, OpenGL")
    return np.array([*rows, [0, 0, 0, 1]][:4], np.float64)


def _find(root: Path, name: str, where: str) -> Path:
    """The picture, whose suffix NeRF's own files leave out."""
    path = inside(root, name, where)
    for suffix in _SUFFIXES:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            return candidate
    raise DatasetError("is missing", where=where, fix="copy the dataset again, or take it out of the file")


def _by_time(shots: list[_Shot], times: list[float]) -> list[list[_Shot]]:
    """The pictures of each frame: those nearest to its time."""
    frames: list[list[_Shot]] = [[] for _ in times]
    for shot in shots:
        frames[int(np.abs(np.array(times) - shot.time).argmin())].append(shot)
    return frames


def _cameras(shots: list[_Shot], like: _Shot, numbers: dict[int, int]) -> Cameras:
    return Cameras(
        np.array([s.world_to_camera for s in shots], np.float32).reshape(-1, 4, 4),
        np.array([s.intrinsics for s in shots], np.float32).reshape(-1, 3, 3),
        like.width,
        like.height,
        tuple(numbers[id(s)] for s in shots),
    )
