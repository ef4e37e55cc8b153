"""A first point cloud from the depth of a capture's first frame, the way depth cameras give one. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FAR = 1e4
"""Metres; what is farther is sky."""


def unproject(
    depth: NDArray[np.float32], intrinsics: NDArray[np.float64], world_to_camera: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """World positions [K, 3] of an image's pixel centres with a finite depth (camera z), and which pixels [H, W]."""
    seen = (depth > 0) & (depth < FAR)
    rows, columns = np.nonzero(seen)
    z = depth[seen].astype(np.float64)
    x = (columns + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0] * z
    y = (rows + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1] * z
    camera_to_world = np.linalg.inv(world_to_camera)
    return np.stack([x, y, z], axis=1) @ camera_to_world[:3, :3].T + camera_to_world[:3, 3], seen


def thinned(points: NDArray[np.float64], most: int, *, growth: float = 1.15) -> NDArray[np.int64]:
    """Indices of at most `most` points, one per cell of the finest cubic grid (in steps of `growth`) that does so."""
    extent = float(np.ptp(points, axis=0).max())
    cell = extent / 2048
    chosen = np.arange(len(points))
    while len(chosen) > most:
        cells = np.floor((points[chosen] - points.min(axis=0)) / cell).astype(np.int64)
        _, first = np.unique(cells @ np.array([1, 1 << 20, 1 << 40]), return_index=True)
        chosen = chosen[np.sort(first)]
        cell *= growth
    return chosen
