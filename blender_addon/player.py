"""A sequence's arrays at any moment of the capture, between two captured frames too, on their way into its clouds."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from . import attributes, layers, names, timing
from .cache import STEPS, RunCache
from .layers import Weight
from .sequence import Sequence

Array = np.ndarray[Any, Any]

_WEIGHTS = "legs4d:weights"
_LEVELS = np.linspace(0.0, 1.0, 256, dtype=np.float32)
"""What the stored relevancies 0..255 stand for."""


class Player:
    """A sequence's buffers: made once, so that a frame change allocates little."""

    def __init__(self, cache: RunCache) -> None:
        self.cache = cache
        points = cache.description.num_dynamic
        constants = cache.dynamic()
        self._opacities = np.array(constants["opacities"])
        self._born, self._died = np.array(constants["born"]), np.array(constants["died"])
        self._position = np.empty((points, 3), np.float32)
        self._rotation, self._next_rotation = np.empty((points, 4), np.float32), np.empty((points, 4), np.float32)
        self._radiance = np.empty((points, 4), np.float32)
        self._velocity = np.empty((points, 3), np.float32)
        self._dynamic = _Highlighter(points)
        self._static = _Highlighter(cache.description.num_static)

    def show(self, scene: bpy.types.Scene, shown: Sequence) -> tuple[str, list[bpy.types.Object]]:
        """Write the scene's moment; what is missing, as a sentence, and the objects that were written."""
        at = scene.frame_current_final
        weights, touched, problem = layers.weights(shown, at), [], ""
        still, moving = shown.static_object, shown.dynamic_object
        if still is not None and self._show_static(still.data, weights):
            touched.append(still)
        if moving is None:
            return "", touched
        frame, share = timing.shown_frames(shown.empty, at)
        if not self.cache.has_frame(frame):
            return (
                f"Frame {frame} of '{shown.empty.name}' has not arrived yet; the points keep their last frame.",
                touched,
            )
        if share and not self.cache.has_frame(frame + 1):
            problem = f"Frame {frame + 1} of '{shown.empty.name}' has not arrived yet; frame {frame} shows until then."
            share = 0.0
        self._show_frame(moving.data, frame, share)
        self._show_velocity(moving.data, frame, share, timing.rate(shown.empty, at) * _per_second(scene))
        self._show_relevancy(moving.data, frame, share, weights)
        return problem, [*touched, moving]

    def _show_frame(self, cloud: bpy.types.PointCloud, frame: int, share: float) -> None:
        arrays = self.cache.frame(frame)
        np.copyto(self._position, arrays["means"])
        np.multiply(arrays["quats"], STEPS["quats"], out=self._rotation)
        np.multiply(arrays["colors"], STEPS["colors"], out=self._radiance[:, :3])
        np.multiply(self._opacities, self._alive(frame), out=self._radiance[:, 3])
        if share:
            self._move_on(frame, share)
        for name, values in (
            (names.POSITION, self._position),
            (names.ROTATION, self._rotation),
            (names.RADIANCE, self._radiance),
        ):
            attributes.write(cloud, name, names.CLOUD_ATTRIBUTES[name], values)

    def _alive(self, frame: int) -> Array:
        return np.logical_and(self._born <= frame, self._died >= frame)

    def _move_on(self, frame: int, share: float) -> None:
        """Take the buffers from `frame` the share of the way to the next frame."""
        later = self.cache.frame(frame + 1)
        now, then = self._alive(frame), self._alive(frame + 1)
        np.subtract(later["means"], self._position, out=self._velocity)
        self._velocity *= np.float32(share)
        self._velocity[~then] = 0.0  # what dies stays where it last was
        self._position += self._velocity
        born = np.flatnonzero(then & ~now)
        self._position[born] = later["means"][born]
        np.multiply(later["quats"], STEPS["quats"], out=self._next_rotation)
        turn_on(self._rotation, self._next_rotation, share)
        colors = self._radiance[:, :3]
        colors *= np.float32(1.0 - share)
        colors += later["colors"] * np.float32(share * STEPS["colors"])
        changed = np.flatnonzero(now != then)  # these fade
        self._radiance[changed, 3] = self._opacities[changed] * np.where(then[changed], share, 1.0 - share)

    def _show_velocity(self, cloud: bpy.types.PointCloud, frame: int, share: float, per_second: float) -> None:
        """Units per second of the scene's clock; `per_second` is how many capture frames pass in one."""
        here = self._position if not share else self.cache.frame(frame)["means"]
        if self.cache.has_frame(frame + 1):
            np.subtract(self.cache.frame(frame + 1)["means"], here, out=self._velocity)
        elif frame > 0 and self.cache.has_frame(frame - 1):
            np.subtract(here, self.cache.frame(frame - 1)["means"], out=self._velocity)
        else:
            self._velocity.fill(0.0)
        self._velocity *= np.float32(per_second)
        attributes.write(cloud, names.VELOCITY, names.CLOUD_ATTRIBUTES[names.VELOCITY], self._velocity)

    def _show_relevancy(
        self, cloud: bpy.types.PointCloud, frame: int, share: float, weights: tuple[Weight, ...]
    ) -> None:
        self._dynamic.begin()
        for weight in weights:
            self._dynamic.add(cloud, weight, self._relevancy(weight.answer_key, frame, share))
        self._dynamic.end(cloud)

    def _relevancy(self, key: str, frame: int, share: float) -> Array | None:
        """[M] uint8; None where nothing is known."""
        if not key or not self.cache.has_relevancy(key, frame):
            return None
        levels = self.cache.relevancy(key, frame)
        if not share or not self.cache.has_relevancy(key, frame + 1):
            return levels
        part = round(share * 256)  # 8 bit arithmetic in 16: a quarter of the time that floats take
        blended = levels * np.uint16(256 - part)
        blended += self.cache.relevancy(key, frame + 1) * np.uint16(part)
        blended += 128
        blended >>= 8
        return blended.astype(np.uint8)

    def _show_static(self, cloud: bpy.types.PointCloud, weights: tuple[Weight, ...]) -> bool:
        # What a cloud was last given is noted on the cloud itself, so that undo and load take the note back with it.
        signature = repr(weights)
        if cloud.get(_WEIGHTS) == signature:
            return False
        self._static.begin()
        for weight in weights:
            known = weight.answer_key and self.cache.answer(weight.answer_key) is not None
            self._static.add(cloud, weight, self.cache.static_relevancy(weight.answer_key) if known else None)
        self._static.end(cloud)
        cloud[_WEIGHTS] = signature
        return True


class _Highlighter:
    """Writes each layer's relevancy of one cloud, and the strongest of them all as `highlight`."""

    def __init__(self, points: int) -> None:
        self._relevancy = np.empty(points, np.float32)
        self._highlight = np.empty(points, np.float32)

    def begin(self) -> None:
        """Start a frame."""
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


def turn_on(rotation: Array, later: Array, share: float) -> None:
    """Turn unit quaternions [N, 4] in place the share of the shorter way to `later`, which is overwritten.

    A normalised linear blend: it leaves the great circle of slerp nowhere, and its pace by less than 0.1 degrees for
    turns below 30 degrees between two frames.
    """
    along = np.einsum("ij,ij->i", rotation, later)
    later *= np.where(along < 0.0, np.float32(-share), np.float32(share))[:, None]
    rotation *= np.float32(1.0 - share)
    rotation += later
    length = np.sqrt(np.einsum("ij,ij->i", rotation, rotation))
    rotation /= np.maximum(length, 1e-12)[:, None]


def forget_static(cloud: bpy.types.PointCloud) -> None:
    """Write the static points' layers again at the next frame."""
    cloud.pop(_WEIGHTS, None)


def _per_second(scene: bpy.types.Scene) -> float:
    return float(scene.render.fps / scene.render.fps_base)
