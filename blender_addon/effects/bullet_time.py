"""Bullet time: the capture stands still at a layer's peak while a camera goes around what the layer names."""

from __future__ import annotations

from typing import Any

import bpy

from ..layers import curves
from ..sequence import timing
from ..sequence.sequence import Sequence
from . import cameras, places


def hold(shown: Sequence, capture_frame: int, frames: int) -> int:
    """Let time stand still at a capture frame for this many scene frames; what follows comes that much later.

    Returns:
        The scene frame at which time stops.
    """
    empty = shown.empty
    stop = timing.scene_frame(empty, capture_frame)
    curve = timing.curve_of(empty)
    if curve is None:
        first, times = timing.moments(empty)
        curve = timing.write(empty, [first, first + len(times) - 1], [times[0], times[-1]])
    moment = curve.evaluate(stop)
    for key in curve.keyframe_points:
        if key.co.x > stop:
            key.co.x += frames
            key.handle_left.x += frames
            key.handle_right.x += frames
    for frame in (stop, stop + frames):
        curve.keyframe_points.insert(frame, moment).interpolation = "LINEAR"
    curve.update()
    empty.update_tag()
    return stop


def add_rig(
    scene: bpy.types.Scene, shown: Sequence, layer: Any, peak: int, first: int, frames: int, angle: float
) -> bpy.types.Object:
    """A camera on an empty that turns by `angle` radians about the action's vertical; returns the camera.

    Both are ordinary objects, the turn two keys: their user may bend it. Nowhere if the layer names nothing there.
    """
    _, where = places.along(shown, layer, peak, peak)[0]
    offset = cameras.offset_from(scene, where)
    pivot = cameras.new_empty(scene, f"Bullet time pivot: {layer.prompt}", where.radius)
    pivot.location = where.center
    camera = cameras.new_camera(scene, f"Bullet time: {layer.prompt}")
    camera.parent, camera.location = pivot, offset
    cameras.look_at(camera, pivot)
    camera[cameras.MADE] = True
    cameras.follow(pivot, shown.empty)
    turns = [-angle / 2, angle / 2] if scene.camera is None else [0.0, angle]
    curves.write(pivot, "rotation_euler", [first, first + frames], turns, "BEZIER", "Bullet time", index=2)
    return camera
