"""The objects of a video: their masks in every frame, and crops around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from legs4d.priors.opencv import opencv

Picture = NDArray[np.float32]


@dataclass
class Thing:
    """One object.

    Attributes:
        id: as its masks are numbered; name: "" where nobody says.
        masks: [T, H, W] bool, what shows of it.
        whole: frame → [H, W] bool, also what is hidden of it, where that was filled in (DreamScene4D's InpaintedMasks);
            filled: frame → [H, W, 3] uint8 the picture that goes with it.
        route: where its masks come from.
    """

    id: int
    name: str
    masks: NDArray[np.bool_]
    whole: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    filled: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    route: str = "given"

    @property
    def areas(self) -> NDArray[np.int64]:
        """[T] pixels."""
        return np.asarray(self.masks.sum(axis=(1, 2)), np.int64)

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """[H, W] what the object fills, with what is hidden where that is known."""
        return self.whole.get(frame, self.masks[frame])

    def picture(self, frame: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[H, W, 3] of it."""
        return self.filled.get(frame, picture)

    @property
    def called(self) -> str:
        """For a person."""
        return self.name or f"object {self.id}"


def shown_of(things: Iterable[Thing], frame: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """[H, W] where any of them shows in a frame of this shape."""
    shown = np.zeros(shape, bool)
    for thing in things:
        shown |= thing.masks[frame]
    return shown


def free_of(things: Iterable[Thing], frame: int, shape: tuple[int, ...], border: int) -> NDArray[np.bool_]:
    """[H, W] where none of them shows in a frame of this shape, nor so many pixels beside one: the background."""
    shown = shown_of(things, frame, shape)
    return ~binary_dilation(shown, iterations=border) if shown.any() else ~shown


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """(left, top, right, bottom), the last two excluded; None where nothing is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def is_cut(mask: NDArray[np.bool_]) -> bool:
    """Whether it touches the picture's border."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


@dataclass(frozen=True)
class Crop:
    """A square of a picture, resampled to `side`² pixels: picture = corner + scale · crop, both in pixels from the
    picture's corner.

    Sides are in pixels of the longer side: DreamScene4D divides widths by the width although its crop is as high as the
    picture, which cuts what is wide.
    """

    left: float
    top: float
    scale: float
    side: int

    @classmethod
    def around(cls, x: float, y: float, size: float, side: int) -> Crop:
        """Of `size` pixels of the picture around (x, y)."""
        return cls(x - size / 2, y - size / 2, size / side, side)

    def intrinsics(self, matrix: NDArray[np.floating]) -> NDArray[np.float64]:
        """[3, 3] of the crop, from those of the picture."""
        found = np.array(matrix, np.float64)
        found[0, 2] -= self.left
        found[1, 2] -= self.top
        found[:2] /= self.scale
        return found

    def take(self, values: NDArray[np.float32], outside: float = 0.0) -> NDArray[np.float32]:
        """[side, side, …] of [H, W, …]; shrinking averages."""
        cv2 = opencv("crops of videos")
        shrink = max(1, round(self.scale))
        kept = np.ascontiguousarray(values, np.float32)
        if shrink > 1:
            kept = cv2.blur(kept, (shrink, shrink), borderType=cv2.BORDER_REPLICATE)
        # OpenCV's mean of an even number of pixels stands half a pixel to the right of and below its middle
        middle = self.scale / 2 - (0.0 if shrink % 2 == 0 else 0.5)
        matrix = np.array([[self.scale, 0, self.left + middle], [0, self.scale, self.top + middle]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        border = (outside,) * 4
        return np.asarray(
            cv2.warpAffine(
                kept, matrix, (self.side, self.side), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border
            ),
            np.float32,
        )
