"""Flow without learned weights: DIS (Kroeger et al. 2016), on the whole picture or in a crop around what moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.priors.opencv import opencv
from legs4d.scene.images import as_bytes

SEARCHED = 0.6
"""Of a box's sides: how far around it a thing is looked for in the other picture."""
_LEAST = 16
"""Pixels a side that DIS needs."""


class DisFlow:
    """See `protocols.FlowPrior`."""

    def __init__(self) -> None:
        self._cv2 = opencv("DIS")

    def flow(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """[H, W, 2] pixels.

        Raises:
            Legs4dError: the pictures are of two sizes.
        """
        if first.shape != second.shape:
            what = f"pictures are {first.shape[:2]} and {second.shape[:2]}"
            raise Legs4dError(what, where="flow", fix="give two pictures of one size")
        return self._dis(self._grey(first), self._grey(second))

    def flow_of(
        self, first: NDArray[np.float32], second: NDArray[np.float32], mask: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """[H, W, 2] pixels where `mask` [H, W] is True in the first picture, 0 elsewhere.

        The thing's own motion is found first, by its colours in the place where it fits best, and what is left by DIS
        between the two crops: over the whole picture, DIS loses what moves by more than its coarsest patch.
        """
        found = np.zeros((*mask.shape, 2), np.float32)
        if not mask.any():
            return found
        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        shift = self._shift(first, second, mask, (left, top, right, bottom))
        border = max(_LEAST, round(SEARCHED / 2 * max(bottom - top, right - left)))
        y = np.clip(np.arange(top - border, bottom + border), 0, height - 1)
        x = np.clip(np.arange(left - border, right + border), 0, width - 1)
        moved_y, moved_x = (
            np.clip(axis, 0, side - 1) for axis, side in ((y + shift[1], height), (x + shift[0], width))
        )
        here, there = first[np.ix_(y, x)], second[np.ix_(moved_y, moved_x)]
        small = self._dis(self._grey(here), self._grey(there))
        inside = small[border : border + bottom - top, border : border + right - left] + np.array(shift, np.float32)
        part = mask[top:bottom, left:right]
        found[top:bottom, left:right][part] = inside[part]
        return found

    def _shift(
        self,
        first: NDArray[np.float32],
        second: NDArray[np.float32],
        mask: NDArray[np.bool_],
        box: tuple[int, int, int, int],
    ) -> tuple[int, int]:
        """Whole pixels by which the thing moved."""
        cv2, (left, top, right, bottom) = self._cv2, box
        height, width = mask.shape
        reach = max(_LEAST, round(2 * max(right - left, bottom - top)))
        x0, y0, x1, y1 = (
            max(0, left - reach),
            max(0, top - reach),
            min(width, right + reach),
            min(height, bottom + reach),
        )
        pattern = np.ascontiguousarray(first[top:bottom, left:right])
        weights = np.repeat(mask[top:bottom, left:right, None].astype(np.float32), 3, axis=2)
        costs = cv2.matchTemplate(
            np.ascontiguousarray(second[y0:y1, x0:x1]), pattern, cv2.TM_SQDIFF, mask=np.ascontiguousarray(weights)
        )
        row, column = np.unravel_index(int(np.argmin(costs)), costs.shape)
        return int(x0 + column - left), int(y0 + row - top)

    def _dis(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = first.shape
        if min(height, width) < _LEAST:
            borders = ((0, max(0, _LEAST - height)), (0, max(0, _LEAST - width)))
            first, second = np.pad(first, borders, "edge"), np.pad(second, borders, "edge")
        dis = self._cv2.DISOpticalFlow_create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return np.ascontiguousarray(dis.calc(first, second, None)[:height, :width], np.float32)

    @staticmethod
    def _grey(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
        grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
        return as_bytes(grey)
