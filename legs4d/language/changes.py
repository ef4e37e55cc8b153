"""Which crops have changed since they were last embedded. Imports no torch.

A picture is compared by the means of its blocks: fine enough to see a ball of a dozen pixels move, coarse enough not to
see a camera's noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.language.pyramid import Level, Pyramid

BLOCKS_PER_HEIGHT = 45
"""Blocks of 8 pixels at 640×360."""


def block_side(height: int) -> int:
    """Side of a block, pixels."""
    return max(1, round(height / BLOCKS_PER_HEIGHT))


def block_means(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """[C, H, W, 3] in 0..1 → [C, ⌈H/b⌉, ⌈W/b⌉, 3], the mean of each block of b × b pixels, less at the borders."""
    side = block_side(images.shape[1])
    starts = [np.arange(0, size, side) for size in images.shape[1:3]]
    sums = np.add.reduceat(np.add.reduceat(images, starts[0], axis=1), starts[1], axis=2)
    counts = [np.diff([*start, size]) for start, size in zip(starts, images.shape[1:3], strict=True)]
    return np.asarray(sums / (counts[0][:, None] * counts[1])[..., None], np.float32)


def crop_change(
    pyramid: Pyramid, now: list[NDArray[np.float32]], then: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """How much the clip of each crop differs between two timesteps.

    Args:
        now, then: block means [C, h, w, 3] of the frames of both windows.

    Returns:
        [C, R] float32 in 0..1: the greatest difference of a block's colour, over the frames, the blocks that the crop
        touches, and the three channels.
    """
    worst = np.max([np.abs(a - b).max(axis=-1) for a, b in zip(now, then, strict=True)], axis=0)
    side = block_side(pyramid.height)
    parts = []
    for level in pyramid.levels:
        rows = np.stack([worst[:, _blocks(level, i, side, worst.shape[1])].max(axis=1) for i in range(level.rows)], 1)
        cells = [rows[:, :, _blocks(level, j, side, worst.shape[2])].max(axis=2) for j in range(level.columns)]
        parts.append(np.stack(cells, axis=2).reshape(len(worst), -1))
    return np.concatenate(parts, axis=1)


def _blocks(level: Level, position: int, side: int, count: int) -> slice:
    """Along one axis: the blocks, of `count`, that the crop at this place of the grid touches; at least one."""
    start = position * level.stride - level.stride
    first = min(max(start, 0) // side, count - 1)
    return slice(first, max(first + 1, min(-(-(start + level.size) // side), count)))
