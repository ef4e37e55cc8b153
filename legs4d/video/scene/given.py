"""A camera that is given: a camera path's file, with what is up and the floor where these are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.camera_path import read_camera_path
from legs4d.video.input.clip import Clip
from legs4d.video.scene.filming import HELD_AT, Filming, Floor, default_intrinsics

LIKE = 0.02
"""Relative difference of two shapes of pictures that is rounding."""


def given_camera(path: Path, clip: Clip, fov: float | None) -> Filming:
    """The cameras of a file (`scene.camera_path`): one, which stands, or one a frame.

    Raises:
        Legs4dError: the file cannot be read, is of other pictures, or has not a camera a frame.
    """
    like = Cameras(
        np.eye(4, dtype=np.float32)[None],
        default_intrinsics(clip.width, clip.height, fov)[None].astype(np.float32),
        clip.width,
        clip.height,
        (0,),
    )
    told = read_camera_path(path, max(clip.num_frames, 1 << 20), like)
    if len(told.shots) not in (1, clip.num_frames):
        what = f"has {len(told.shots)} cameras, and the video {clip.num_frames} frames"
        raise DatasetError(what, where=str(path), fix="give one camera, which stands, or one a frame")
    cameras = Cameras.together([shot.cameras for shot in told.shots])
    if abs(cameras.width / cameras.height / (clip.width / clip.height) - 1) > LIKE:
        what = f"has pictures of {cameras.width}×{cameras.height}, and the video {clip.full[0]}×{clip.full[1]}"
        raise DatasetError(what, where=str(path), fix="give the cameras of pictures of the video's shape")
    matrices = cameras.intrinsics.astype(np.float64)
    matrices[:, 0] *= clip.width / cameras.width
    matrices[:, 1] *= clip.height / cameras.height
    poses = cameras.world_to_camera.astype(np.float64)
    if len(poses) == 1:
        poses, matrices = (np.tile(v, (clip.num_frames, 1, 1)) for v in (poses, matrices))
    centers = -np.einsum("tji,tj->ti", poses[:, :3, :3], poses[:, :3, 3])
    if told.floor is not None:
        normal = np.array(told.floor[:3])
        size = float(np.linalg.norm(normal))
        if size < 1e-9:
            raise DatasetError("the floor's normal has no direction", where=str(path), fix="write [0, -1, 0, HEIGHT]")
        normal, height, route = normal / size, told.floor[3] / size, "given"
        up = _unit(told.up, path) if told.up is not None else normal
    else:
        up = _unit(told.up, path) if told.up is not None else np.array([0.0, -1.0, 0.0])
        normal, height, route = up, float((centers @ up).min()) - HELD_AT, "assumed"
    if float((centers @ normal).min()) <= height:
        raise DatasetError(
            "a camera stands below the floor", where=str(path), fix="check the floor's normal and height"
        )
    why = "given by a file" + (", with the floor" if route == "given" else "; where the floor is it does not say")
    return Filming(poses, matrices, clip.width, clip.height, "given", why, up, Floor(normal, height, route))


def _unit(values: tuple[float, float, float], path: Path) -> NDArray[np.float64]:
    size = float(np.linalg.norm(values))
    if size < 1e-9:
        raise DatasetError("`up` has no direction", where=str(path), fix="write for example [0, -1, 0]")
    return np.array(values) / size
