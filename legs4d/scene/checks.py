"""Checks that every reader makes before anything is trained on what it read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError

MIN_TRAIN_CAMERAS = 2
"""One camera alone says nothing about depth."""

MIN_IMAGE_SIDE = 16
"""Pixels; a side must hold the 11 pixel window of SSIM with some room."""

RIGID_TOLERANCE = 1e-2
"""How far RᵀR may be from the identity; real calibrations are written with few digits."""


def check_poses(world_to_camera: NDArray[np.floating], intrinsics: NDArray[np.floating], where: list[str]) -> None:
    """Check C cameras.

    Args:
        world_to_camera: [C, 4, 4].
        intrinsics: [C, 3, 3], pixels.
        where: what to call each camera in an error.

    Raises:
        DatasetError: a number is not finite, a focal length is not positive, or a pose is not a rigid motion.
    """
    for name, matrices in (("pose", world_to_camera), ("intrinsics", intrinsics)):
        bad = ~np.isfinite(matrices).all(axis=(1, 2))
        if bad.any():
            raise DatasetError(
                f"the {name} has a value that is not a finite number",
                where=where[int(bad.argmax())],
                fix="leave this camera out, or calibrate it again",
            )
    focal = np.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], axis=1)
    bad = (focal <= 0).any(axis=1)
    if bad.any():
        first = int(bad.argmax())
        raise DatasetError(
            f"the focal lengths are {focal[first, 0]:g} and {focal[first, 1]:g} pixels, but must be above 0",
            where=where[first],
            fix="leave this camera out, or calibrate it again",
        )
    rotation = world_to_camera[:, :3, :3].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is no rotation either
        off = np.abs(rotation.swapaxes(1, 2) @ rotation - np.eye(3)).max(axis=(1, 2))
        determinant = np.linalg.det(rotation)
    last_row_off = np.abs(world_to_camera[:, 3] - np.array([0, 0, 0, 1])).max(axis=1)
    bad = ~(off <= RIGID_TOLERANCE) | ~(determinant > 0) | (last_row_off > RIGID_TOLERANCE)
    if bad.any():
        first = int(bad.argmax())
        raise DatasetError(
            f"the pose is not a rotation and a translation (the determinant of its 3×3 part is {determinant[first]:g}, "
            "and must be 1)",
            where=where[first],
            fix="a pose (w2c, transform_matrix) turns and shifts alone, without scaling or mirroring",
        )


def check_camera_count(count: int, where: str) -> None:
    """Raise DatasetError when there are too few training cameras."""
    if count < MIN_TRAIN_CAMERAS:
        raise DatasetError(
            f"there {'is 1 training camera' if count == 1 else f'are {count} training cameras'}, "
            f"but depth needs at least {MIN_TRAIN_CAMERAS}",
            where=where,
            fix="add synchronised cameras that see the scene from other sides, or give --method deform if it moves",
        )


def check_picture_count(count: int, where: str) -> None:
    """Raise DatasetError when there are too few training pictures, of all times together."""
    if count < MIN_TRAIN_CAMERAS:
        raise DatasetError(
            f"there {'is 1 training picture' if count == 1 else f'are {count} training pictures'}, "
            f"but depth needs at least {MIN_TRAIN_CAMERAS}",
            where=where,
            fix="add pictures from other sides",
        )


def check_scale(scale: float, width: int, height: int) -> None:
    """Raise DatasetError when images of width × height cannot be worked on at this scale."""
    smallest = min(round(scale * width), round(scale * height)) if scale > 0 else 0
    if not 0 < scale <= 1 or smallest < MIN_IMAGE_SIDE:
        raise DatasetError(
            f"scale {scale:g} makes images of {width}×{height} pixels "
            + ("larger" if scale > 1 else f"smaller than {MIN_IMAGE_SIDE} pixels on a side"),
            where="scale",
            fix=_scales_of(width, height) if 0 < scale <= 1 else "choose a scale above 0, up to 1",
        )


def _scales_of(width: int, height: int) -> str:
    least = math.ceil(100 * MIN_IMAGE_SIDE / min(width, height)) / 100
    if least > 1:
        return "use larger pictures"
    return "leave the scale out" if least == 1 else f"choose one from {least:g} to 1"


TRUSTED_PIXELS = 48 * 36
"""Of a picture: the smallest at which the ball of `tests.synthetic` is timed right; at 24×16 it is not."""


def size_notes(width: int, height: int) -> list[str]:
    """What to tell of pictures worked on at this size: that they are too small for the result to be trusted."""
    if width * height >= TRUSTED_PIXELS:
        return []
    return [
        f"Pictures of {width}×{height} pixels are too small for this result to be trusted: things may be lost, and "
        "when something happens may be wrong. Use a larger --scale, or footage of more pixels."
    ]
