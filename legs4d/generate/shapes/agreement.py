"""How well silhouettes and cameras go together: the share of the silhouettes that their own visual hull fills."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

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
    seen = cameras.scaled(SIDE / cameras.width)
    axis = (np.arange(CELLS) + 0.5) / CELLS * 2 - 1
    points = reach * np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.einsum("cij,nj->cni", seen.world_to_camera[:, :3, :3], points) + seen.world_to_camera[:, None, :3, 3]
    pixel = np.einsum("cij,cnj->cni", seen.intrinsics, inside)
    at = np.floor(pixel[..., :2] / np.maximum(pixel[..., 2:], 1e-6)).astype(np.int64)
    there = (at >= 0).all(-1) & (at < SIDE).all(-1)
    at = at.clip(0, SIDE - 1)
    views = np.arange(len(seen))[:, None]
    hit = there & (small[views, at[..., 1], at[..., 0]] > 0.3)
    solid = hit.sum(axis=0) >= len(seen) - MISSED * (len(seen) // 16)
    if not solid.any():
        return 0.0
    covered = np.zeros((len(seen), SIDE + 2, SIDE + 2), np.bool_)
    column, row = at[:, solid, 0] + 1, at[:, solid, 1] + 1
    covered[np.broadcast_to(views, row.shape), row, column] = True
    # A voxel is wider than a pixel here and there.
    near = covered[:, 1:-1, 1:-1] | (covered[:, :-2, 1:-1] & covered[:, 2:, 1:-1])
    near |= covered[:, 1:-1, :-2] & covered[:, 1:-1, 2:]
    full = small > 0.5
    return float(((near & full).sum(axis=(1, 2)) / full.sum(axis=(1, 2)).clip(min=1)).mean())
