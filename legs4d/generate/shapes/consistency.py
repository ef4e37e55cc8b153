"""How badly pictures and cameras go together, by silhouettes and by colours on the silhouettes' hull.

Where a thing is nearly round, all silhouettes fit many cameras; what is painted on it does not. A thing that has
neither shape nor colours looks the same by either.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.generate.shapes.hull import carve
from legs4d.scene.camera import Cameras

CELLS = SIDE = 44
"""Voxels along an axis, and pixels of the pictures that are compared."""
OPAQUE = 0.8
"""Alpha from which on a pixel's colour counts, and has to be covered by the hull."""
BEHIND = 1.5
"""Voxels that one may lie behind what a picture shows to be seen in it."""
NEIGHBOURS = 4
"""Pictures from near by, of which the others' colours are foretold."""
COLORS = 2.0
"""Times that a difference of colours (0..1) counts, beside a share of silhouettes that no hull covers. Chosen on
`training.tiny4d`'s things, as `scripts/bench/generate/orders.py` films them."""


def disagreement(pictures: NDArray[np.uint8], cameras: Cameras, reach: float) -> float:
    """0 and more: the share of the silhouettes of pictures [C, S, S, 4] (colours times alpha) that their visual hull
    leaves open, and `COLORS` times how much a point of the hull differs from what the pictures near by show there.

    Args:
        reach: half the side of the cube about the origin that the object lies in.
    """
    shown = torch.from_numpy(pictures.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
    small = torch.nn.functional.adaptive_avg_pool2d(shown, (SIDE, SIDE)).permute(0, 2, 3, 1).numpy()
    hull = carve(small[..., 3], cameras, reach, CELLS, missed=0)
    rows = hull.surface()
    if not len(rows):
        return 1 + COLORS
    at, depths = hull.at[:, rows], _depths(hull.points[rows], cameras)
    views = np.arange(len(cameras))[:, None]
    here = small[views, at[..., 1], at[..., 0]]
    solid = here[..., 3] > OPAQUE
    seen = solid & _seen(at, depths, BEHIND * 2 * reach / CELLS)
    colors = here[..., :3] / np.maximum(here[..., 3:], OPAQUE / 2)
    apart = [float(part.mean()) for part in _apart(colors, seen, cameras) if part.size]
    covered = np.zeros(small.shape[:3], np.bool_)
    covered[np.broadcast_to(views, at.shape[:2]), at[..., 1], at[..., 0]] = True
    full = small[..., 3] > OPAQUE
    open_ = 1 - (covered & full).sum(axis=(1, 2)) / full.sum(axis=(1, 2)).clip(min=1)
    return float(open_.mean()) + COLORS * (float(np.mean(apart)) if apart else 1.0)


def _depths(points: NDArray[np.float32], cameras: Cameras) -> NDArray[np.float32]:
    """[C, N] along each camera's axis."""
    poses = cameras.world_to_camera
    depths: NDArray[np.float32] = poses[:, 2, :3] @ points.T + poses[:, 2, 3:]
    return depths


def _seen(at: NDArray[np.int64], depths: NDArray[np.float32], behind: float) -> NDArray[np.bool_]:
    """[C, N] which points nothing stands before; they stand apart by more than a pixel here and there."""
    seen = np.zeros(depths.shape, np.bool_)
    for view, (pixel, depth) in enumerate(zip(at, depths, strict=True)):
        nearest = np.full((SIDE + 2, SIDE + 2), np.inf, np.float32)
        np.minimum.at(nearest, (pixel[:, 1] + 1, pixel[:, 0] + 1), depth)
        around = [nearest[y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)]
        seen[view] = depth <= np.minimum.reduce(around)[pixel[:, 1], pixel[:, 0]] + behind
    return seen


def _apart(colors: NDArray[np.float32], seen: NDArray[np.bool_], cameras: Cameras) -> list[NDArray[np.float32]]:
    """Of each picture, by how much points' colours [C, N, 3] differ from the mean of its neighbours' that see them."""
    eyes = cameras.centers / np.linalg.norm(cameras.centers, axis=1, keepdims=True)
    found = []
    for view, order in enumerate(np.argsort(-eyes @ eyes.T, axis=1, kind="stable")):
        near = order[order != view][:NEIGHBOURS]
        count = seen[near].sum(axis=0)
        both = seen[view] & (count > 0)
        told = (colors[near] * seen[near][..., None]).sum(axis=0)[both] / count[both][:, None]
        found.append(np.abs(told - colors[view][both]))
    return found
