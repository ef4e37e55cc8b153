"""Many numbers as few: a codebook of single values, and a palette of whole rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE = 256
_ROUNDS = 12
"""Of Lloyd's algorithm; on log-scales of real captures the mean error stops falling after about ten."""


def codebook(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """[256] ascending numbers that tell these values (any shape, at least one) well: k-means in one dimension.

    Half of the start is at quantiles, for the many, half is even over the range, so that the few far out are not lost.
    """
    ordered = np.sort(values, axis=None).astype(np.float64)
    share = np.linspace(0, 1, SIZE // 2)
    even = ordered[0] + (ordered[-1] - ordered[0]) * share
    centers = np.sort(np.concatenate([np.quantile(ordered, share), even]))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        edges = np.searchsorted(ordered, (centers[1:] + centers[:-1]) / 2)
        first, last = np.concatenate([[0], edges]), np.concatenate([edges, [len(ordered)]])
        counts = last - first
        centers = np.where(counts > 0, (sums[last] - sums[first]) / np.maximum(counts, 1), centers)
    return np.sort(centers)


def nearest(centers: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Index of the nearest of ascending centers [256], in the shape of `values`."""
    return np.searchsorted((centers[1:] + centers[:-1]) / 2, values).astype(np.uint8)


def palette(rows: NDArray[np.floating[Any]], most: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """At most `most` rows (a power of two), and which of them stands for each of `rows` [N, D].

    Up to `most` rows are told exactly. More are halved at the median along the widest axis, again and again; a part's
    mean stands for all in it. (k-means would be closer by a few percent, for hours instead of seconds.)
    """
    values = np.ascontiguousarray(rows, np.float32)
    if len(values) <= most:
        return values, np.arange(len(values))
    part = np.zeros(len(values), np.int64)
    for _ in range(int(np.log2(most))):
        counts = np.bincount(part)
        means = _sums(values, part) / counts[:, None]
        spread = _sums((values - means[part]) ** 2, part)
        along = values[np.arange(len(values)), spread.argmax(axis=1)[part]]
        order = np.lexsort((along, part))
        starts = np.cumsum(counts) - counts
        rank = np.empty(len(values), np.int64)
        rank[order] = np.arange(len(values)) - starts[part[order]]
        part = 2 * part + (rank >= (counts[part] + 1) // 2)
    counts = np.bincount(part)
    return (_sums(values, part) / counts[:, None]).astype(np.float32), part


def _sums(rows: NDArray[np.floating[Any]], part: NDArray[np.int64]) -> NDArray[np.float64]:
    """[P, D] sums of rows by part."""
    order = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[order], np.arange(part.max() + 1))
    return np.add.reduceat(rows[order].astype(np.float64), starts, axis=0)
