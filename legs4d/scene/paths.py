"""Cameras that nobody filmed with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras


def orbit(
    center: NDArray[np.float32],
    radius: float,
    down: NDArray[np.floating],
    count: int,
    like: Cameras,
    *,
    elevation: float = 20.0,
) -> Cameras:
    """A full circle of cameras that look at the centre.

    Args:
        center: [3] scene units.
        radius: distance of the cameras from it.
        down: [3] unit vector.
        count: how many, evenly spread.
        like: gives the image size and, by its mean, the focal length.
        elevation: degrees above the centre.
    """
    up = -np.asarray(down, np.float64)
    east = _beside(up)
    north = np.cross(up, east)
    tilt = np.radians(elevation)
    angles = 2 * np.pi * np.arange(count) / count
    outward = [np.cos(tilt) * (np.cos(angle) * east + np.sin(angle) * north) + np.sin(tilt) * up for angle in angles]
    return _looking_inwards(np.asarray(center), radius, up, np.stack(outward), like)


def arc(
    center: NDArray[np.float32],
    radius: float,
    down: NDArray[np.floating],
    front: NDArray[np.floating],
    count: int,
    like: Cameras,
    *,
    most: float = 75.0,
) -> Cameras:
    """Cameras that rise from the level of the centre to `most` degrees above it, sink to as many below, and come back,
    as DreamScene4D's.

    Args:
        front: [3] any vector from the centre towards the side on which they stay; others as of `orbit`.
    """
    up = -np.asarray(down, np.float64)
    level = np.asarray(front, np.float64) - (np.asarray(front, np.float64) @ up) * up
    if np.linalg.norm(level) < 1e-6:  # straight above or below
        level = _beside(up)
    level /= np.linalg.norm(level)
    tilts = np.radians(most) * np.sin(2 * np.pi * np.arange(count) / count)
    outward = np.cos(tilts)[:, None] * level + np.sin(tilts)[:, None] * up
    return _looking_inwards(np.asarray(center), radius, up, outward, like)


def _beside(up: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] some level direction."""
    east = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0])
    return np.asarray(east / np.linalg.norm(east))


def _looking_inwards(
    center: NDArray[np.floating],
    radius: float,
    up: NDArray[np.float64],
    outward: NDArray[np.float64],
    like: Cameras,
) -> Cameras:
    """At `radius` from the centre in directions [C, 3], level."""
    count = len(outward)
    poses = np.repeat(np.eye(4)[None], count, axis=0)
    for pose, out in zip(poses, outward, strict=True):
        right = np.cross(-up, -out)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(-out, right), -out])
        pose[:3, :3] = rotation
        pose[:3, 3] = -rotation @ (center + radius * out)
    focal = like.intrinsics[:, (0, 1), (0, 1)].mean(axis=0)
    intrinsics = np.array([[focal[0], 0, like.width / 2], [0, focal[1], like.height / 2], [0, 0, 1]], np.float32)
    return Cameras(
        poses.astype(np.float32),
        np.repeat(intrinsics[None], count, axis=0),
        like.width,
        like.height,
        tuple(range(count)),
    )
