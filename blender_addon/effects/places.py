"""Where in the scene what a layer names is, at a moment of the capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mathutils import Vector

from ..cache import storage
from ..cache.frames import STEPS, RunCache
from ..layers.layers import Weight
from ..sequence.highlighter import shown_levels
from ..sequence.sequence import Sequence

FAINTEST = 0.01
"""Points that show less than this share of a layer do not count."""
SMALLEST_RADIUS = 1e-3
"""Scene units: a single point is no reason to divide by zero."""
MOST_POINTS = 4096
MOST_SAMPLES = 8
"""Moments that a moving target is keyed at: few enough to edit, and to find within one redraw."""


@dataclass(frozen=True)
class Place:
    """The middle of an action in world space, and the radius in scene units that nine tenths of it lie within."""

    center: Vector
    radius: float


class Nowhere(Exception):
    """The layer names no point at any of the moments; the message is one sentence for the status line."""


def place(shown: Sequence, layer: Any, capture_frame: int) -> Place | None:
    """Where a layer's action is; None if it names no point at this frame. CacheError if its data is not here."""
    cache = storage.find(shown.empty)
    if not layer.answer_key or not cache.has_frame(capture_frame):
        return None
    levels = shown_levels(Weight(layer.layer_id, layer.answer_key, 1.0, layer.threshold, layer.softness))
    points, weights = _named(cache, layer.answer_key, capture_frame, levels)
    if not len(points):
        return None
    center = np.average(points, axis=0, weights=weights)
    distances = np.linalg.norm(points - center, axis=1)
    farthest_first = np.argsort(distances)
    share = np.cumsum(weights[farthest_first]) / weights.sum()
    radius = distances[farthest_first][min(np.searchsorted(share, 0.9), len(share) - 1)]
    to_world = shown.to_world
    return Place(to_world @ Vector(center.tolist()), max(float(radius) * to_world.median_scale, SMALLEST_RADIUS))


def along(shown: Sequence, layer: Any, start: int, end: int) -> list[tuple[int, Place]]:
    """(capture frame, place) at up to `MOST_SAMPLES` frames from `start` to `end`. Nowhere if there is none."""
    frames = np.unique(np.linspace(start, end, min(end - start + 1, MOST_SAMPLES)).round().astype(int))
    found = [(int(frame), place(shown, layer, int(frame))) for frame in frames]
    known = [(frame, where) for frame, where in found if where is not None]
    if not known:
        raise Nowhere(f"'{layer.prompt}' names no points in its interval; lower its threshold, or fetch its frames")
    return known


def _named(
    cache: RunCache, key: str, frame: int, levels: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """[K, 3] points of all clouds that a layer names, in the capture's axes, and [K] how strongly, times opacity."""
    parts = []
    if cache.description.num_static and cache.answer(key) is not None:
        still = cache.static()
        named = _thinned(cache.static_relevancy(key), levels)
        weights = levels[cache.static_relevancy(key)[named]] * still["opacities"][named]
        parts.append((still["means"][named], weights))
    if cache.description.num_dynamic and cache.has_relevancy(key, frame):
        constants, relevancy = cache.dynamic(), cache.relevancy(key, frame)
        named = _thinned(relevancy, levels)
        named = named[(constants["born"][named] <= frame) & (constants["died"][named] >= frame)]
        weights = levels[relevancy[named]] * constants["opacities"][named]
        parts.append((cache.frame(frame)["means"][named], weights))
    if cache.description.num_loose and cache.has_relevancy(key, frame):
        points, _, arrays = cache.loose(frame)
        relevancy = cache.loose_relevancy(key, frame, points)
        named = _thinned(relevancy, levels)
        weights = levels[relevancy[named]] * (arrays["opacities"][named] * STEPS["opacities"])
        parts.append((arrays["means"][named], weights))
    if not parts:
        return np.empty((0, 3)), np.empty(0)
    return np.concatenate([means for means, _ in parts]), np.concatenate([weights for _, weights in parts])


def _thinned(relevancy: np.ndarray[Any, Any], levels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers of the points that a layer names, evenly thinned to `MOST_POINTS`: more make a place no more exact."""
    faintest = int(np.searchsorted(levels, FAINTEST, side="right"))  # what shows of a relevancy grows with it
    named = np.flatnonzero(relevancy >= faintest) if faintest < len(levels) else np.empty(0, int)
    return named[:: max(-(-len(named) // MOST_POINTS), 1)]
