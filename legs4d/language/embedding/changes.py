"""Which crops have changed since they were last embedded. Imports no torch.

Pictures are compared by the means of their blocks: fine enough to see a ball of a dozen pixels move, coarse enough not
to see a camera's noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from legs4d.language.embedding.pyramid import Pyramid

BLOCKS_PER_HEIGHT = 45
"""Blocks of 8 pixels at 640×360."""

STILL_FRAMES = 8
"""At most so many frames are taken for one picture: then a crop is looked at again whether it has changed or not."""
FRAME_SHARE = 0.25
"""Of the change that counts in a clip, the one that counts in a single frame: what moves slowly changes it little."""


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

    The mean, and not the most of any block: so a ball that flies through counts for small crops, of which it is much,
    before it counts for those that show half the room.

    Args:
        now, then: block means [C, h, w, 3] of the frames of both windows.

    Returns:
        [C, R] float32 in 0..1: the mean difference of colour over the frames, the channels, and the blocks that the
        crop touches.
    """
    difference = np.mean([np.abs(a - b).mean(axis=-1) for a, b in zip(now, then, strict=True)], axis=0)
    sums = np.pad(difference.cumsum(axis=1, dtype=np.float64).cumsum(axis=2), ((0, 0), (1, 0), (1, 0)))
    top, left, size = pyramid.boxes.T
    side = block_side(pyramid.height)
    (y0, y1), (x0, x1) = _blocks(top, size, pyramid.height, side), _blocks(left, size, pyramid.width, side)
    inside = sums[:, y1, x1] - sums[:, y0, x1] - sums[:, y1, x0] + sums[:, y0, x0]
    return (np.maximum(inside, 0) / ((y1 - y0) * (x1 - x0))).astype(np.float32)


class StillCrops:
    """Which crops of a frame look as they did in an earlier one, so that seeing that one is enough.

    A function of the footage alone: not of where an extraction began, or was stopped.

    Args:
        means: block means [C, h, w, 3] of any frame.
        threshold: of `crop_change` between two frames, from which they differ.
    """

    def __init__(
        self, pyramid: Pyramid, cameras: int, means: Callable[[int], NDArray[np.float32]], threshold: float
    ) -> None:
        self._pyramid, self._means, self._threshold = pyramid, means, threshold
        self.shape = (cameras, pyramid.num_crops)
        self._known: dict[int, NDArray[np.int32]] = {}

    @staticmethod
    def earliest(frame: int) -> int:
        """The first frame that any crop of this one may look like."""
        return frame - frame % STILL_FRAMES

    def seen_in(self, frame: int) -> NDArray[np.int32]:
        """[C, R] the frame in which each crop of this one is to be seen: this or an earlier one."""
        if frame not in self._known:
            self._known = {f: seen for f, seen in self._known.items() if f >= self.earliest(frame) - STILL_FRAMES}
            self._known[frame] = self._find(frame)
        return self._known[frame]

    def _find(self, frame: int) -> NDArray[np.int32]:
        if frame == self.earliest(frame):
            return np.full(self.shape, frame, np.int32)
        seen = self.seen_in(frame - 1).copy()
        for earlier in np.unique(seen).tolist():
            change = crop_change(self._pyramid, [self._means(frame)], [self._means(earlier)])
            seen[(seen == earlier) & (change >= self._threshold)] = frame
        return seen


def _blocks(
    start: NDArray[np.int32], size: NDArray[np.int32], pixels: int, side: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Along one axis: the first of the blocks that each crop touches, and the one after the last; one at least."""
    count = -(-pixels // side)
    first = np.minimum(np.maximum(start, 0) // side, count - 1)
    return first, np.maximum(first + 1, np.minimum(-(-(start + size) // side), count))
