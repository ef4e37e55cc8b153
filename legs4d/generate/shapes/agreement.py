"""How well silhouettes and cameras go together: the share of the silhouettes that their own visual hull fills."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.generate.shapes.hull import carve
from legs4d.scene.camera import Cameras

CELLS = 30
"""Voxels along an axis."""
SIDE = 28
"""Pixels of the silhouettes that are compared; no finer than voxels are."""
MISSED = 1
"""Silhouettes that a voxel may miss, of sixteen: a pixel's width is not told apart."""


def agreement(alphas: NDArray[np.float32], cameras: Cameras, reach: float) -> float:
    """0..1: of silhouettes [C, S, S] (0..1) the share that their hull covers, on average. Cameras that stand elsewhere
    than they are said to leave a hull that is too small.

    Args:
        reach: half the side of the cube about the origin that the object lies in.
    """
    small = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(alphas), (SIDE, SIDE)).numpy()
    hull = carve(small, cameras, reach, CELLS, MISSED * (len(cameras) // 16))
    solid, at, views = hull.solid, hull.at, np.arange(len(cameras))[:, None]
    if not solid.any():
        return 0.0
    covered = np.zeros((len(cameras), SIDE + 2, SIDE + 2), np.bool_)
    column, row = at[:, solid, 0] + 1, at[:, solid, 1] + 1
    covered[np.broadcast_to(views, row.shape), row, column] = True
    # A voxel is wider than a pixel here and there.
    near = covered[:, 1:-1, 1:-1] | (covered[:, :-2, 1:-1] & covered[:, 2:, 1:-1])
    near |= covered[:, 1:-1, :-2] & covered[:, 1:-1, 2:]
    full = small > 0.5
    return float(((near & full).sum(axis=(1, 2)) / full.sum(axis=(1, 2)).clip(min=1)).mean())
