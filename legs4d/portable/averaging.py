"""The mean of what moves over frames around one: jitter from frame to frame goes, and so does quick motion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]
State = Mapping[str, Array]
"""Of M points in a frame: `means` [M, 3], `quats` [M, 4] wxyz, `colors` [M, 3] of any scale."""

MOST_REACH = 8
"""Frames before and after one that are averaged at most: each is read at every frame change."""


def around(frame: int, reach: int, frames: int, is_here: Callable[[int], bool] = lambda frame: True) -> list[int]:
    """The frames within `reach` of one, in a capture of so many; of the others those that are here."""
    near = range(max(frame - reach, 0), min(frame + reach, frames - 1) + 1)
    return [other for other in near if other == frame or is_here(other)]


def averaged(now: State, others: Iterable[tuple[State, Array]]) -> dict[str, Array]:
    """Means over a frame and others, float32; rotations of unit length, each taken from the nearer of its two signs.

    Args:
        others: each with [M] the weight of its points, 0 where a point does not exist in that frame.
    """
    sums = {name: now[name].astype(np.float32) for name in ("means", "quats", "colors")}
    total = np.ones(len(sums["means"]), np.float32)
    first = sums["quats"].copy()
    for state, weights in others:
        total += weights
        for name in ("means", "colors"):
            sums[name] += state[name] * weights[:, None]
        turned = state["quats"].astype(np.float32)
        sign = np.sign(np.einsum("ij,ij->i", first, turned))
        sums["quats"] += turned * (np.where(sign == 0, 1, sign) * weights)[:, None]
    length = np.linalg.norm(first, axis=1) / np.maximum(np.linalg.norm(sums["quats"], axis=1), 1e-12)
    return {
        "means": sums["means"] / total[:, None],
        "quats": sums["quats"] * length[:, None],
        "colors": sums["colors"] / total[:, None],
    }
