"""Which masks of different pictures are of one thing, where nobody says so: SAM numbers every picture's anew.

Two masks agree by how far they have the same Gaussians: Σ min(f) m / Σ max(f) m over the Gaussians that both pictures
show, with f a Gaussian's share in a mask and m how many pixels it fills, the geometric mean of both pictures. Groups of
masks are joined, those that agree most first; what two groups have in common, and what in all, are the sums over their
pairs. Two masks of one picture are two things, and are never joined.
"""

from __future__ import annotations

import heapq
from dataclasses import astuple, dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d.segment.lifting import Evidence, looked_up

AGREE = 0.4
"""Soft IoU from which two masks, or groups of masks, are of one thing. At 0.5 each has most of the other."""
MET = 0.1
"""Share of either mask that the other's picture has to show, for the two to be compared."""
SAMPLE = 40_000
"""Gaussians that are compared, those that fill the most pixels: the rest says the same."""
_LEVELS = (0.125, 0.375, 0.625, 0.875)
"""Shares at which masks are compared: min(a, b) is the mean over t of [a > t][b > t], which sparse products give."""


@dataclass(frozen=True)
class Agreement:
    """Pairs of masks of different pictures that have Gaussians in common.

    Attributes:
        first, second: [P] the masks, the lower number first.
        common, union: [P] Σ min(f) m and Σ max(f) m; their quotient is the soft IoU.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    common: NDArray[np.float32]
    union: NDArray[np.float32]


def associate(evidence: Evidence, agree: float = AGREE) -> NDArray[np.int64]:
    """[R] which thing each mask shows, numbered from 0.

    Args:
        evidence: of masks without identities.
        agree: 0..1, soft IoU that joins.
    """
    if not len(evidence.view):
        return np.zeros(0, np.int64)
    return _grouped(agreement(evidence), evidence.view, agree)


def agreement(evidence: Evidence) -> Agreement:
    """Of all pairs of masks whose pictures show a part of either together."""
    mass = evidence.mass
    rows = np.arange(len(mass)) if len(mass) <= SAMPLE else np.argpartition(mass, -SAMPLE)[-SAMPLE:]
    shares = scipy.sparse.coo_array(evidence.shares().tocsr()[rows])
    seen = scipy.sparse.csr_array(evidence.seen.tocsr()[rows])
    # √(m m'): how far both pictures show a Gaussian, which is a product, as the sums below want it
    seen.data = np.sqrt(seen.data)
    own = looked_up(seen, shares.row, evidence.view[shares.col])
    count = shares.shape[1]
    both = scipy.sparse.csr_array((count, count), dtype=np.float32)
    levelled = np.zeros_like(shares.data)
    for level in _LEVELS:
        above = shares.data > level
        levelled += above / np.float32(len(_LEVELS))
        part = scipy.sparse.csr_array((own[above], (shares.row[above], shares.col[above])), shape=shares.shape)
        both = both + part.T @ part / np.float32(len(_LEVELS))
    masks = scipy.sparse.csr_array((levelled * own, (shares.row, shares.col)), shape=shares.shape)
    shown = np.asarray((masks.T @ seen).todense())
    whole = np.asarray((masks.multiply(masks)).sum(axis=0))
    both = both.tocoo()
    first, second = both.row, both.col
    here, there = shown[first, evidence.view[second]], shown[second, evidence.view[first]]
    meet = (here >= MET * whole[first]) & (there >= MET * whole[second])
    kept = meet & (evidence.view[first] != evidence.view[second]) & (first < second)
    union = here + there - both.data
    return Agreement(first[kept], second[kept], both.data[kept], union[kept])


def _grouped(alike: Agreement, view: NDArray[np.int32], agree: float) -> NDArray[np.int64]:
    """The groups, by joining the two that agree most until none do."""
    count = len(view)
    near: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for a, b, common, union in zip(*(values.tolist() for values in astuple(alike)), strict=True):
        near[a][b] = near[b][a] = (common, union)
    views = [{int(v)} for v in view]
    root = np.arange(count)
    stamp = [0] * count
    """How often a group has grown; -1 once it is a part of another."""
    queue = [(-common / union, a, b, 0, 0) for a in range(count) for b, (common, union) in near[a].items() if a < b]
    heapq.heapify(queue)
    while queue:
        value, a, b, *when = heapq.heappop(queue)
        if -value < agree:
            break
        if [stamp[a], stamp[b]] != when or views[a] & views[b]:
            continue
        if len(near[a]) < len(near[b]):
            a, b = b, a
        root[root == b] = a
        views[a] |= views[b]
        stamp[a], stamp[b] = stamp[a] + 1, -1
        del near[a][b]
        for other, (common, union) in near[b].items():
            if other != a:
                have = near[a].get(other, (0.0, 0.0))
                near[a][other] = near[other][a] = (have[0] + common, have[1] + union)
                del near[other][b]
        near[b] = {}
        for other, (common, union) in near[a].items():
            lower, upper = min(a, other), max(a, other)
            heapq.heappush(queue, (-common / union, lower, upper, stamp[lower], stamp[upper]))
    return np.asarray(np.unique(root, return_inverse=True)[1], np.int64)
