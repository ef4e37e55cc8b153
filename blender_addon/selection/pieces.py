"""Pieces that hang together: points whose cells of a grid touch. Pure numpy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIZES_PER_CELL = 3.0
"""Standard deviations, of the median point, that a cell is wide: neighbours on a surface are nearer."""
SPACINGS_PER_CELL = 2.0
"""A cell is at least as many times as wide as points would be apart if they filled the middle of their bounding box."""


def largest(positions: Array, scales: Array) -> Array:
    """[N] bool: the points of the piece that has the most.

    Args:
        positions, scales: [N, 3].
    """
    if len(positions) < 2:
        return np.ones(len(positions), bool)
    labels = find(positions, cell_size(positions, scales))
    return labels == np.bincount(labels).argmax()


def cell_size(positions: Array, scales: Array) -> float:
    """How far apart points of one piece may be, from what they are like."""
    low, high = np.percentile(positions, [25, 75], axis=0)  # what floats far away says nothing
    apart = float(np.prod(np.maximum(2 * (high - low), 1e-6)) / max(len(positions), 1)) ** (1 / 3)
    return max(SIZES_PER_CELL * float(np.median(np.max(scales, axis=1))), SPACINGS_PER_CELL * apart, 1e-6)


def find(positions: Array, size: float) -> Array:
    """[N] int: the number of the piece that each point is of; cells of this size that touch are one piece."""
    lowest = positions.min(axis=0)
    cells = np.floor((positions - lowest) / size).astype(np.int64) + 1
    extent = cells.max(axis=0) + 2
    codes = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    known, of_point = np.unique(codes, return_inverse=True)
    pairs = _touching(known, extent)
    return _joined(len(known), pairs)[of_point.reshape(-1)]


def _touching(known: Array, extent: Array) -> Array:
    """[P, 2] numbers of filled cells (sorted codes) that share a face, an edge or a corner."""
    found = []
    for x, y, z in product((-1, 0, 1), repeat=3):
        step = (x * extent[1] + y) * extent[2] + z
        if step > 0:
            place = np.searchsorted(known, known + step).clip(max=len(known) - 1)
            here = np.flatnonzero(known[place] == known + step)
            found.append(np.column_stack((here, place[here])))
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


def _joined(count: int, pairs: Array) -> Array:
    """[count] int: the smallest number that each can be reached from by pairs."""
    labels = np.arange(count)
    while len(pairs):
        one, other = labels[pairs[:, 0]], labels[pairs[:, 1]]
        pairs = pairs[one != other]  # the others are one piece already, for good
        one, other = labels[pairs[:, 0]], labels[pairs[:, 1]]
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while (shorter := labels[labels]).tobytes() != labels.tobytes():
            labels = shorter
    return labels
