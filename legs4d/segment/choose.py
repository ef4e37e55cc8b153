"""What a click, a box, a place or a prompt means: which segments, and how much of each Gaussian.

The answer is of what is in front: a Gaussian counts by how much of the pixel it fills. Among the segments that have it,
`scale` chooses; all of them are at hand, so that another scale costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.portable.pointing import DEFAULT_SCALE, OPAQUE, under
from legs4d.segment.segments import Segments

INSIDE = 0.8
"""Of a segment's pixels that have to be in a box."""
LEAST_SHOWN = 4.0
"""Pixels of a segment that a view has to show for a box in it to mean the segment."""
DEFAULT_THRESHOLD = 0.5
BORDER = 0.5
"""Weight in a selection from which a Gaussian belongs."""
_BARELY = 1e-3
"""What is just at the border would else stay there."""
PROMPTED = 0.5
"""Of the best segment's score, from which another answers a prompt too."""
AS_WELL = 0.95
"""Of a part's score, from which what it is a part of answers as well, and is meant: a man, not his head."""


@dataclass(frozen=True)
class Chosen:
    """Segments that were meant, the surest first.

    Attributes:
        segments: their numbers.
        scores: 0..1: the share of the pixel, of the box, or the mean relevancy.
    """

    segments: tuple[int, ...]
    scores: tuple[float, ...]


def at_click(
    segments: Segments, filled: NDArray[np.float32], scale: float = DEFAULT_SCALE, where: str = "--click"
) -> Chosen:
    """The segment under a pixel, of those that have most of what it shows the one nearest to a scale.

    Args:
        filled: [G] how much each Gaussian fills the pixel (`pick.under_pixel`), or is at a place.
        scale: 0..1, the quantile of its size among all segments: 0 is the smallest, 1 the largest.

    Raises:
        Legs4dError: the pixel shows nothing, or nothing that is in a segment.
    """
    alpha = float(filled.sum())
    if alpha < OPAQUE:
        raise Legs4dError("there is nothing at this pixel", where=where, fix="click on something")
    share = np.asarray(segments.members.T @ filled) / alpha
    found = under(share, segments.quantile, scale)
    if not len(found):
        best = float(share.max(initial=0.0))
        raise Legs4dError(
            f"what is there is in no segment (the best has {best:.0%} of it)",
            where=where,
            fix="click on something else, or make segments of masks that have it",
        )
    best_one = int(found[0])
    return Chosen((best_one,), (float(share[best_one]),))


def in_box(
    segments: Segments, filled: NDArray[np.float32], inside: NDArray[np.float32], scale: float | None = None
) -> Chosen:
    """The segments that a box of a view holds nearly whole; with a scale, of those the nearest to it.

    Args:
        filled: [G] pixels of the view that each Gaussian fills; inside: likewise of the box alone.

    Raises:
        Legs4dError: the box holds no segment.
    """
    shown = np.asarray(segments.members.T @ filled)
    held = np.asarray(segments.members.T @ inside)
    share = np.divide(held, shown, out=np.zeros_like(held), where=shown > 0)
    found = np.flatnonzero((share >= INSIDE) & (held >= LEAST_SHOWN))
    if not len(found):
        best = float(share[held >= LEAST_SHOWN].max(initial=0.0))
        raise Legs4dError(
            f"no segment lies in this box (of the best, {best:.0%} of what is seen)",
            where="--box",
            fix="draw it around all of a thing",
        )
    if scale is not None:
        found = found[[int(np.argmin(np.abs(segments.quantile[found] - scale)))]]
    order = found[np.argsort(-held[found], kind="stable")]
    return Chosen(tuple(int(s) for s in order), tuple(float(share[s]) for s in order))


def segment_scores(segments: Segments, relevancy: NDArray[np.float32]) -> NDArray[np.float32]:
    """[S] mean of a number of each Gaussian [G] over those that belong to every segment, by how many pixels they fill.

    What hardly belongs has no say: a floor is large, and its edge around a thing would say what all of the thing is.
    """
    belonging = segments.members.copy()
    belonging.data[belonging.data < BORDER] = 0
    total = np.asarray(belonging.T @ segments.mass, np.float32)
    said = np.asarray(belonging.T @ (segments.mass * relevancy), np.float32)
    return np.divide(said, total, out=np.zeros_like(said), where=total > 0)


def for_prompt(
    segments: Segments, relevancy: NDArray[np.float32], least: float, prompt: str, scale: float | None = None
) -> Chosen:
    """The segments that a prompt names: the best, and others that are nearly as good and no part of it; in place of a
    part that of which it is one, where that answers as well.

    Args:
        relevancy: [G] 0..1 of the prompt.
        least: of a segment's mean, below which it does not answer.

    Raises:
        Legs4dError: no segment does.
    """
    answering = answering_prompt(segments, relevancy, least, prompt)
    good, scores = list(answering.segments), dict(zip(answering.segments, answering.scores, strict=True))
    if scale is not None:
        good = [min(good, key=lambda s: abs(float(segments.quantile[s]) - scale))]
    else:
        good = list(dict.fromkeys(_whole(segments, s, scores) for s in good))
    kept: list[int] = []
    for s in good:
        if not any(s in segments.chain(k) or k in segments.chain(s) for k in kept):
            kept.append(s)
    return Chosen(tuple(kept), tuple(scores[s] for s in kept))


def _whole(segments: Segments, number: int, scores: dict[int, float]) -> int:
    """The largest that has a segment as its part and answers as well."""
    as_well = [s for s in segments.chain(number) if scores.get(s, 0.0) >= AS_WELL * scores[number]]
    return as_well[-1]


def answering_prompt(segments: Segments, relevancy: NDArray[np.float32], least: float, prompt: str) -> Chosen:
    """All segments that answer a prompt well enough, the best first; see `for_prompt`, which chooses among them."""
    scores = segment_scores(segments, relevancy)
    best = float(scores.max(initial=0.0))
    if best < least or not len(scores):
        digits = 2 if least - best > 0.01 else 4
        raise Legs4dError(
            f"no segment answers {prompt!r} (the best has {best:.{digits}f} of the {least:.{digits}f} that are needed)",
            where="--prompt",
            fix="say it otherwise, or click on it",
        )
    good = [int(s) for s in np.argsort(-scores, kind="stable") if scores[s] >= max(least, PROMPTED * best)]
    return Chosen(tuple(good), tuple(float(scores[s]) for s in good))


def weights_of(segments: Segments, chosen: Sequence[int], threshold: float = DEFAULT_THRESHOLD) -> NDArray[np.float32]:
    """[G] 0..1 of segments together, so stretched that what is at the threshold is at 0.5.

    Everything that takes a selection takes 0.5 as its border.
    """
    most = np.zeros(segments.count, np.float32)
    for number in chosen:
        index, weight = segments.of(number)
        np.maximum.at(most, index, weight)
    return stretched(most, threshold)


def without(held: NDArray[np.float32], taken: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights [G] of a selection from which another is taken: what belongs to that does not belong any more."""
    rest = 1 - taken
    return np.minimum(held, np.where(taken >= BORDER, np.minimum(rest, BORDER - _BARELY), rest)).astype(np.float32)


def stretched(share: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Shares 0..1 so that the threshold becomes 0.5, 0 and 1 staying what they are."""
    lower = 0.5 * share / threshold
    upper = 0.5 + 0.5 * (share - threshold) / (1 - threshold)
    return np.where(share < threshold, lower, upper).astype(np.float32)


def check_fraction(value: float, where: str) -> None:
    """Raise Legs4dError unless a threshold lies between 0 and 1: at 0 all would belong, at 1 nothing."""
    if not 0 < value < 1:
        raise Legs4dError(f"{value:g} is not between 0 and 1", where=where, fix="0.5 is the default")
