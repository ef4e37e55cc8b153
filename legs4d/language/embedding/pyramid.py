"""Where the crops of an image lie, and how its pixels mix what is said of them (docs/conventions.md).

Five grids of square crops, after LERF (Kerr et al. 2023, section 3.2): a pixel's feature is the mean over the levels of
the bilinear interpolation between the four nearest crop centres. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError

LEVELS = 5
SMALLEST, LARGEST = 0.15, 0.6
"""Crop sizes go from this share of the image's height to that, in equal steps."""

WINDOW = 8
"""Frames that a clip is made of."""
FRAMES_BEFORE = 4
"""Of them, before the timestep itself; the others are the timestep's own and those after it."""


@dataclass(frozen=True)
class Level:
    """One grid of crops.

    Attributes:
        size: side of a crop, pixels.
        stride: from one crop to the next, pixels; also how far the first ones reach out of the image.
        rows, columns: how many crops.
        first: of the image's crops, counted through all levels, the one in this level's upper left corner.
    """

    size: int
    stride: int
    rows: int
    columns: int
    first: int

    @property
    def count(self) -> int:
        return self.rows * self.columns

    @property
    def first_center(self) -> float:
        """Of the first crop, in pixels counted from the centre of the image's first pixel."""
        return (self.size - 1) / 2 - self.stride


@dataclass(frozen=True)
class Pyramid:
    """All crops of a height × width image: level by level, each row by row."""

    height: int
    width: int
    levels: tuple[Level, ...]

    @property
    def num_crops(self) -> int:
        return sum(level.count for level in self.levels)

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        """[R, 3] int32 top, left and size of each crop, pixels; it may reach out of the image, where it is zero."""
        parts = []
        for level in self.levels:
            top, left = np.meshgrid(np.arange(level.rows), np.arange(level.columns), indexing="ij")
            corner = np.stack([top, left], axis=-1).reshape(-1, 2) * level.stride - level.stride
            parts.append(np.concatenate([corner, np.full((level.count, 1), level.size)], axis=1))
        return np.concatenate(parts).astype(np.int32)

    @cached_property
    def taps(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """B of one image: index [H, W, 20] int32 of the crops that each pixel mixes, weight [H, W, 20] float32.

        Four neighbours a level, upper left first, then upper right, lower left, lower right. Right of the last column
        and below the last row of centres these are repeated. The weights of a pixel sum to 1.
        """
        index = np.empty((self.height, self.width, len(self.levels), 4), np.int32)
        weight = np.empty(index.shape, np.float32)
        for which, level in enumerate(self.levels):
            y, y_share = _neighbours(self.height, level.rows, level)
            x, x_share = _neighbours(self.width, level.columns, level)
            index[:, :, which] = level.first + (y[:, None, [0, 0, 1, 1]] * level.columns + x[None, :, [0, 1, 0, 1]])
            weight[:, :, which] = y_share[:, None, [0, 0, 1, 1]] * x_share[None, :, [0, 1, 0, 1]] / len(self.levels)
        return index.reshape(self.height, self.width, -1), weight.reshape(self.height, self.width, -1)

    def read_by(self, pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which crops any of these pixels mixes: [C, H, W] bool → [C, R] bool."""
        index, weight = self.taps
        read = np.zeros((len(pixels), self.num_crops), bool)
        for camera, chosen in enumerate(pixels):
            read[camera, index[chosen][weight[chosen] > 0]] = True
        return read


def _neighbours(pixels: int, count: int, level: Level) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Along one axis: of each pixel the two nearest of `count` centres [pixels, 2], and their shares [pixels, 2]."""
    position = (np.arange(pixels) - level.first_center) / level.stride
    before = np.floor(position)
    share = position - before
    near = np.stack([before, before + 1], axis=-1).astype(np.int32)
    return np.minimum(near, count - 1), np.stack([1 - share, share], axis=-1)


@lru_cache(maxsize=4)
def pyramid(height: int, width: int) -> Pyramid:
    """The crops of a height × width image.

    Level sizes are k = ⌊H·s⌋, stride and padding ⌊k/2⌋.

    Raises:
        DatasetError: the image is so small that a crop would be a single pixel.
    """
    levels: list[Level] = []
    first = 0
    for share in np.linspace(SMALLEST, LARGEST, LEVELS):
        size = int(height * share)
        stride = size // 2
        if not stride:
            raise DatasetError(
                f"pictures of {width}×{height} pixels are too small to be cut into crops",
                where="--scale",
                fix=f"work on pictures at least {int(np.ceil(2 / SMALLEST))} pixels high",
            )
        rows, columns = ((side + 2 * stride - size) // stride + 1 for side in (height, width))
        levels.append(Level(size, stride, rows, columns, first))
        first += rows * columns
    return Pyramid(height, width, tuple(levels))


def window(frame: int, num_frames: int) -> list[int]:
    """The frames of the clip at a timestep: t − 4 … t + 3, missing ones dropped, the last repeated to make 8."""
    there = range(max(0, frame - FRAMES_BEFORE), min(num_frames, frame - FRAMES_BEFORE + WINDOW))
    return [*there, *[there[-1]] * (WINDOW - len(there))]
