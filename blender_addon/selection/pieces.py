"""Pieces that hang together: points whose cells of a grid touch. Pure numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SIZES_PER_CELL = 3.0
"""Standard deviations, of the median point, that a cell is wide: neighbours on a surface are nearer."""
SPACINGS_PER_CELL = 2.0
"""A cell is at least as many times as wide as points would be apart if they filled the middle of their bounding box."""

ASKED = 1 << 15
"""Points, evenly taken, that say how wide a cell is."""
MOST_CELLS = 1 << 24
"""Of a grid that is kept whole; larger ones are searched by their filled cells."""


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
    some = slice(None, None, max(len(positions) // ASKED, 1))
    low, high = np.percentile(positions[some], [25, 75], axis=0)  # what floats far away says nothing
    apart = float(np.prod(np.maximum(2 * (high - low), 1e-6)) / max(len(positions), 1)) ** (1 / 3)
    return max(SIZES_PER_CELL * float(np.median(np.max(scales[some], axis=1))), SPACINGS_PER_CELL * apart, 1e-6)


def find(positions: Array, size: float) -> Array:
    """[N] int: the number of the piece that each point is of; cells of this size that touch are one piece."""
    lowest = positions.min(axis=0)
    columns = [np.floor((positions[:, axis] - lowest[axis]) / size).astype(np.int64) + 1 for axis in range(3)]
    extent = [int(column.max()) + 2 for column in columns]
    codes = (columns[0] * extent[1] + columns[1]) * extent[2] + columns[2]
    cells = extent[0] * extent[1] * extent[2]
    if cells > MOST_CELLS:
        known, of_point = np.unique(codes, return_inverse=True)
        return _pieces(known, extent)[of_point.reshape(-1)]
    filled = np.zeros(cells, bool)
    filled[codes] = True
    known, labels = np.flatnonzero(filled), np.empty(cells, np.int64)
    labels[known] = _pieces(known, extent)
    return labels[codes]


def _pieces(known: Array, extent: list[int]) -> Array:
    """[cells] int: the piece of each filled cell (sorted codes); they touch by a face, an edge or a corner.

    Cells in a row are one run, and few runs have to be compared.
    """
    begins = np.flatnonzero(np.diff(known, prepend=-2) > 1)
    lengths = np.diff(begins, append=len(known))
    first, last = known[begins], known[begins + lengths - 1]
    pairs = [_touching(first, last, (x * extent[1] + y) * extent[2]) for x, y in ((0, 1), (1, -1), (1, 0), (1, 1))]
    runs = _joined(len(first), np.concatenate(pairs))
    return np.repeat(runs, lengths)


def _touching(first: Array, last: Array, step: int) -> Array:
    """[P, 2] runs of which the other touches the one, moved by so many codes."""
    begin = np.searchsorted(last, first + (step - 1))
    count = np.searchsorted(first, last + (step + 1), side="right") - begin
    one = np.repeat(np.arange(len(first)), count)
    within = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    return np.column_stack((one, begin[one] + within))


def _joined(count: int, pairs: Array) -> Array:
    """[count] int: the smallest number that each can be reached from by pairs."""
    labels = np.arange(count)
    while len(pairs):
        one, other = labels[pairs[:, 0]], labels[pairs[:, 1]]
        apart = one != other
        pairs, one, other = pairs[apart], one[apart], other[apart]  # the others are one piece already, for good
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while (shorter := labels[labels]).tobytes() != labels.tobytes():
            labels = shorter
    return labels
