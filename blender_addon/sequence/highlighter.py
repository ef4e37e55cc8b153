"""Each layer's relevancy of a cloud, and the strongest of them all, on their way into its attributes."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from .. import names
from ..layers import layers
from ..layers.layers import Weight
from ..portable import look
from . import attributes
from .sequence import Sequence

Array = np.ndarray[Any, Any]

_LEVELS = np.linspace(0.0, 1.0, 256, dtype=np.float32)
"""What the stored relevancies 0..255 stand for."""


class Highlighter:
    """Writes each layer's relevancy of one cloud, and the strongest of them all as `highlight`.

    Layers that show alike, as most do, are compared as they are stored: what shows of a relevancy grows with it.
    """

    def __init__(self, points: int) -> None:
        self._make_room(points)

    def _make_room(self, points: int) -> None:
        self._size = points
        self._all_shown, self._all_highlight = np.empty((2, points), np.float32)
        self._unknown = np.zeros(points, np.uint8)
        self._alike: dict[tuple[float, float, float], Array] = {}
        self._spare: list[Array] = []

    def begin(self, points: int | None = None) -> None:
        """Start a frame; of another number of points, if one is given."""
        if points is not None and self._size < points:
            self._make_room(points)
        count = self._size if points is None else points
        self._shown, self._highlight = self._all_shown[:count], self._all_highlight[:count]
        self._spare += self._alike.values()
        self._alike.clear()

    def add(self, cloud: bpy.types.PointCloud, weight: Weight, levels: Array | None) -> None:
        """Write one layer; `levels` [points] uint8, None where nothing is known."""
        stored = self._unknown[: len(self._highlight)] if levels is None else levels
        write_levels(cloud, weight.layer_id, stored)
        if levels is None or weight.weight <= 0.0:
            return
        shows_as = (weight.threshold, weight.softness, weight.weight)
        if shows_as in self._alike:
            most = self._alike[shows_as][: len(levels)]
            np.maximum(most, levels, out=most)
        else:
            room = self._spare.pop() if self._spare else np.empty(self._size, np.uint8)
            room[: len(levels)] = levels
            self._alike[shows_as] = room

    def end(self, cloud: bpy.types.PointCloud) -> None:
        """Write `highlight`."""
        self._highlight.fill(0.0)
        for (threshold, softness, weight), most in self._alike.items():
            shown = shown_levels(Weight("", "", weight, threshold, softness))
            levels = most[: len(self._highlight)]
            np.take(shown, levels, out=self._shown, mode="clip")  # "clip": else numpy buffers the output
            np.maximum(self._highlight, self._shown, out=self._highlight)
        attributes.write(cloud, names.HIGHLIGHT, "FLOAT", self._highlight)


def write_levels(cloud: bpy.types.PointCloud, layer_id: str, levels: Array) -> None:
    """Set a layer's relevancy: [points] uint8, 255 times what it is."""
    attributes.write(cloud, names.layer_attribute(layer_id), names.LEVELS, np.ascontiguousarray(levels).view(np.int8))


def levels_of(cloud: bpy.types.PointCloud, layer_id: str) -> Array | None:
    """[points] uint8, 255 times a layer's relevancy; None where the cloud has none."""
    attribute = names.layer_attribute(layer_id)
    return attributes.read(cloud, attribute).view(np.uint8) if attribute in cloud.attributes else None


def shown_levels(weight: Weight) -> Array:
    """[256] float32: how strongly each stored relevancy shows under this layer's threshold, softness and weight."""
    shown = look.weight(look.NUMPY, _LEVELS, weight.threshold, weight.softness, weight.weight)
    return shown.astype(np.float32)


def strongest_and_tint(
    shown: Sequence, cloud: bpy.types.PointCloud, scene_frame: float, chosen: slice | Array = slice(None)
) -> tuple[Array, Array]:
    """[K] the strongest layer's weight and [K, 3] the layers' mean tint, of these points of a cloud; float32.

    Args:
        shown: the sequence, which may be evaluated.
    """
    points = len(range(len(cloud.points))[chosen]) if isinstance(chosen, slice) else len(chosen)
    none = np.zeros(points, np.float32)
    found = look.Combined(none, none, np.zeros((points, 3), np.float32))
    tints = layers.colors(shown, scene_frame)
    for weight in layers.weights(shown, scene_frame):
        if weight.weight > 0.0 and (levels := levels_of(cloud, weight.layer_id)) is not None:
            color = np.array(tints[weight.layer_id], np.float32)
            found = look.combine(look.NUMPY, found, shown_levels(weight)[levels[chosen]], color)
    return found.strongest, look.tint(look.NUMPY, found)


def weight_of(
    shown: Sequence,
    cloud: bpy.types.PointCloud,
    scene_frame: float,
    layer_id: str,
    chosen: slice | Array,
    count: int,
) -> Array:
    """[count] float32: how strongly one layer shows on these points of a cloud."""
    for weight in layers.weights(shown, scene_frame):
        if weight.layer_id == layer_id and weight.weight > 0.0 and (levels := levels_of(cloud, layer_id)) is not None:
            return shown_levels(weight)[levels[chosen]]
    return np.zeros(count, np.float32)
