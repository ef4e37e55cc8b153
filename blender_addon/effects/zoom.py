"""Zoom to an action: a camera that turns to what a layer names, closes in on it, follows it, and comes back."""

from __future__ import annotations

from typing import Any

import bpy

from ..layers import curves
from ..sequence.sequence import Sequence
from . import cameras, places


def add_camera(
    scene: bpy.types.Scene, shown: Sequence, layer: Any, interval: tuple[int, int], ramp: int, fill: float
) -> tuple[bpy.types.Object, int, int]:
    """A camera where the scene's stands, whose lens and aim follow an action by keys that its user may edit.

    Args:
        interval: first and last capture frame of the action.
        ramp: scene frames that closing in and coming back take.
        fill: share of the picture's height that the action fills.

    Returns:
        The camera, and the first and last scene frame that it is for. Nowhere if the layer names nothing.
    """
    found = places.along(shown, layer, *interval)
    first, last = shown.scene_frame(interval[0]), shown.scene_frame(interval[1])
    _, where = found[0]
    camera = cameras.new_camera(scene, f"Zoom: {layer.prompt}")
    camera.location = where.center + cameras.offset_from(scene, where)
    target = cameras.new_empty(scene, f"Zoom target: {layer.prompt}", where.radius)
    for item in (camera, target):
        cameras.follow(item, shown.empty)
    frames = [shown.scene_frame(frame) for frame, _ in found]
    for axis in range(3):
        places_along = [spot.center[axis] for _, spot in found]
        curves.write(target, "location", frames, places_along, "BEZIER", "Zoom", index=axis)
    radius = max(spot.radius for _, spot in found)
    distance = min((spot.center - camera.location).length for _, spot in found)
    frames = [first - ramp, first, last, last + ramp]
    lens = cameras.lens_of(camera)
    wide, near = lens.lens, _lens(scene, lens, distance, radius / fill)
    curves.write(lens, "lens", frames, [wide, max(near, wide), max(near, wide), wide], "BEZIER", "Zoom")
    _key_aim(scene, camera, target, frames)
    return camera, first - ramp, last + ramp


def _lens(scene: bpy.types.Scene, data: bpy.types.Camera, distance: float, half_height: float) -> float:
    """The focal length, in millimetres, at which the picture shows so much up and down at a distance."""
    width, height = scene.render.resolution_x, scene.render.resolution_y
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    tall = sensor if data.sensor_fit == "VERTICAL" or width < height else sensor * height / width
    return float(tall / 2 * distance / half_height)


def _key_aim(scene: bpy.types.Scene, camera: bpy.types.Object, target: bpy.types.Object, frames: list[int]) -> None:
    """From the scene camera's own direction to the target and back; at the target always if there was no camera."""
    aim = cameras.look_at(camera, target)
    model = scene.camera
    if model is None:
        return
    camera.rotation_euler = model.matrix_world.to_euler()
    path = f'constraints["{aim.name}"].influence'
    curves.write(camera, path, frames, [0.0, 1.0, 1.0, 0.0], "BEZIER", "Zoom")
