"""What lies under a pixel: how much each Gaussian fills it, so that what is in front counts, and not what it hides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.lift import lift_weights
from legs4d.scene.camera import Cameras

_AROUND = 32
"""Pixels around the one that a ray is of, in the picture that is projected into."""
NEAREST = 8
"""Gaussians that are asked what is at a place in space."""


def under_pixel(
    gaussians: Gaussians, cameras: Cameras, pixel: tuple[float, float], near: float, threads: int | None = None
) -> NDArray[np.float32]:
    """[N] how much each Gaussian fills a pixel, 0..1; their sum is the pixel's alpha.

    Only what reaches the pixel's tile is composited, not the whole picture.

    Args:
        gaussians: N, as numpy arrays.
        cameras: one view.
        pixel: (x, y) counted from the picture's upper left corner, x to the right, y down.
        near: near plane, scene units.

    Raises:
        Legs4dError: the pixel is not in the picture.
    """
    x, y = (int(np.floor(value)) for value in pixel)
    if not (0 <= x < cameras.width and 0 <= y < cameras.height):
        raise Legs4dError(
            f"({pixel[0]:g}, {pixel[1]:g}) is not in the picture",
            where="--click",
            fix=f"its pixels are 0,0 to {cameras.width - 1},{cameras.height - 1}",
        )
    region = np.zeros((1, cameras.height, cameras.width), bool)
    region[0, y, x] = True
    index = np.where(region, 0, -1).astype(np.int32)[..., None]
    weight = np.ones(index.shape, np.float32)
    filled, _ = lift_weights(gaussians, cameras, index, weight, 1, near, threads, region)
    return np.asarray(filled.toarray()[:, 0], np.float32)


def along_ray(
    gaussians: Gaussians,
    origin: NDArray[np.floating],
    direction: NDArray[np.floating],
    focal: float,
    near: float,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """[N] how much each Gaussian fills the pixel that looks along a ray, 0..1.

    Args:
        origin, direction: [3], in the axes of the Gaussians; of any length.
        focal: pixels, of the picture that the pixel is of.
    """
    forward = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    aside = np.cross(forward, np.eye(3)[np.abs(forward).argmin()])
    aside /= np.linalg.norm(aside)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([aside, np.cross(forward, aside), forward])
    pose[:3, 3] = -pose[:3, :3] @ np.asarray(origin, np.float64)
    lens = np.array([[focal, 0, _AROUND + 0.5], [0, focal, _AROUND + 0.5], [0, 0, 1]], np.float32)
    side = 2 * _AROUND + 1
    view = Cameras(pose.astype(np.float32)[None], lens[None], side, side, (0,))
    return under_pixel(gaussians, view, (_AROUND, _AROUND), near, threads)


def around_point(gaussians: Gaussians, point: tuple[float, float, float]) -> NDArray[np.float32]:
    """[N] how much each Gaussian is at a place in space, 0..1 together: its opacity there, of the NEAREST alone.

    Raises:
        Legs4dError: there is nothing near it.
    """
    offset = gaussians.means - np.asarray(point, np.float32)
    distance = np.sqrt((offset**2).sum(axis=1))
    found = np.zeros(len(distance), np.float32)
    if len(distance):
        nearest = np.argpartition(distance, min(NEAREST, len(distance)) - 1)[:NEAREST]
        reach = np.maximum(gaussians.scales[nearest].max(axis=1), np.finfo(np.float32).tiny)
        found[nearest] = gaussians.opacities[nearest] * np.exp(-0.5 * (distance[nearest] / reach) ** 2)
    total = float(found.sum())
    if total < 1e-3:
        place = ", ".join(f"{value:g}" for value in point)
        raise Legs4dError(f"there is nothing at ({place})", where="--point", fix="give a place on something")
    return found / total
