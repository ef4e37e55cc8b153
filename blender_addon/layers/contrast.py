"""The colour of a new layer: the one of the palette that is least like what the layer marks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..cache import storage
from ..cache.frames import STEPS, CacheError, RunCache
from ..portable.look import NUMPY
from ..portable.values import SH_C0
from ..sequence.properties import LayerProperties
from ..sequence.sequence import Sequence
from . import layers

Array = np.ndarray[Any, Any]
Color = tuple[float, ...]


def choose(sequence: Sequence, layer_id: str) -> None:
    """Give a layer the colour that stands out best, unless a person chose one or the layer marks nothing now."""
    layer = layers.find(sequence, layer_id)
    if layer is None or _key(layer) not in map(_rounded, layers.PALETTE):
        return
    marked = _marked(sequence, layer)
    if marked is None:
        return
    taken = [_key(other) for other in sequence.layers if other.layer_id != layer_id]
    free = [color for color in layers.PALETTE if _rounded(color) not in taken] or list(layers.PALETTE)
    best = max(free, key=lambda color: _difference(color, marked))
    if _rounded(best) != _key(layer):
        layer.color = best


def _marked(sequence: Sequence, layer: LayerProperties) -> Color | None:
    """The mean captured colour, linear, of the points that a layer names at its peak."""
    peaks = [peak for _, _, peak, _ in layers.intervals(layer)]
    try:
        cache = storage.find(sequence.empty)
        parts = list(_named(cache, layer.answer_key, peaks[0] if peaks else 0, layer.threshold))
    except CacheError:
        return None
    colors, weights = (np.concatenate([part[i] for part in parts]) if parts else np.empty(0) for i in range(2))
    if not weights.sum():
        return None
    light = NUMPY.linear(np.clip(0.5 + SH_C0 * colors, 0, 1))
    return tuple((light * weights[:, None]).sum(axis=0) / weights.sum())


def _named(cache: RunCache, key: str, frame: int, threshold: float) -> Iterator[tuple[Array, Array]]:
    """[K, 3] SH DC coefficients and [K] opacities of the points that are relevant enough, a cloud at a time."""
    least = round(threshold * 255)
    its, moving = cache.description, cache.has_frame(frame) and cache.has_relevancy(key, frame)
    if its.num_static:
        named = np.flatnonzero(cache.static_relevancy(key) >= least)
        yield cache.static()["colors"][named], cache.static()["opacities"][named]
    if its.num_dynamic and moving:
        named = np.flatnonzero(cache.relevancy(key, frame) >= least)
        yield cache.frame(frame)["colors"][named] * STEPS["colors"], cache.dynamic()["opacities"][named]
    if its.num_loose and moving:
        points, _, arrays = cache.loose(frame)
        named = np.flatnonzero(cache.loose_relevancy(key, frame, points) >= least)
        yield arrays["colors"][named] * STEPS["colors"], arrays["opacities"][named] * STEPS["opacities"]


def _difference(one: Color, other: Color) -> float:
    """How far two colours are apart once both are as bright: a dark red thing is not marked well by red."""
    first, second = (np.cbrt(np.asarray(color) / max(*color, 1e-6)) for color in (one, other))
    return float(np.linalg.norm(first - second))


def _key(layer: LayerProperties) -> Color:
    return _rounded(tuple(layer.color))


def _rounded(color: Color) -> Color:
    return tuple(round(channel, 4) for channel in color)
