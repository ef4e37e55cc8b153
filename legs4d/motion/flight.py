"""Free flight: nothing touches a thing, and its path is a parabola in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.measures import runs
from legs4d.motion.tracks import Floats

FEWEST = 3
"""Frames that determine a parabola, with nothing left to judge it by; from one more on it is judged."""
PATIENCE = 2
"""Neighbouring frames, in time, that are skipped where something comes near but the path goes on undisturbed."""
ROUNDS = 3
"""Of a robust fit: each weighs frames by how well they agreed in the one before."""
WORST = 2.0
"""Squared error, in tolerances, that a frame may have at most: one that is lost is no worse than one that is off."""
INWARDS = 8
"""Frames by which a flight may be shorter than the stretch that nothing touches, at either end."""
WEAK = 1 / 3
"""Share of gravity under which something that is near may as well carry a thing along."""


@dataclass(frozen=True)
class Flight:
    """A stretch of free flight.

    Attributes:
        start, end: first and last frame.
        error: root mean square of what the parabola leaves, in the thing's sizes; a frame counts WORST at most.
        pull: acceleration downwards, in sizes a frame².
    """

    start: int
    end: int
    error: float
    pull: float


@dataclass(frozen=True)
class Freedom:
    """What is known of a thing in T frames, beside its path.

    Attributes:
        free: [T] whether it moves and nothing is seen to touch it: about there it flies, if it does.
        possible: [T] whether it may fly at all: it is there, and off the floor.
        touched: [T] 0..1, how surely something touches it. Hands that let go are near to it for some frames more, and
            those that are too thin to be seen do not touch it where they hold it: the path decides as well.
        near: [T] whether something is near enough to hold it.
        gravity: what it is there, in its sizes a frame²; 0 where nobody knows.
    """

    free: NDArray[np.bool_]
    possible: NDArray[np.bool_]
    touched: Floats
    near: NDArray[np.bool_]
    gravity: float = 0.0


def find_flights(
    places: Floats, known: Freedom, up: Floats, size: float, tolerance: float, contact: tuple[float, float], reach: int
) -> list[Flight]:
    """Stretches in which a thing flies.

    Each stretch that nothing touches is lengthened or shortened until most of its frames are on one parabola (straight
    along the floor, of second order upwards): a frame counts 1 where it is on it, down to 1 − WORST, and less where
    something touches it.

    Args:
        places: [T, 3] of its centre, scene units.
        up: [3] unit.
        size: of it, scene units.
        tolerance: what a parabola may leave of a frame for that to count neither way, in sizes.
        contact: 0..2 each, what speaks against flight in a frame in which something touches it, before the thing was
            free and after: hands that let go are near for some frames more.
        reach: frames by which a flight may be longer than the stretch, at either end.

    Returns:
        In order of time, each of two frames or more, none touching another.
    """
    places = places / size
    found: list[Flight] = []
    for first, last in _joined(runs(known.free)):
        after = found[-1].end + 1 if found else 0
        first = max(first, after)
        if last <= first:
            continue
        low = max(first - reach, after)
        high = min(len(places) - 1, last + reach)
        flight = _best(places[low : high + 1], _cut(known, low, high), up, tolerance, contact, first - low, last - low)
        if flight is not None:
            found.append(Flight(flight.start + low, flight.end + low, flight.error, flight.pull))
    return found


def _cut(known: Freedom, low: int, high: int) -> Freedom:
    some = slice(low, high + 1)
    return Freedom(known.free[some], known.possible[some], known.touched[some], known.near[some], known.gravity)


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches with no more than PATIENCE frames between them, as one, if each is long enough to be a flight."""
    joined: list[tuple[int, int]] = []
    for first, last in stretches:
        if joined and first - joined[-1][1] <= PATIENCE and joined[-1][1] > joined[-1][0] and last > first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _best(
    places: Floats, known: Freedom, up: Floats, tolerance: float, contact: tuple[float, float], first: int, last: int
) -> Flight | None:
    """The stretch around first..last that is most of a flight; None where no two frames are left."""
    count = len(places)
    starts = np.arange(0, min(first + INWARDS, last) + 1)
    ends = np.arange(max(last - INWARDS, first), count)
    pairs = np.array([(s, e) for s in starts for e in ends if e - s >= FEWEST])
    if not len(pairs):
        pairs = np.array([(first, last)])
    frames = np.arange(count)
    inside = (frames >= pairs[:, :1]) & (frames <= pairs[:, 1:])
    away, pull = _parabolas(places, inside, up, tolerance)
    squared = np.minimum((away / tolerance) ** 2, WORST)
    against = np.where(frames < first, *contact) * known.touched
    carried = contact[1] * known.near * (pull < WEAK * known.gravity)[:, None]
    worth = 1 - squared - np.maximum(against, carried) - WORST * ~known.possible
    score = (worth * inside).sum(axis=1)
    best = int(score.argmax())
    if score[best] <= 0 and carried[best].any():
        return None
    if score[best] <= 0:
        best = int(np.abs(pairs - (first, last)).sum(axis=1).argmin())
    start, end = (int(value) for value in pairs[best])
    if end <= start:
        return None
    error = tolerance * float(np.sqrt(squared[best, start : end + 1].mean()))
    return Flight(start, end, error, float(pull[best]))


def _parabolas(places: Floats, inside: NDArray[np.bool_], up: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """Robust fits to the frames of each row of `inside` [P, T].

    Returns:
        ([P, T] how far each frame is from the parabola of a row, [P] its acceleration downwards a frame²)
    """
    count = len(places)
    heights = places @ up
    level = places - heights[:, None] * up
    scale = max(count - 1, 1) / 2
    times = (np.arange(count) - scale) / scale
    curve = np.stack([np.ones(count), times, times**2], axis=1)
    slight = 1e-9  # of a ridge: two frames alone determine no parabola
    weights = inside.astype(float)
    for _ in range(ROUNDS):
        normal = np.einsum("pt,ti,tj->pij", weights, curve, curve) + slight * np.eye(3)
        high = np.linalg.solve(normal, np.einsum("pt,ti,t->pi", weights, curve, heights)[..., None])[..., 0]
        line = np.einsum("pt,ti,tk->pik", weights, curve[:, :2], level)
        flat = np.linalg.solve(normal[:, :2, :2], line)
        path = curve[:, :2] @ flat + (high @ curve.T)[..., None] * up
        away = np.linalg.norm(path - places, axis=2)
        weights = inside / (1 + (away / tolerance) ** 2)
    return away, -2 * high[:, 2] / scale**2
