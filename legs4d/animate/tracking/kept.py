"""Fits of frames as arrays, to be kept in the run folder while a video is followed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from legs4d.animate.tracking.refine import Fit

_NUMBERS = ("residual", "agreeing", "share")


def state_of(fits: Sequence[Fit]) -> dict[str, NDArray[np.generic]]:
    """Arrays of all that is known of the frames so far."""
    numbers = {name: np.array([getattr(fit, name) for fit in fits]) for name in _NUMBERS}
    return {
        "motion": np.stack([fit.motion for fit in fits]),
        "information": np.stack([fit.information for fit in fits]),
        **numbers,
    }


def fits_of(state: dict[str, NDArray[np.generic]] | None) -> list[Fit]:
    """The other way; none where nothing was kept."""
    if state is None:
        return []
    motion, information = (np.asarray(state[name], np.float64) for name in ("motion", "information"))
    numbers = [np.asarray(state[name], np.float64) for name in _NUMBERS]
    return [Fit(motion[i], information[i], *(float(values[i]) for values in numbers)) for i in range(len(motion))]
