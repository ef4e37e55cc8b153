"""One size for pictures of several: each is cut, and where sizes differ much scaled down, so that every pixel of every
camera was seen. Nothing is padded, so nothing that no camera saw is trained on or judged."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.images import area_resize, as_unit, majority_resize
from legs4d.scene.lens import Lens

Size = tuple[int, int]
"""Width and height, pixels."""

CUT_ONLY = 1.1
"""Sizes that differ by less than this factor are cut at their borders; beyond it pictures are scaled too."""

SMALLEST = 0.2
"""Of the shorter side of the largest picture: with less left of it, one small picture would cost all others theirs."""


@dataclass(frozen=True)
class Canvas:
    """The common size, and which part of a picture of each size fills it.

    Attributes:
        width, height: pixels.
        boxes: size of a picture → left, top, width, height of the part that is kept.
    """

    width: int
    height: int
    boxes: dict[Size, tuple[int, int, int, int]]

    @classmethod
    def of(cls, sizes: list[Size], where: str) -> Canvas:
        """For cameras with pictures of these sizes; their shape is that of most of them, and no picture is enlarged.

        Raises:
            DatasetError: little would be left of the largest.
        """
        different = sorted(set(sizes))
        least, most = np.min(different, axis=0), np.max(different, axis=0)
        if (most < CUT_ONLY * least).all():
            width, height = int(least[0]), int(least[1])
            return cls(width, height, {size: _middle(size, width, height) for size in different})
        shape = float(np.exp(median(np.log(w / h) for w, h in sizes)))
        parts = {(w, h): (min(w, round(h * shape)), min(h, round(w / shape))) for w, h in different}
        width, height = min(parts.values())
        if SMALLEST * min(most) > min(width, height):
            (w1, h1), (w2, h2) = different[0], different[-1]
            raise DatasetError(
                f"has pictures of {w1}×{h1} and of {w2}×{h2} pixels",
                where=where,
                fix="leave the small ones out, or make them larger",
            )
        return cls(width, height, {size: _middle(size, *part) for size, part in parts.items()})

    def intrinsics(self, lens: Lens) -> NDArray[np.float64]:
        """[3, 3] of the pinhole that a lens's pictures become on this canvas."""
        left, top, width, height = self.boxes[lens.width, lens.height]
        to_canvas = np.array([[self.width / width, 0, 0], [0, self.height / height, 0], [0, 0, 1]])
        return np.asarray(to_canvas @ (lens.intrinsics - np.array([[0, 0, left], [0, 0, top], [0, 0, 0]])))

    def picture(self, values: NDArray[Any], lens: Lens, size: Size) -> NDArray[np.float32]:
        """A picture [H, W, 3 or 4] as `images.read_picture` gives it, at a working size: [height, width, …] in 0..1."""
        if values.shape[2] == 3:
            resized = area_resize(as_unit(self.cut(lens.undistort(values), lens)), *size)
            # Beside edges a lens is undone to less than 0 and more than 1, which other types cannot hold.
            return resized.clip(0, 1) if values.dtype == np.float32 else resized
        # Colours count by how opaque they are, or what is transparent would bleed into the edges.
        unit = as_unit(values)
        unit = np.concatenate([unit[..., :3] * unit[..., 3:], unit[..., 3:]], axis=-1)
        resized = np.clip(area_resize(self.cut(lens.undistort(unit), lens), *size), 0, 1)
        resized[..., :3] = np.minimum(resized[..., :3] / np.maximum(resized[..., 3:], 1e-6), 1)
        return resized

    def mask(self, values: NDArray[np.bool_], lens: Lens, size: Size) -> NDArray[np.float32]:
        """A mask [H, W] at a working size: the share of each pixel that is in it."""
        return area_resize(self.cut(lens.undistort(values.astype(np.uint8), nearest=True), lens), *size)

    def labels(self, values: NDArray[np.uint8], lens: Lens, size: Size) -> NDArray[np.uint8]:
        """Labels [H, W] at a working size: those that cover most of each pixel."""
        return majority_resize(self.cut(lens.undistort(values, nearest=True), lens), *size)

    def depths(self, values: NDArray[np.float32], lens: Lens, size: Size) -> NDArray[np.float32]:
        """Depths [H, W] at a working size: those in the middle of pixels, as a mean over an edge is on no side."""
        seen = self.cut(lens.undistort(values, nearest=True), lens)
        (width, height), (rows, columns) = size, seen.shape
        down = ((np.arange(height) + 0.5) * rows / height).astype(int)
        across = ((np.arange(width) + 0.5) * columns / width).astype(int)
        return np.ascontiguousarray(seen[down[:, None], across], np.float32)

    def keeps(self, lens: Lens, size: Size) -> bool:
        """Whether a picture of this lens is at most cut for a working size: its pixels are those that were taken."""
        return lens.is_pinhole and self.boxes[lens.width, lens.height][2:] == size

    def cut(self, values: NDArray[Any], lens: Lens) -> NDArray[Any]:
        """The part of a picture [H, W, ...] that is kept, at its own size."""
        left, top, width, height = self.boxes[lens.width, lens.height]
        return values[top : top + height, left : left + width]


def _middle(size: Size, width: int, height: int) -> tuple[int, int, int, int]:
    """The box of this width and height in the middle of a picture."""
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height
