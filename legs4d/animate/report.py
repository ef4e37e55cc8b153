"""What is told of a followed video: how far the motion may be off, and in which frames nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import ALONG, TURNS, Body, Sight
from legs4d.animate.tracking.refine import Fit
from legs4d.animate.tracking.smooth import SmoothSettings
from legs4d.scene.camera import Cameras

UNCERTAIN = 0.02
"""Of the distance: a depth that may be off by more is uncertain."""
MOST_LISTED = 8

NOTHING: dict[str, Any] = {"error": None, "uncertain": [], "hidden": [], "residual": None}
"""Of a motion that comes from a file."""


def report(
    fits: Sequence[Fit], motions: NDArray[np.float64], camera: Cameras, body: Body
) -> tuple[dict[str, Any], list[str]]:
    """How far the motion may be off, and where; and sentences for what should not be overlooked."""
    floor, found = SmoothSettings().floor, []
    for fit, motion in zip(fits, motions, strict=True):
        sight = Sight.of(camera, body, motion)
        spread = np.linalg.inv(fit.information + 1e-6 * np.eye(6)) + floor**2 * np.eye(6)
        off = np.sqrt(np.diag(spread)) * sight.units
        found.append((np.degrees(off[TURNS].max()), np.hypot(*off[:2]) / sight.distance, off[ALONG] / sight.distance))
    table, warnings = np.array(found), []
    hidden = [i for i, fit in enumerate(fits) if not fit.information.any()]
    uncertain = [i for i in np.flatnonzero(table[:, 2] > UNCERTAIN).tolist() if i not in hidden]
    if uncertain:
        warnings.append(f"How far away the object is is uncertain in {listed(uncertain)}.")
    if hidden:
        warnings.append(f"The object is hidden in {listed(hidden)}; it goes on there as before and after.")
    turn, across, along = np.median(table, axis=0)
    told = {
        "error": {"turn": round(turn, 2), "across": round(100 * across, 3), "along": round(100 * along, 3)},
        "uncertain": uncertain,
        "hidden": hidden,
        "residual": round(float(np.mean([fit.residual for fit in fits])), 4),
    }
    return told, warnings


def listed(frames: Sequence[int]) -> str:
    """Frames in words."""
    some = ", ".join(map(str, frames[:MOST_LISTED])) + (", …" if len(frames) > MOST_LISTED else "")
    return f"frame{'s' if len(frames) > 1 else ''} {some}"
