"""From what masks say to segments: which Gaussians each thing has, cleaned, and which is a part of which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from legs4d.segment.association import AGREE, MET, associate
from legs4d.segment.lifting import Evidence
from legs4d.segment.neighbours import Neighbours
from legs4d.segment.segments import Segments

THRESHOLD = 0.5
"""Share of what a Gaussian shows from which it belongs: FlashSplat's (1 + γ) / 2 (equation 9), with γ = 0."""
LEAST_MASS = 0.1
"""Pixels below which a Gaussian is not shown by any picture."""
TRUSTED = 0.5
"""See `TreeSettings`; from three views of the demo scene the IoU is 0.965 with it, 0.959 without."""
LEAST_PIECE = 0.01
"""Share of the largest piece of a segment that another has to have to stay: less is floaters."""
CONTAINED = 0.8
"""Share of a segment that another has to have for it to be a part of that."""
LARGER = 1.25
"""By which what has parts is larger than they are; else the two are one thing, seen twice."""
LEAST_SUPPORT = 0.2
"""Share of the pictures that show a thing in which a mask of it has to be, where masks have no identities."""
_LEAST_WEIGHT = 0.02
"""Shares below it are not stored: they are the fringe of what lies beside."""


@dataclass(frozen=True)
class TreeSettings:
    """How segments are made of masks.

    Attributes:
        agree: soft IoU from which masks of two pictures are of one thing.
        trusted: share of the median Gaussian's pixels with which a Gaussian is as sure of itself as its neighbours
            together are of it; 0 leaves all as they are.
        threshold: share from which a Gaussian counts as a member where pieces and parts are told apart.
        least_piece: share of the largest piece; 1 keeps the largest alone, 0 all.
    """

    agree: float = AGREE
    trusted: float = TRUSTED
    threshold: float = THRESHOLD
    least_piece: float = LEAST_PIECE


def make_segments(
    evidence: Evidence,
    means: NDArray[np.float32],
    neighbours: Neighbours,
    settings: TreeSettings | None = None,
    made: dict[str, Any] | None = None,
) -> Segments:
    """Segments of G Gaussians.

    Args:
        evidence: of their masks.
        means: [G, 3], where they are in the frame by which sizes and neighbours are told.
        neighbours: of them.
        made: goes into the result.
    """
    settings = settings or TreeSettings()
    shares = _shares_of_things(evidence, settings)
    mass = evidence.mass
    shown = mass[mass > LEAST_MASS]
    trusted = settings.trusted * float(np.median(shown)) if len(shown) else 0.0
    shares = neighbours.filled(shares, mass, trusted)
    return segments_of_shares(shares, mass, means, neighbours, settings, made, evidence.identity)


def segments_of_shares(
    shares: scipy.sparse.csr_array,
    mass: NDArray[np.float32],
    means: NDArray[np.float32],
    neighbours: Neighbours,
    settings: TreeSettings,
    made: dict[str, Any] | None = None,
    identities: NDArray[np.int64] | None = None,
) -> Segments:
    """Segments of how far each of G Gaussians belongs to S things [G, S], cleaned, the largest first, and their tree.

    Args:
        mass: [G] pixels that each fills.
        identities: [S] what masks call the things, where they do.
    """
    members = _cleaned(scipy.sparse.csc_array(shares), mass, neighbours, settings)
    size = np.asarray(members.T @ mass)
    kept = np.flatnonzero(np.diff(members.indptr) > 0)
    order = kept[np.argsort(-size[kept], kind="stable")]
    members = scipy.sparse.csc_array(members[:, order])
    members.data = members.data.astype(np.float16).astype(np.float32)
    scale = np.array([scale_of(means, *_column(members, s)) for s in range(len(order))], np.float32)
    names = tuple("" for _ in order)
    told = dict(made or {})
    if identities is not None:
        told["identities"] = [int(identities[s]) for s in order]
    return Segments(members, parents(members, mass, settings.threshold), scale, mass, names, told)


def scale_of(means: NDArray[np.float32], index: NDArray[np.int32], weight: NDArray[np.float32]) -> float:
    """2·‖standard deviation‖ of weighted places, scene units: SAGA's scale of a mask, of a whole segment."""
    if not len(index):
        return 0.0
    places, weight = means[index].astype(np.float64), weight.astype(np.float64)
    middle = np.average(places, axis=0, weights=weight)
    variance = np.average((places - middle) ** 2, axis=0, weights=weight)
    return float(2 * np.sqrt(variance.sum()))


def parents(members: scipy.sparse.csc_array, mass: NDArray[np.float32], threshold: float) -> NDArray[np.int32]:
    """[S] the smallest larger segment that has CONTAINED of each, -1 for none."""
    count = members.shape[1]
    hard = members.copy()
    hard.data = (hard.data >= threshold).astype(np.float32)
    hard.eliminate_zeros()
    # what no picture shows has no mass, and is a little part all the same
    weighted = scipy.sparse.diags_array(np.maximum(mass, LEAST_MASS)) @ hard
    both = (hard.T @ weighted).toarray()
    size = np.diagonal(both)
    parent = np.full(count, -1, np.int32)
    for s in range(count):
        above = np.flatnonzero((both[s] >= CONTAINED * size[s]) & (size >= LARGER * size[s]) & (size[s] > 0))
        if len(above):
            parent[s] = above[np.argmin(size[above])]
    return parent


def _shares_of_things(evidence: Evidence, settings: TreeSettings) -> scipy.sparse.csr_array:
    """[G, S] share of each Gaussian in each thing, over the pictures with a mask of it."""
    if evidence.identity is not None:
        return scipy.sparse.csr_array(evidence.shares())
    thing = associate(evidence, settings.agree)
    count = int(thing.max(initial=-1)) + 1
    join = scipy.sparse.csc_array(
        (np.ones(len(thing), np.float32), (np.arange(len(thing)), thing)), (len(thing), count)
    )
    pixels = scipy.sparse.csc_array(evidence.pixels @ join)
    seen = scipy.sparse.csr_array(evidence.seen)
    columns = []
    for s in range(count):
        index, filled = _column(pixels, s)
        views = np.unique(evidence.view[thing == s])
        rows = seen[index]
        part = np.asarray(rows[:, views].sum(axis=1))
        if not _supported(rows, filled, len(views), evidence.seen.shape[1]):
            continue
        share = np.minimum(filled / np.maximum(part, np.finfo(np.float32).tiny), 1)
        columns.append(scipy.sparse.csc_array((share, index, [0, len(index)]), shape=(len(evidence), 1)))
    if not columns:
        return scipy.sparse.csr_array((len(evidence), 0), dtype=np.float32)
    return scipy.sparse.csr_array(scipy.sparse.hstack(columns))


def _supported(rows: scipy.sparse.csr_array, filled: NDArray[np.float32], views: int, pictures: int) -> bool:
    """Whether enough of the pictures that show a thing have a mask of it: the rest is what one picture imagined."""
    if pictures <= 2:
        return True
    shown = rows.copy()
    shown.data = np.ones_like(shown.data)
    showing = int((np.asarray(shown.T @ filled) >= MET * filled.sum()).sum())
    return views >= max(2, LEAST_SUPPORT * showing) or showing <= 1


def _cleaned(
    members: scipy.sparse.csc_array, mass: NDArray[np.float32], neighbours: Neighbours, settings: TreeSettings
) -> scipy.sparse.csc_array:
    """Without little pieces that lie apart, and without what belongs hardly at all."""
    data = members.data.copy()
    for s in range(members.shape[1]):
        part = slice(members.indptr[s], members.indptr[s + 1])
        index, weight = members.indices[part], data[part]
        inside = weight >= settings.threshold
        if settings.least_piece <= 0 or not inside.any():
            continue
        piece = neighbours.pieces(index[inside])
        size = np.bincount(piece, weights=np.maximum(mass[index[inside]], LEAST_MASS))
        stray = size[piece] < settings.least_piece * size.max()
        weight[np.flatnonzero(inside)[stray]] = 0
    data[data < _LEAST_WEIGHT] = 0
    cleaned = scipy.sparse.csc_array((data, members.indices, members.indptr), shape=members.shape)
    cleaned.eliminate_zeros()
    cleaned.sort_indices()
    return cleaned


def _column(matrix: scipy.sparse.csc_array, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    part = slice(matrix.indptr[number], matrix.indptr[number + 1])
    return matrix.indices[part], matrix.data[part]
