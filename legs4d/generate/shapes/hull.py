"""The visual hull of silhouettes, as voxels of a cube about the origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.reconstruct.views import project
from legs4d.scene.camera import Cameras

INSIDE = 0.3
"""Alpha from which on a pixel may be of the object."""
NEAR = 1e-3
"""Scene units, before a camera."""


@dataclass(frozen=True)
class Hull:
    """V = cells³ voxels.

    Attributes:
        solid: [V] which of them no silhouette, or few, leave out.
        points: [V, 3] float32 their middles, scene units.
        at: [C, V, 2] int64 the pixel (column, row) that each falls on, kept within the picture.
        cells: along an axis.
    """

    solid: NDArray[np.bool_]
    points: NDArray[np.float32]
    at: NDArray[np.int64]
    cells: int

    def surface(self) -> NDArray[np.int64]:
        """Numbers of the solid voxels that have a neighbour which is not."""
        grid = np.pad(self.solid.reshape((self.cells,) * 3), 1)
        inner = grid.copy()
        for axis in range(3):
            inner &= np.roll(grid, 1, axis) & np.roll(grid, -1, axis)
        return np.flatnonzero((grid & ~inner)[1:-1, 1:-1, 1:-1])


def carve(alphas: NDArray[np.float32], cameras: Cameras, reach: float, cells: int, missed: int) -> Hull:
    """The hull of silhouettes [C, s, s] (0..1).

    Args:
        cameras: of pictures of any size.
        reach: half the side of the cube.
        missed: silhouettes that a voxel may be outside of.
    """
    axis = (torch.arange(cells) + 0.5) / cells * 2 - 1
    points = reach * torch.cartesian_prod(axis, axis, axis)
    pixel, there = project(cameras.scaled(alphas.shape[1] / cameras.width), points, NEAR)
    at, views = pixel.numpy(), np.arange(len(cameras))[:, None]
    hit = there.numpy() & (alphas[views, at[..., 1], at[..., 0]] > INSIDE)
    return Hull(hit.sum(axis=0) >= len(cameras) - missed, points.numpy(), at, cells)
