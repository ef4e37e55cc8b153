"""From a curve over time to intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.language.embedding.features import Calibration

MIN_FRAMES = 2
"""Shortest interval. One frame alone is more often a bad frame than an event."""


PLATEAU = 0.99
"""Of a curve's peak: frames above it are as good. Which of them is the highest is noise, and often the first."""


@dataclass(frozen=True)
class Interval:
    """When a prompt holds.

    Attributes:
        start, end: first and last frame, both included, counted from 0.
        peak: the frame in which it holds most; of several that are as good, the middle one.
        score: mean of the curve over the interval, 0..1.
    """

    start: int
    end: int
    peak: int
    score: float


@dataclass(frozen=True)
class Thresholds:
    """Of a curve: an interval has a frame at or above `enter`, and goes on while the curve is at or above `leave`."""

    enter: float
    leave: float

    def scaled(self, factor: float) -> Thresholds:
        """Of the curve times `factor`."""
        return Thresholds(self.enter * factor, self.leave * factor)


def smooth(curve: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each frame and its two neighbours: removes single bad frames, and leaves steps where they are."""
    padded = np.pad(curve, 1, mode="edge")
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0).astype(np.float32)


def thresholds(curve: NDArray[np.float32], calibration: Calibration, *, name: bool = False) -> Thresholds | None:
    """Between the least and the most that a prompt holds in this sequence; None when it holds nowhere.

    An absolute threshold would not do: how near a prompt comes to what it means depends on its wording more than on
    whether it is happening. What changes over time tells.

    Args:
        curve: [T] strength over time, smoothed.
        name: the prompt only names a thing, so that it holds wherever that is in sight.
    """
    low, high = float(curve.min()), float(curve.max())
    if high < calibration.floor:
        return None
    if name:
        limit = max(calibration.floor, calibration.name * high)
        return Thresholds(limit, limit)
    if high - low < calibration.contrast * high:
        return Thresholds(low, low)
    span = high - low
    return Thresholds(
        max(calibration.floor, low + calibration.enter * span), max(calibration.floor, low + calibration.leave * span)
    )


def find_intervals(curve: NDArray[np.float32], limits: Thresholds, min_frames: int = MIN_FRAMES) -> list[Interval]:
    """Maximal stretches at or above `leave` that reach `enter` (hysteresis), of at least `min_frames`.

    Args:
        curve: [T]; a sequence shorter than `min_frames` may hold an interval all the same.
    """
    above = np.concatenate([[False], curve >= limits.leave, [False]])
    starts, ends = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:])
    return [
        Interval(int(a), int(b) - 1, peak_within(curve, int(a), int(b)), float(curve[a:b].mean()))
        for a, b in zip(starts, ends, strict=True)
        if b - a >= min(min_frames, len(curve)) and curve[a:b].max() >= limits.enter
    ]


def peak_within(curve: NDArray[np.float32], start: int, stop: int) -> int:
    """The peak's frame (see `Interval`) of frames start..stop - 1, at least one."""
    strong = np.flatnonzero(curve[start:stop] >= PLATEAU * curve[start:stop].max())
    return int(start + strong[len(strong) // 2])
