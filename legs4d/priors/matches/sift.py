"""Matches without learned weights: SIFT (Lowe 2004), each the other's nearest and clearly nearer than the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.opencv import opencv
from legs4d.priors.protocols import Pairs

RATIO = 0.8
"""Of the distances of the nearest and the next: Lowe's."""

Points = tuple[NDArray[np.float32], NDArray[np.float32]]
"""[N, 2] pixels, [N, 128] descriptors."""


class SiftMatches:
    """See `protocols.MatchesPrior`."""

    def __init__(self) -> None:
        self._cv2 = opencv("SIFT")

    def matches(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> Pairs:
        """Pairs of points of two pictures [H, W, 3], which may be of two sizes."""
        return self.match(self.points(first), self.points(second))

    def match(self, first: Points, second: Points) -> Pairs:
        """Pairs of the points of two pictures."""
        (here, one), (there, other) = first, second
        if len(here) < 2 or len(there) < 2:
            none = np.zeros((0, 2), np.float32)
            return Pairs(none, none, np.zeros(0, np.float32))
        forth, ratio = _nearest(one, other)
        back, _ = _nearest(other, one)
        kept = np.flatnonzero((back[forth] == np.arange(len(forth))) & (ratio < RATIO))
        kept = kept[np.argsort(ratio[kept], kind="stable")]
        return Pairs(here[kept], there[forth[kept]], (1 - ratio[kept]).astype(np.float32))

    def points(self, picture: NDArray[np.float32]) -> Points:
        """Points of a picture [H, W, 3] with what they look like."""
        grey = np.rint(picture @ np.array([0.299, 0.587, 0.114], np.float32) * 255).astype(np.uint8)
        points, told = self._cv2.SIFT_create().detectAndCompute(grey, None)
        # OpenCV's coordinates are of the centres of pixels
        places = np.array([point.pt for point in points], np.float32).reshape(-1, 2) + np.float32(0.5)
        return places, np.zeros((0, 128), np.float32) if told is None else told


def _nearest(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each row of one, its nearest of the other, and how far it is in distances of the next."""
    from scipy.spatial import cKDTree

    distances, places = cKDTree(other).query(one, k=2)
    ratio = distances[:, 0] / np.maximum(distances[:, 1], 1e-9)
    return places[:, 0], ratio.astype(np.float32)
