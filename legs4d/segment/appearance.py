"""Segments as colours of Gaussians: one a segment, how alike Gaussians are, and their principal components."""

from __future__ import annotations

import colorsys

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from legs4d.portable.pointing import DEFAULT_SCALE
from legs4d.segment.segments import Segments

_GOLDEN = 0.618033988749895
"""Steps of the hue that keep neighbours apart, however many there are."""
_DARKEST = 0.2
"""Of a component: what is in a segment is never as dark as what is in none."""
NOTHING = (0.08, 0.08, 0.08)
"""RGB of what is in no segment."""


def segment_colors(count: int) -> NDArray[np.float32]:
    """[count, 3] RGB, one a segment, unlike those before it."""
    hues = (0.05 + _GOLDEN * np.arange(count)) % 1
    values = 0.65 + 0.3 * ((np.arange(count) * 5) % 7) / 6
    colors = [colorsys.hsv_to_rgb(h, 0.75, v) for h, v in zip(hues.tolist(), values.tolist(), strict=True)]
    return np.array(colors, np.float32).reshape(-1, 3)


def colored(segments: Segments, scale: float = DEFAULT_SCALE) -> NDArray[np.float32]:
    """[G, 3] RGB of the segment that each Gaussian belongs to, of several the one nearest to a scale."""
    colors = np.tile(np.array(NOTHING, np.float32), (segments.count, 1))
    palette = segment_colors(len(segments))
    away = np.abs(segments.quantile - scale)
    for number in np.argsort(-away, kind="stable"):  # the nearest last, over the others
        index, weight = segments.of(int(number))
        colors[index[weight >= 0.5]] = palette[number]
    return colors


def similarity(segments: Segments, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """[G] 0..1, how far each Gaussian is in the same segments as what is selected: the cosine of memberships.

    Args:
        weights: [G] of a selection.
    """
    members = scipy.sparse.csr_array(segments.members)
    query = np.asarray(members.T @ (weights * segments.mass), np.float32)
    norm = np.sqrt(np.asarray(members.multiply(members).sum(axis=1))) * max(float(np.linalg.norm(query)), 1e-12)
    return np.divide(members @ query, norm, out=np.zeros(segments.count, np.float32), where=norm > 0)


def components(segments: Segments) -> NDArray[np.float32]:
    """[G, 3] in 0..1: the first principal components of memberships, as RGB; 0 for what is in no segment."""
    members = scipy.sparse.csr_array(segments.members, dtype=np.float64)
    most = min(3, *(side - 1 for side in members.shape))
    found = np.zeros((segments.count, 3), np.float32)
    if most < 1:
        found[:, 0] = np.asarray(members.sum(axis=1))
        return found
    rng = np.random.default_rng(0)
    left, values, _ = svds(members, k=most, v0=rng.normal(size=min(members.shape)))
    scores = left[:, ::-1] * values[::-1]
    inside = np.asarray(members.sum(axis=1)) > 0
    low, high = np.quantile(scores[inside], (0.02, 0.98), axis=0)
    shades = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    found[inside, :most] = _DARKEST + (1 - _DARKEST) * shades[inside]
    return found
