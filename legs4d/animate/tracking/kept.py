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
    bent = {}
    some = next((fit.bends for fit in fits if fit.bends is not None), None)
    if some is not None:
        bent["bends"] = np.stack([np.full_like(some, np.nan) if fit.bends is None else fit.bends for fit in fits])
    return {
        "motion": np.stack([fit.motion for fit in fits]),
        "information": np.stack([fit.information for fit in fits]),
        **numbers,
        **bent,
    }


def fits_of(state: dict[str, NDArray[np.generic]] | None) -> list[Fit]:
    """The other way; none where nothing was kept."""
    if state is None:
        return []
    motion, information = (np.asarray(state[name], np.float64) for name in ("motion", "information"))
    numbers = [np.asarray(state[name], np.float64) for name in _NUMBERS]
    bends: list[NDArray[np.float32] | None] = [None] * len(motion)
    if "bends" in state:
        bends = [None if np.isnan(one).any() else np.asarray(one, np.float32) for one in state["bends"]]
    residual, agreeing, share = numbers
    return [
        Fit(motion[i], information[i], float(residual[i]), float(agreeing[i]), float(share[i]), bends[i])
        for i in range(len(motion))
    ]
