"""Masks without learned weights: GrabCut (Rother et al. 2004), which learns the colours inside and around a box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.opencv import opencv
from legs4d.priors.picture_crops import clipped, grown
from legs4d.scene.images import as_bytes

ROUNDS = 4
AROUND = 0.6
"""Of a box's sides, added around it, from which the colours of the background are learned."""
_LEAST = 4
"""Pixels a side, below which there are no colours to learn."""


class GrabCut:
    """See `protocols.MasksPrior`."""

    def __init__(self) -> None:
        self._cv2 = opencv("GrabCut")

    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, H, W], 0 or 1."""
        height, width = picture.shape[:2]
        colors = as_bytes(picture)
        inner = np.rint(clipped(boxes, width, height)).astype(int)
        outer = np.rint(clipped(grown(boxes, AROUND), width, height)).astype(int)
        found = np.zeros((len(boxes), height, width), np.float32)
        for mask, box, around in zip(found, inner, outer, strict=True):
            mask[around[1] : around[3], around[0] : around[2]] = self._cut(colors, box, around)
        return found

    def _cut(self, colors: NDArray[np.uint8], box: NDArray[np.int64], around: NDArray[np.int64]) -> NDArray[np.bool_]:
        cv2 = self._cv2
        part = np.ascontiguousarray(colors[around[1] : around[3], around[0] : around[2]])
        labels = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
        left, top, right, bottom = (box - np.tile(around[:2], 2)).tolist()
        labels[top:bottom, left:right] = cv2.GC_PR_FGD
        if min(right - left, bottom - top) < _LEAST or not (labels == cv2.GC_BGD).any():
            return np.asarray(labels == cv2.GC_PR_FGD)  # no background to learn: all of the box
        cv2.setRNGSeed(0)
        cv2.grabCut(part, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
        return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
