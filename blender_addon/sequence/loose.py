"""Points that only one frame has: a cloud whose number of points is another in every frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy
import numpy as np

from .. import names
from ..cache.frames import STEPS, RunCache
from ..layers.layers import Weight
from ..selection import mask
from . import attributes
from .highlighter import Highlighter

Array = np.ndarray[Any, Any]


class LooseFrames:
    """A sequence's loose points. They have no neighbour in time, so nothing is between frames, and nothing moves.

    The cloud is given the frame's own number of points: that costs 2 ms at 300,000, and nothing has to be hidden.
    """

    def __init__(self, cache: RunCache) -> None:
        self._cache = cache
        self._highlighter = Highlighter(0)
        self._buffers: dict[int, Array] = {}

    def show(
        self,
        cloud: bpy.types.PointCloud,
        frame: int,
        weights: tuple[Weight, ...],
        masks: Mapping[str, Array],
        *,
        layers_only: bool,
        sh: bool,
    ) -> None:
        """Write a frame, or what its layers say only.

        Args:
            masks: what is selected, deleted, hidden and kept of it, by attribute.
            sh: whether view dependence is written too.
        """
        points, coefficients, arrays = self._cache.loose(frame)
        if len(cloud.points) != points:
            cloud.resize(points)
            layers_only = False
        if not layers_only:
            _write_masks(cloud, masks)
            self._write(cloud, points, arrays)
        if sh and not layers_only:
            self._write_sh(cloud, points, coefficients, arrays)
        self._show_layers(cloud, frame, points, weights)

    def _write(self, cloud: bpy.types.PointCloud, points: int, arrays: dict[str, Array]) -> None:
        four = self._buffer(points, 4)
        np.multiply(arrays["colors"], STEPS["colors"], out=four[:, :3])
        np.multiply(arrays["opacities"], STEPS["opacities"], out=four[:, 3])
        attributes.write(cloud, names.RADIANCE, "FLOAT4", mask.dimmed(cloud, four))
        np.multiply(arrays["quats"], STEPS["quats"], out=four)
        attributes.write(cloud, names.ROTATION, "QUATERNION", four)
        attributes.write(cloud, names.POSITION, "FLOAT_VECTOR", arrays["means"])
        attributes.write(cloud, names.SCALE, "FLOAT_VECTOR", arrays["scales"])
        attributes.write(cloud, names.RANK, "FLOAT", arrays["ranks"])
        if names.SEEN in cloud.attributes:
            attributes.write(cloud, names.SEEN, "FLOAT", arrays["seen"] * np.float32(1 / 255))

    def _write_sh(self, cloud: bpy.types.PointCloud, points: int, known: int, arrays: dict[str, Array]) -> None:
        """Coefficients that this frame lacks and another has are 0."""
        values, index = self._buffer(points, 3), 0
        while index < known or names.sh_attribute(index) in cloud.attributes:
            if index < known:
                np.multiply(arrays[f"sh_{index}"], STEPS[f"sh_{index}"], out=values)
            else:
                values.fill(0.0)
            attributes.write(cloud, names.sh_attribute(index), "FLOAT_VECTOR", values)
            index += 1

    def _show_layers(self, cloud: bpy.types.PointCloud, frame: int, points: int, weights: tuple[Weight, ...]) -> None:
        self._highlighter.begin(points)
        for weight in weights:
            key = weight.answer_key
            known = key and self._cache.has_relevancy(key, frame)
            self._highlighter.add(cloud, weight, self._cache.loose_relevancy(key, frame, points) if known else None)
        self._highlighter.end(cloud)

    def _buffer(self, points: int, width: int) -> Array:
        """[points, width] float32 of room that is kept for the next frame."""
        kept = self._buffers.get(width)
        if kept is None or len(kept) < points:
            kept = self._buffers[width] = np.empty((points, width), np.float32)
        return kept[:points]


def _write_masks(cloud: bpy.types.PointCloud, masks: Mapping[str, Array]) -> None:
    """Of this frame: what the cloud has is another frame's."""
    for name in (names.SELECTED, *names.MASKS):
        mask.write(cloud, name, masks.get(name, np.zeros(len(cloud.points), bool)))
    for name in masks.keys() - {names.SELECTED, *names.MASKS}:
        attributes.write(cloud, name, "FLOAT", masks[name].astype(np.float32))
