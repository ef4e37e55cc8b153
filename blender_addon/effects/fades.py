"""Fades: keys that bring highlight and desaturation in and out with what the layers name."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import names
from ..layers import curves, layers
from ..sequence import timing
from ..sequence.sequence import Sequence


def fade_highlight(shown: Sequence, layer: Any, ramp: int) -> int:
    """Key a layer's strength up at the start and down at the end of each interval; returns how many there are.

    Where two ramps do not fit into an interval, they meet in its middle.
    """
    keys: dict[int, float] = {}
    for first, last in _spans(shown, layer):
        edge = min(ramp, (last - first) // 2)
        keys |= {first - 1: 0.0, first + edge: 1.0, last - edge: 1.0, last + 1: 0.0}
    if keys:
        _write(shown, names.curve_path(layer.layer_id, "strength"), keys, f"4-LEGS {layers.title(layer)}")
    return len(layer.intervals)


def fade_amount(shown: Sequence, amount: str, ramp: int) -> int:
    """Key one of `look.AMOUNTS`: 1 while any shown layer is active, 0 elsewhere, with ramps before and after.

    Returns:
        How many stretches of scene frames are covered; with none, nothing is keyed.
    """
    first, times = timing.moments(shown.empty)
    active = np.zeros(len(times) + 1, bool)
    for layer in shown.layers:
        if layers.is_shown(shown.its, layer):
            for start, end in _spans(shown, layer):
                active[start - first : end - first + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False])))).reshape(-1, 2) + first
    keys: dict[int, float] = {}
    for start, end in _merged([(int(a), int(b) - 1) for a, b in edges], 2 * ramp):
        keys |= {start - ramp: 0.0, start: 1.0, end: 1.0, end + ramp: 0.0}
    if keys:
        _write(shown, names.amount_path(amount), keys, "4-LEGS look")
    return len(edges)


def _spans(shown: Sequence, layer: Any) -> list[tuple[int, int]]:
    return [span for start, end, _, _ in layers.intervals(layer) for span in timing.spans(shown.empty, start, end)]


def _merged(stretches: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Stretches so near to each other that their ramps would cross become one."""
    merged: list[tuple[int, int]] = []
    for start, end in stretches:
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _write(shown: Sequence, path: str, keys: dict[int, float], group: str) -> None:
    frames = sorted(keys)
    curves.write(shown.empty, path, frames, [keys[frame] for frame in frames], "BEZIER", group)
