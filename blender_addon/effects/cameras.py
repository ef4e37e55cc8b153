"""Cameras of the effects: where they stand, what they follow, and from which frame to which they are the scene's."""

from __future__ import annotations

import math
from typing import Any

import bpy
from mathutils import Vector

from ..layers import curves
from ..sequence.sequence import Sequence
from .places import Place

DEFAULT_DISTANCE = 5.0
"""In radii of the action: for scenes that have no camera yet."""
DEFAULT_ELEVATION = math.radians(15)
MADE = "legs4d:effect"
"""Custom property of the objects that effects make."""
BEHIND, LEAST_SHARE = 0.0, 1e-3


def offset_from(scene: bpy.types.Scene, where: Place) -> Vector:
    """From the action to the scene's camera; to a place in front of it, slightly above, if there is none."""
    if scene.camera is not None:
        offset = scene.camera.matrix_world.translation - where.center
        if offset.length > where.radius:
            return offset
    distance = DEFAULT_DISTANCE * where.radius
    return Vector((0.0, -math.cos(DEFAULT_ELEVATION), math.sin(DEFAULT_ELEVATION))) * distance


def new_camera(scene: bpy.types.Scene, name: str) -> bpy.types.Object:
    """A camera with the settings of the scene's, linked to the scene, at the origin."""
    model = scene.camera
    is_camera = model is not None and model.type == "CAMERA"
    data = model.data.copy() if is_camera else bpy.data.cameras.new(name)
    data.name = name
    made = bpy.data.objects.new(name, data)
    scene.collection.objects.link(made)
    return made


def new_empty(scene: bpy.types.Scene, name: str, size: float) -> bpy.types.Object:
    """An empty for others to turn around or look at."""
    made = bpy.data.objects.new(name, None)
    made.empty_display_type, made.empty_display_size = "SPHERE", size
    scene.collection.objects.link(made)
    return made


def look_at(camera: bpy.types.Object, target: bpy.types.Object) -> Any:
    """Turn a camera to an object, by a constraint that its user may edit."""
    made: Any = camera.constraints.new("TRACK_TO")
    made.name, made.target = "Look at the action", target
    made.track_axis, made.up_axis = "TRACK_NEGATIVE_Z", "UP_Y"
    return made


def lens_of(camera: bpy.types.Object) -> bpy.types.Camera:
    """What belongs to a camera's lens."""
    assert isinstance(camera.data, bpy.types.Camera)
    return camera.data


def bind(scene: bpy.types.Scene, camera: bpy.types.Object | None, frame: int, name: str) -> None:
    """Make a camera the scene's from a frame on, by a marker, in the place of one at that frame; nothing without a
    camera."""
    if camera is None:
        return
    old = next((m for m in scene.timeline_markers if m.frame == frame and m.camera is not None), None)
    marker = old or scene.timeline_markers.new(name, frame=frame)
    marker.name, marker.camera = name, camera


def bound_at(scene: bpy.types.Scene, frame: float) -> bpy.types.Object | None:
    """The camera that is the scene's at a frame: the last marker's before it, else the scene's own."""
    bound = [marker for marker in scene.timeline_markers if marker.camera is not None]
    before = [marker for marker in bound if marker.frame <= frame]
    if before:
        return max(before, key=lambda marker: marker.frame).camera
    return min(bound, key=lambda marker: marker.frame).camera if bound else scene.camera


def taken(scene: bpy.types.Scene, first: int, last: int, but: bpy.types.Object | None = None) -> list[str]:
    """Names of the cameras that were cut to within a stretch of frames, other than `but`."""
    inside = [m for m in scene.timeline_markers if m.camera is not None and first <= m.frame <= last]
    others = [m for m in inside if m.camera != but and (m.frame > scene.frame_start or is_made(m.camera))]
    return list(dict.fromkeys(m.camera.name for m in others if m.camera is not None))


def take(scene: bpy.types.Scene, camera: bpy.types.Object, first: int, last: int, label: str, *, replace: bool) -> str:
    """Show a stretch of frames through a camera, and what follows through the one that was there before.

    Args:
        replace: whether cuts inside the stretch go; else they keep their frames, and the camera gets none.

    Returns:
        Why it got none, a sentence; empty if it got them.
    """
    if not replace and (others := taken(scene, first, last, camera)):
        return (
            f"'{camera.name}' is made, but frames {first} to {last} have cuts to {', '.join(others)}; "
            "turn on Replace Cuts to show it there."
        )
    before, after = bound_at(scene, first), bound_at(scene, last + 1)
    if before is None:
        scene.camera = camera
        return ""
    if not any(marker.camera is not None and marker.frame <= scene.frame_start for marker in scene.timeline_markers):
        bind(scene, before, scene.frame_start, before.name)
    for marker in list(scene.timeline_markers):
        if marker.camera is not None and first <= marker.frame <= last:
            scene.timeline_markers.remove(marker)
    bind(scene, camera, first, label)
    bind(scene, after, last + 1, after.name if after else "")
    return ""


def make_room(scene: bpy.types.Scene, shown: Sequence, stop: int, frames: int) -> None:
    """Time stands still for so many frames from `stop` on: cuts after it, and what effects keyed, come that much later.

    What they keyed stands still meanwhile.
    """
    for marker in scene.timeline_markers:
        if marker.camera is not None and marker.frame >= stop:
            marker.frame += frames + (marker.frame == stop)
    for item in shown.empty.children_recursive:
        if not is_made(item):
            continue
        for owner in (item, item.data):
            for curve in curves.of(owner) if owner is not None else ():
                curves.hold(curve, stop, frames)


def follow(item: bpy.types.Object, empty: bpy.types.Object) -> None:
    """Have an effect's object move with the sequence; where it is put and keyed is the world's while that rests."""
    item.parent = empty
    item.matrix_parent_inverse = empty.matrix_world.inverted_safe()
    item[MADE] = True


def is_made(item: bpy.types.Object | None) -> bool:
    """Whether an effect made the object."""
    return item is not None and bool(item.get(MADE))


def view_share(scene: bpy.types.Scene, camera: bpy.types.Object, where: Place) -> float:
    """How well a camera shows an action: the share of the picture's height that it fills, more in the middle.

    It counts up to a half, and is 0 for an action behind the camera or outside the picture.
    """
    matrix = camera.matrix_world.normalized()
    local = matrix.inverted() @ where.center
    if -local.z <= where.radius:
        return BEHIND
    data = lens_of(camera)
    corners = data.view_frame(scene=scene)
    half_width, half_height = max(c.x for c in corners), max(c.y for c in corners)
    depth = -local.z / -corners[0].z if data.type == "PERSP" else 1.0
    x, y = local.x / depth / half_width, local.y / depth / half_height
    if abs(x) > 1 or abs(y) > 1:
        return BEHIND
    centred = 1.0 - max(abs(x), abs(y)) / 2
    return max(min(where.radius / depth / half_height, 0.5) * centred, LEAST_SHARE)


def best(scene: bpy.types.Scene, where: Place) -> bpy.types.Object | None:
    """The scene's camera that shows an action best; None if none sees it."""
    seen = [(view_share(scene, item, where), item.name) for item in scene.objects if item.type == "CAMERA"]
    share, name = max(seen, default=(BEHIND, ""))
    return scene.objects[name] if share > BEHIND else None
