"""Where in space an object is whose masks some cameras have: where rays through the masks' centres meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras

SMALLEST_MASK = 20
"""Pixels; the centre of fewer says little."""


def is_whole(mask: NDArray[np.bool_], smallest: int = SMALLEST_MASK) -> bool:
    """Whether a mask [H, W] is large enough and ends inside the picture, so that its centre is the object's."""
    border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
    return int(mask.sum()) >= smallest and not border


def mask_center(amount: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean position (x, y) of a picture's values [H, W]; pixel centres lie at +0.5."""
    rows, columns = (np.arange(size) + 0.5 for size in amount.shape)
    across, down = (amount.sum(axis=axis, dtype=np.float64) for axis in (0, 1))
    return np.array([across @ columns, down @ rows]) / across.sum()


def triangulated(
    masks: NDArray[np.bool_], cameras: Cameras, *, smallest: int = SMALLEST_MASK, rounds: int = 0
) -> NDArray[np.float64] | None:
    """[3] the point nearest to the rays through the masks' centres; None when fewer than two views show the object.

    Args:
        masks: [C, H, W] of the object; views in which they are not whole (`is_whole`) say nothing.
        rounds: in which rays that miss the point by more than most count less (Geman and McClure 1987): a mask that
            something hides a part of has its centre elsewhere.
    """
    views = [view for view in range(len(cameras)) if is_whole(masks[view], smallest)]
    if len(views) < 2:
        return None
    pixels = np.stack([np.append(mask_center(masks[view].astype(np.float32)), 1.0) for view in views])
    inverse = np.linalg.inv(cameras.intrinsics[views].astype(np.float64))
    rays = np.einsum("vi,vij->vj", np.einsum("vij,vj->vi", inverse, pixels), cameras.world_to_camera[views, :3, :3])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    origins = np.asarray(cameras.centers, np.float64)[views]
    weights = np.ones(len(views))
    for left in range(rounds, -1, -1):
        matrix = (weights[:, None, None] * across).sum(axis=0)
        point = np.linalg.solve(matrix, (weights[:, None] * np.einsum("vij,vj->vi", across, origins)).sum(axis=0))
        if left:
            off = np.linalg.norm(np.einsum("vij,vj->vi", across, point - origins), axis=1)
            weights = 1 / (1 + (off / max(2 * float(np.median(off)), 1e-9)) ** 2) ** 2
    return np.asarray(point, np.float64)
