"""Each layer's relevancy of a cloud, and the strongest of them all, on their way into its attributes."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from .. import names
from ..layers.layers import Weight
from . import attributes

Array = np.ndarray[Any, Any]

_LEVELS = np.linspace(0.0, 1.0, 256, dtype=np.float32)
"""What the stored relevancies 0..255 stand for."""


class Highlighter:
    """Writes each layer's relevancy of one cloud, and the strongest of them all as `highlight`."""

    def __init__(self, points: int) -> None:
        self._room = np.empty((2, points), np.float32)
        self._relevancy, self._highlight = self._room

    def begin(self, points: int | None = None) -> None:
        """Start a frame; of another number of points, if one is given."""
        if points is not None:
            if self._room.shape[1] < points:
                self._room = np.empty((2, points), np.float32)
            self._relevancy, self._highlight = self._room[:, :points]
        self._highlight.fill(0.0)

    def add(self, cloud: bpy.types.PointCloud, weight: Weight, levels: Array | None) -> None:
        """Write one layer; `levels` [points] uint8, None where nothing is known."""
        if levels is None:
            self._relevancy.fill(0.0)
        else:
            np.take(_LEVELS, levels, out=self._relevancy, mode="clip")  # "clip": else numpy buffers the output
        attributes.write(cloud, names.layer_attribute(weight.layer_id), "FLOAT", self._relevancy)
        if levels is not None and weight.weight > 0.0:
            np.take(shown_levels(weight), levels, out=self._relevancy, mode="clip")
            np.maximum(self._highlight, self._relevancy, out=self._highlight)

    def end(self, cloud: bpy.types.PointCloud) -> None:
        """Write `highlight`."""
        attributes.write(cloud, names.HIGHLIGHT, "FLOAT", self._highlight)


def shown_levels(weight: Weight) -> Array:
    """[256] float32: how strongly each stored relevancy shows under this layer's threshold, softness and weight."""
    low, width = weight.threshold - weight.softness, 2.0 * weight.softness
    if width < 1e-6:
        step = np.greater_equal(_LEVELS, weight.threshold).astype(np.float32)
    else:
        x = np.clip((_LEVELS - low) / width, 0.0, 1.0)
        step = x * x * (3.0 - 2.0 * x)
    return (step * weight.weight).astype(np.float32)
