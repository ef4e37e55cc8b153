"""The colour of a new layer: the one of the palette that is least like what the layer marks."""

from __future__ import annotations

import numpy as np

from .. import names
from ..portable.look import NUMPY
from ..portable.values import SH_C0
from ..sequence import attributes
from ..sequence.properties import LayerProperties
from ..sequence.sequence import Sequence
from . import layers

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
    """The mean captured colour, linear, of the points that a layer names as they stand."""
    total, weight = np.zeros(3), 0.0
    name = names.layer_attribute(layer.layer_id)
    for cloud in sequence.clouds:
        if name in cloud.attributes:
            named = np.flatnonzero(attributes.read(cloud, name) >= layer.threshold)
            radiance = attributes.read(cloud, names.RADIANCE)[named]
            light = NUMPY.linear(np.clip(0.5 + SH_C0 * radiance[:, :3], 0, 1))
            total += (light * radiance[:, 3:]).sum(axis=0)
            weight += float(radiance[:, 3].sum())
    return tuple(total / weight) if weight else None


def _difference(one: Color, other: Color) -> float:
    """How far two colours are apart once both are as bright: a dark red thing is not marked well by red."""
    first, second = (np.cbrt(np.asarray(color) / max(*color, 1e-6)) for color in (one, other))
    return float(np.linalg.norm(first - second))


def _key(layer: LayerProperties) -> Color:
    return _rounded(tuple(layer.color))


def _rounded(color: Color) -> Color:
    return tuple(round(channel, 4) for channel in color)
