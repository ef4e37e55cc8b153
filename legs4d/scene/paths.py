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
    east = np.cross(up, [1.0, 0.0, 0.0] if abs(up[0]) < 0.9 else [0.0, 0.0, 1.0])
    east /= np.linalg.norm(east)
    north = np.cross(up, east)
    tilt = np.radians(elevation)
    poses = np.repeat(np.eye(4)[None], count, axis=0)
    for i, angle in enumerate(2 * np.pi * np.arange(count) / count):
        outward = np.cos(tilt) * (np.cos(angle) * east + np.sin(angle) * north) + np.sin(tilt) * up
        forward = -outward
        right = np.cross(-up, forward)
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        poses[i, :3, :3] = rotation
        poses[i, :3, 3] = -rotation @ (np.asarray(center) + radius * outward)
    focal = like.intrinsics[:, (0, 1), (0, 1)].mean(axis=0)
    intrinsics = np.array([[focal[0], 0, like.width / 2], [0, focal[1], like.height / 2], [0, 0, 1]], np.float32)
    return Cameras(
        poses.astype(np.float32),
        np.repeat(intrinsics[None], count, axis=0),
        like.width,
        like.height,
        tuple(range(count)),
    )
