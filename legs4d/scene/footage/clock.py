"""Times of pictures in any unit, as frames and as seconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def seconds_of(times: Sequence[float], fps: float) -> tuple[float, ...]:
    """Seconds from the first of ascending times in any unit: the median of what lies between two is a frame's."""
    values = np.asarray(times, np.float64)
    if len(values) < 2:
        return (0.0,) * len(values)
    return tuple(((values - values[0]) / (float(np.median(np.diff(values))) * fps)).tolist())


def moment_of(times: Sequence[float], time: float) -> float:
    """Where a time lies among those of the frames, ascending, in frames; before the first it is the first's, after the
    last the last's."""
    return float(np.interp(time, times, np.arange(len(times))))
