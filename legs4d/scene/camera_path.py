"""Camera paths from a file: which frame of a run each picture of a film shows, and from where.

    {"w": 1280, "h": 720,              pixels; left out, those of the run's cameras
     "fov": 50,                        vertical field of view in degrees; left out, that of the run's cameras
     "near": 0.1,                      near plane, scene units; left out, the run's
     "up": [0, -1, 0], "floor": [0, -1, 0, -1.5],   for `legs4d video` alone: what is up, and the floor's normal
                                       (upwards) and height, normal · x = height
     "keyframes": [{"at": 0, "position": [0, -1, -4], "target": [0, 0, 0], "up": [0, -1, 0]},
                   {"at": 48, "frame": 24, "w2c": 4×4, "fov": 30}]}

A keyframe says where the camera is `at` a picture, counted from 0 and ascending: at `position`, looking at `target`,
with `up` (by default [0, -1, 0], as +y points down in most captures) upwards in the picture; or as `w2c`, world to
camera, OpenCV. `frame` is the frame of the run that is seen, by default the same as `at`. In between, positions lie on
a smooth curve through the keyframes, directions turn evenly, and `frame` and `fov` change evenly: between two frames
what moves is between where it is in them.

Instead of "keyframes", "cameras": [{"w2c": 4×4, "k": 3×3, "frame": 0}, …] gives every picture's camera as it is. `k` is
in pixels, by default from `fov`; `frame` is by default the picture's own number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, Slerp

from legs4d.errors import Legs4dError
from legs4d.scene.camera import Cameras
from legs4d.scene.checks import check_poses

LARGEST_SIDE = 8192
"""Pixels of a picture."""

Vector = tuple[float, float, float]
Row = tuple[float, float, float, float]
Pose = tuple[Row, Row, Row, Row]
Matrix = tuple[Vector, Vector, Vector]
Degrees = Annotated[float, Field(gt=0, lt=180)]
Pixels = Annotated[int, Field(gt=0, le=LARGEST_SIDE)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Keyframe(_Strict):
    at: Annotated[int, Field(ge=0)]
    frame: float | None = None
    position: Vector | None = None
    target: Vector | None = None
    up: Vector = (0.0, -1.0, 0.0)
    w2c: Pose | None = None
    fov: Degrees | None = None


class _Given(_Strict):
    w2c: Pose
    k: Matrix | None = None
    frame: int | None = None
    fov: Degrees | None = None


class _File(_Strict):
    w: Pixels | None = None
    h: Pixels | None = None
    fov: Degrees | None = None
    near: Annotated[float, Field(gt=0)] | None = None
    up: Vector | None = None
    floor: Row | None = None
    keyframes: Annotated[list[_Keyframe], Field(min_length=1)] | None = None
    cameras: Annotated[list[_Given], Field(min_length=1)] | None = None


@dataclass(frozen=True)
class Shot:
    """One picture of a film: a moment of the run, in frames, through one camera or several side by side."""

    cameras: Cameras
    moment: float

    @property
    def frame(self) -> int:
        """The nearest frame; of two the earlier."""
        return math.ceil(self.moment - 0.5)


@dataclass(frozen=True)
class CameraPath:
    """A film's pictures, its near plane in scene units, and what is up and the floor (normal, height), if the file
    tells."""

    shots: list[Shot]
    near: float | None
    up: Vector | None = None
    floor: Row | None = None


def read_camera_path(path: Path, num_frames: int, like: Cameras | None = None) -> CameraPath:
    """Read the file that this module's text describes.

    Args:
        num_frames: of the run.
        like: cameras whose size and mean field of view are taken where the file tells none.

    Raises:
        Legs4dError: the file is missing or says something else, a camera in it is impossible, or it shows a frame that
            the run has not got.
    """
    content, where = _read(path), str(path)
    width = content.w if content.w is not None or like is None else like.width
    height = content.h if content.h is not None or like is None else like.height
    if width is None or height is None:
        raise Legs4dError("does not tell the size of the pictures", where=where, fix='add "w" and "h"')
    fov = content.fov or (None if like is None else _field_of_view(like))
    if content.keyframes is not None:
        poses, frames, intrinsics = _between(content.keyframes, fov, width, height, where)
    else:
        assert content.cameras is not None
        poses = np.array([camera.w2c for camera in content.cameras])
        frames = np.array([i if c.frame is None else c.frame for i, c in enumerate(content.cameras)], np.float64)
        intrinsics = np.array([_intrinsics(c.k, c.fov or fov, width, height, where) for c in content.cameras])
    names = [f"{where}, picture {i}" for i in range(len(poses))]
    check_poses(poses, intrinsics, names)
    shots = []
    for i, frame in enumerate(frames.tolist()):
        if not 0 <= frame <= num_frames - 1:
            raise Legs4dError(
                f"shows frame {frame:g}, the run has frames 0 to {num_frames - 1}",
                where=names[i],
                fix='say which by "frame"',
            )
        matrices = poses[i : i + 1].astype(np.float32), intrinsics[i : i + 1].astype(np.float32)
        shots.append(Shot(Cameras(*matrices, width, height, (i,)), frame))
    return CameraPath(shots, content.near, content.up, content.floor)


def _read(path: Path) -> _File:
    where = str(path)
    try:
        content = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Legs4dError(f"cannot be read ({error.strerror})", where=where, fix="name a camera path") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"{place}: {first['msg']}" if place else first["msg"]
        raise Legs4dError(f"is no camera path ({what})", where=where, fix="see legs4d/scene/camera_path.py") from error
    if (content.keyframes is None) == (content.cameras is None):
        raise Legs4dError("has not one list of cameras", where=where, fix='give either "keyframes" or "cameras"')
    return content


def _between(
    keys: list[_Keyframe], fov: float | None, width: int, height: int, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """World to camera [P, 4, 4], frames [P] and intrinsics [P, 3, 3] of every picture up to the last keyframe."""
    at = np.array([key.at for key in keys])
    if (np.diff(at) <= 0).any() or at[0] != 0:
        raise Legs4dError(
            f"has keyframes at {', '.join(map(str, at))}", where=where, fix="begin at 0 and let `at` ascend"
        )
    poses = np.array([_pose(key, f"{where}, keyframe {i}") for i, key in enumerate(keys)])
    names = [f"{where}, keyframe {i}" for i in range(len(keys))]
    angles = [key.fov or fov for key in keys]
    focals = np.array([_intrinsics(None, a, width, height, n) for a, n in zip(angles, names, strict=True)])
    check_poses(poses, focals, names)
    pictures = np.arange(at[-1] + 1)
    frames = np.interp(pictures, at, [key.at if key.frame is None else key.frame for key in keys])
    if len(keys) == 1:
        return poses, frames, focals
    turns = Slerp(at, Rotation.from_matrix(poses[:, :3, :3]))(pictures).as_matrix()
    centers = -np.einsum("pji,pj->pi", poses[:, :3, :3], poses[:, :3, 3])
    smooth = CubicSpline(at, centers, bc_type="natural")(pictures)
    between = np.tile(np.eye(4), (len(pictures), 1, 1))
    between[:, :3, :3] = turns
    between[:, :3, 3] = -np.einsum("pij,pj->pi", turns, smooth)
    degrees = np.interp(pictures, at, np.array(angles, np.float64))
    return between, frames, np.array([_intrinsics(None, a, width, height, where) for a in degrees])


def _pose(key: _Keyframe, where: str) -> NDArray[np.float64]:
    """[4, 4] world to camera."""
    if (key.w2c is None) == (key.position is None or key.target is None):
        raise Legs4dError("has not one pose", where=where, fix='give "position" and "target", or "w2c"')
    if key.position is None or key.target is None:
        return np.array(key.w2c)
    position, forward = np.array(key.position), np.subtract(key.target, key.position)
    right = np.cross(forward, key.up)
    if np.linalg.norm(right) < 1e-9 * max(1.0, float(np.linalg.norm(forward) * np.linalg.norm(key.up))):
        raise Legs4dError("looks along its own `up`, or at its own place", where=where, fix="choose another target")
    axes = np.stack([right, np.cross(forward, right), forward])
    rotation = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return np.block([[rotation, -(rotation @ position)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def _intrinsics(k: Matrix | None, fov: float | None, width: int, height: int, where: str) -> NDArray[np.float64]:
    """[3, 3] as given, or with square pixels and the principal point in the middle."""
    if k is not None:
        return np.array(k)
    if fov is None:
        raise Legs4dError("does not tell the field of view", where=where, fix='add "fov"')
    focal = height / 2 / np.tan(np.radians(fov) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _field_of_view(cameras: Cameras) -> float:
    """Degrees from the upper to the lower border of the picture, by the mean focal length."""
    return float(np.degrees(2 * np.arctan(cameras.height / 2 / cameras.intrinsics[:, 1, 1].mean())))
