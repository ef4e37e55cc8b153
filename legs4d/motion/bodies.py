"""Which points of an object are its body in a frame: masks are wrong at outlines, and some of its points fly elsewhere.

A reconstruction leaves points of somebody who throws a box with the box, and strings of them between both: a
thousandth of them is enough for the two to seem to touch all along. What stands for an object is where its points lie
densely and together: core points as in DBSCAN (Ester et al. 1996), whose distance follows from the object's own
spacing, and of their clusters those that are not tiny.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

NEIGHBOURS = 8
"""Of a point, that have to be near for it to lie densely."""
LOOSE = 4.0
"""How near that is, in what is usual of the object."""
FAITHFUL = 0.8
"""Share of the frames in which a point has to be a part of the body."""
PIECE = 0.02
"""Share of an object's points from which a cluster is a piece of it: a hand whose arm is too thin to be seen is one."""
LOWEST = 0.02
"""Quantile that stands for the lowest, and from above for the highest: single points stray."""


def body(points: Floats) -> NDArray[np.bool_]:
    """[n] which of an object's points [n, 3] in a frame are its body; all where they are too few to tell, or would be
    none."""
    count = len(points)
    if count < 4 * NEIGHBOURS:
        return np.ones(count, bool)
    away, other = cKDTree(points).query(points, k=NEIGHBOURS + 1)
    near = away[:, 1:] <= LOOSE * np.median(away[:, -1])
    dense = near[:, -1]
    one, two = np.repeat(np.arange(count), NEIGHBOURS), other[:, 1:].ravel()
    linked = near.ravel() & dense[one] & dense[two]
    links = coo_array((np.ones(linked.sum()), (one[linked], two[linked])), shape=(count, count))
    _, piece = connected_components(links, directed=False)
    large = np.bincount(piece[dense], minlength=piece.max() + 1) >= PIECE * count
    kept = dense & large[piece]
    return kept if kept.any() else np.ones(count, bool)


def bodies(points: Floats) -> list[NDArray[np.intp]]:
    """T arrays [≤ n]: which of points [T, n, 3] are the body in each frame.

    What is no part of it in many frames is none in the others: points that a thing takes along when it is let go look
    like a hand for as long as they trail from one.
    """
    inside = np.stack([body(frame) for frame in points])
    true = inside & (inside.mean(axis=0) >= FAITHFUL)
    return [np.flatnonzero(some if some.any() else all_) for some, all_ in zip(true, inside, strict=True)]


def reach(points: Floats, shapes: list[NDArray[np.intp]], up: Floats) -> Floats:
    """[T, 2] along a unit vector, from where to where the bodies of points [T, n, 3] reach, scene units.

    Args:
        shapes: of `bodies`.
    """
    ends = (LOWEST, 1 - LOWEST)
    return np.array([np.quantile(frame[own] @ up, ends) for frame, own in zip(points, shapes, strict=True)])
