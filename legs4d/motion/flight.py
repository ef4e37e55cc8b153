"""Free flight: nothing touches a thing, and its path is a parabola in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.motion.measures import runs
from legs4d.motion.tracks import Floats

LONGEST_REACH = 3
"""Frames by which a flight may have begun before it was seen to be free: what just left the hands is still near to
them. Before a catch nothing is near, so a flight ends where something touches."""
FEWEST = 3
"""Frames that determine a parabola, with nothing left to judge it by; from one more on it is judged."""
PATIENCE = 2
"""Neighbouring frames, in time, that are skipped where something comes near but the path goes on undisturbed."""


@dataclass(frozen=True)
class Flight:
    """A stretch of free flight.

    Attributes:
        start, end: first and last frame.
        error: root mean square of what the parabola leaves, in the thing's sizes.
        pull: acceleration downwards, in sizes a frame².
    """

    start: int
    end: int
    error: float
    pull: float


@dataclass(frozen=True)
class Parabola:
    """Place in time: straight along the floor, of second order upwards.

    Attributes:
        flat: [2, 3] place and velocity at frame 0 of what is along the floor.
        high: [3] coefficients of the height, highest order first.
    """

    up: Floats
    flat: Floats
    high: Floats

    @classmethod
    def through(cls, times: Floats, places: Floats, up: Floats) -> Parabola:
        """Least squares of places [n, 3] at times [n]; of fewer than 3 the height is straight, too."""
        heights = places @ up
        level = places - heights[:, None] * up
        order = 2 if len(times) >= FEWEST else len(times) - 1
        high = np.zeros(3)
        high[2 - order :] = np.polyfit(times, heights, order)
        design = np.stack([np.ones_like(times), times], axis=1)[:, : min(2, len(times))]
        flat = np.zeros((2, 3))
        flat[: design.shape[1]] = np.linalg.lstsq(design, level, rcond=None)[0]
        return cls(up, flat, high)

    def at(self, times: Floats) -> Floats:
        """[n, 3]."""
        return self.flat[0] + np.outer(times, self.flat[1]) + np.polyval(self.high, times)[:, None] * self.up


def find_flights(places: Floats, free: NDArray[np.bool_], up: Floats, size: float, tolerance: float) -> list[Flight]:
    """Stretches in which a thing flies.

    Args:
        places: [T, 3] of its centre, scene units.
        free: [T] whether nothing is seen to touch it.
        up: [3] unit.
        size: of it, scene units.
        tolerance: what a parabola may leave, in sizes: up to there the frames before belong to a flight.

    Returns:
        In order of time, each of two frames or more, none touching another.
    """
    places = places / size
    found = []
    for first, last in _joined(runs(free)):
        start, end = first, last
        if last - first + 1 > FEWEST:
            start, end = _as_far_as_it_goes(places, first, last, up, tolerance)
        if end <= start:
            continue
        times = np.arange(start, end + 1, dtype=float)
        path = Parabola.through(times, places[start : end + 1], up)
        away = np.linalg.norm(path.at(times) - places[start : end + 1], axis=1)
        found.append(Flight(start, end, float(np.sqrt(np.mean(away**2))), float(-2 * path.high[0])))
    return [flight for i, flight in enumerate(found) if i == 0 or flight.start > found[i - 1].end]


def _joined(stretches: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches with no more than PATIENCE frames between them, as one, if each is long enough to be a flight."""
    joined: list[tuple[int, int]] = []
    for first, last in stretches:
        if joined and first - joined[-1][1] <= PATIENCE and joined[-1][1] > joined[-1][0] and last > first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _as_far_as_it_goes(places: Floats, first: int, last: int, up: Floats, tolerance: float) -> tuple[int, int]:
    """The same stretch with what its parabola tells of before, and without what it contradicts at both ends."""
    times = np.arange(first, last + 1, dtype=float)
    inner = slice(1, -1) if len(times) > FEWEST + 2 else slice(None)
    path = Parabola.through(times[inner], places[first : last + 1][inner], up)
    away = np.linalg.norm(path.at(np.arange(len(places), dtype=float)) - places, axis=1)
    start, end = first, last
    while start < end and away[start] > tolerance:
        start += 1
    while end > start and away[end] > tolerance:
        end -= 1
    while start > max(0, first - LONGEST_REACH) and away[start - 1] <= tolerance:
        start -= 1
    return start, end
