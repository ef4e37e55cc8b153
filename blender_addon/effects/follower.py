"""Followers: empties that go where something of a capture goes, for lights, text, trackers and constraints."""

from __future__ import annotations

from collections.abc import Generator

import bpy
import numpy as np
from mathutils import Vector

from .. import names
from ..cache import storage
from ..layers import curves
from ..selection import mask
from ..sequence import hanging, objects, timing
from ..sequence.properties import LayerProperties, cloud_of
from ..sequence.sequence import Sequence
from . import cameras, places
from .places import Nowhere

MOST_POINTS = 4096

Making = Generator[float, None, bpy.types.Object]
"""Looks at a frame a piece, yields the share of them that are done, and makes an empty in the end."""


def of_layer(scene: bpy.types.Scene, shown: Sequence, layer: LayerProperties) -> Making:
    """An empty in the middle of what a prompt names, frame by frame; where it names nothing, where it last did.

    Nowhere if it names nothing in any frame that is here. CacheError if none is.
    """
    cache = storage.find(shown.empty)
    found = {}
    for frame in range(shown.its.num_frames):
        where = places.place(shown, layer, frame) if cache.has_frame(frame) else None
        if where is not None:
            found[frame] = where
        yield (frame + 1) / shown.its.num_frames
    if not found:
        raise Nowhere(f"'{layer.prompt}' names no points; lower its threshold, or fetch its frames")
    size = float(np.median([where.radius for where in found.values()]))
    return _add(scene, shown, f"Follows {layer.prompt}", size, {at: where.center for at, where in found.items()})


def of_selection(scene: bpy.types.Scene, shown: Sequence) -> Making:
    """An empty in the middle of the selected points that move, frame by frame.

    Nowhere if none of them is selected. CacheError if no frame is here.
    """
    moving = shown.dynamic_object
    chosen = np.flatnonzero(mask.read(cloud_of(moving), names.SELECTED)) if moving is not None else np.empty(0, int)
    if not len(chosen):
        raise Nowhere("No point that moves is selected")
    chosen = chosen[:: max(len(chosen) // MOST_POINTS, 1)]
    cache, to_world = storage.find(shown.empty), shown.to_world
    middles, size = {}, 0.0
    for frame in range(shown.its.num_frames):
        if cache.has_frame(frame):
            points = cache.frame(frame)["means"][chosen]
            middle = np.median(points, axis=0)
            size = max(size, float(np.median(np.linalg.norm(points - middle, axis=1))))
            middles[frame] = to_world @ Vector(middle.tolist())
        yield (frame + 1) / shown.its.num_frames
    if not middles:
        raise Nowhere("No frame has arrived yet")
    return _add(scene, shown, f"Follows part of {shown.empty.name}", size * to_world.median_scale, middles)


def of_object(scene: bpy.types.Scene, shown: Sequence, name: str, chosen: bpy.types.Object | None) -> bpy.types.Object:
    """An empty where one of the run's objects is, frame by frame; where it is not seen, where it last was.

    Nowhere if the run has none, or it is not clear which is meant. CacheError if the run is not here.

    Args:
        name: the object's, or its Empty's; empty: the one whose Empty is `chosen`, else the only one that there is.
        chosen: may be any object, or none.
    """
    table = storage.find(shown.empty).table(objects.TABLE)
    if "pose" not in table:
        raise Nowhere(f"'{shown.empty.name}' knows no objects; find them with `legs4d objects` and import it again")
    known = [one or f"object {number}" for number, one in enumerate(objects.names_of(table))]
    empties = {int(one[hanging.OBJECT]): one for one in shown.empty.children if one.get(hanging.OBJECT) is not None}
    called = {number: empties[number].name if number in empties else one for number, one in enumerate(known)}
    number = chosen.get(hanging.OBJECT) if chosen is not None and chosen.parent == shown.empty else None
    if name:
        number = next((one for one in called if name in (called[one], known[one])), None)
    elif number is None and len(known) == 1:
        number = 0
    if number is None or number not in called:
        listed = ", ".join(f"'{one}'" for one in called.values())
        raise Nowhere(f"Name one of the objects {listed}, or select its empty")
    pose, there = np.asarray(table["pose"])[:, number, :3], np.asarray(table["visible"])[:, number]
    to_world = shown.to_world
    middles = {int(at): to_world @ Vector(pose[at].tolist()) for at in np.flatnonzero(there)}
    if not middles:
        raise Nowhere(f"'{called[number]}' is seen in no frame")
    size = objects.DISPLAY_SIZE * float(np.median(np.asarray(table["scale"])[:, number])) * to_world.median_scale
    return _add(scene, shown, f"Follows {called[number]}", size, middles, held=True)


def _add(
    scene: bpy.types.Scene, shown: Sequence, name: str, size: float, middles: dict[int, Vector], held: bool = False
) -> bpy.types.Object:
    """An empty with a key at each scene frame of the sequence, where its timing shows these capture frames.

    Args:
        held: between two known frames that have others between them it stays at the first.
    """
    made = cameras.new_empty(scene, name, max(size, places.SMALLEST_RADIUS))
    first, times = timing.moments(shown.empty)
    known = sorted(middles)
    if held:
        for frame in range(known[0], known[-1]):
            middles.setdefault(frame, middles.get(frame - 1, middles[known[0]]))
        known = sorted(middles)
    for axis in range(3):
        along = np.interp(times, known, [middles[frame][axis] for frame in known])
        curves.write(made, "location", first + np.arange(len(times)), along, "LINEAR", "Follower", index=axis)
    return made
