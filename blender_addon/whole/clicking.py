"""A click on a sequence's points selects it: Blender's own click knows their bounds, not the discs that are drawn."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from bpy_extras import view3d_utils

from .. import declare
from ..sequence import sequence, viewport
from ..sequence.sequence import Sequence

NEAR_PIXELS = 4.0
"""So near to a point's middle is a click on it, where its disc is smaller."""
ICON_PIXELS = 12.0
"""So near to the origin of a light, camera or empty a click means that."""

_keymaps: list[tuple[Any, Any]] = []


def under(
    context: Any, region: Any, view: Any, here: tuple[float, float]
) -> tuple[Sequence, bpy.types.Object, float] | None:
    """(sequence, cloud, depth) of the points that are drawn in front at a place of a region; None if there are none.

    Args:
        view: the region's RegionView3D.
        here: pixels from the region's lower left.
    """
    found: list[tuple[float, Sequence, bpy.types.Object]] = []
    for shown in sequence.find(context.scene):
        for child in shown.objects:
            if child.name not in context.view_layer.objects or not child.visible_get():
                continue
            depth = _depth(shown, child, context.scene.frame_current_final, region, view, here)
            if depth is not None:
                found.append((depth, shown, child))
    if not found:
        return None
    depth, shown, child = min(found, key=lambda one: one[0])
    return shown, child, depth


def _depth(
    shown: Sequence, child: bpy.types.Object, frame: float, region: Any, view: Any, here: tuple[float, float]
) -> float | None:
    """Of the nearest point of a cloud there, along the view, as Blender's clip space has it (w)."""
    positions, _, radii = viewport.shown_points(shown, child, frame)
    if not len(positions):
        return None
    to_clip = np.array(view.perspective_matrix @ child.matrix_world, np.float32)
    clip = positions @ to_clip[:, :3].T + to_clip[:, 3]
    depth = clip[:, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (clip[:, 0] / depth * 0.5 + 0.5) * region.width - here[0]
        along = (clip[:, 1] / depth * 0.5 + 0.5) * region.height - here[1]
        unit = child.matrix_world.to_scale()[0] * region.height * view.window_matrix[1][1]
        sizes = np.clip(np.abs(radii) * unit / depth, viewport.SMALLEST_PIXELS, viewport.LARGEST_PIXELS) / 2
        hit = (np.hypot(across, along) <= np.maximum(sizes, NEAR_PIXELS)) & (depth > 0)
    if not hit.any():
        return None
    order = clip[hit, 2] / depth[hit]  # in orthographic views w is the same for all
    return float(order.min())


def meant(context: Any, region: Any, view: Any, here: tuple[float, float]) -> tuple[Sequence, bpy.types.Object] | None:
    """What a click there means of sequences; None where something else lies before it, or nothing is there."""
    found = under(context, region, view, here)
    if found is None:
        return None
    shown, child, depth = found
    parts = [shown.empty, *shown.objects]
    for item in context.visible_objects:
        if item.type in ("LIGHT", "CAMERA", "EMPTY", "SPEAKER", "LIGHT_PROBE") and item not in parts:
            place = view3d_utils.location_3d_to_region_2d(region, view, item.matrix_world.translation)
            if place is not None and np.hypot(place[0] - here[0], place[1] - here[1]) <= ICON_PIXELS:
                return None
    origin = view3d_utils.region_2d_to_origin_3d(region, view, here)
    direction = view3d_utils.region_2d_to_vector_3d(region, view, here)
    solid, place, *_ = context.scene.ray_cast(context.evaluated_depsgraph_get(), origin, direction)
    if solid:
        clip = view.perspective_matrix @ place.to_4d()
        if clip.w > 0 and clip.z / clip.w < depth:
            return None
    return shown, child


class LEGS4D_OT_click_sequence(bpy.types.Operator):
    """Select the sequence whose points are under the mouse. Shift: add it, or take it out"""

    bl_idname = "legs4d.click_sequence"
    bl_label = "Select Sequence"
    bl_options = {"UNDO", "INTERNAL"}

    toggle = declare.boolean("Toggle", "Add it to what is selected, or take it out", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In a 3D view in object mode, where something of ours is to be seen."""
        return context.region_data is not None and context.mode == "OBJECT" and bool(sequence.find(context.scene))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Select it, or let Blender's own click do what it does."""
        known: Any = context.window_manager.keyconfigs.active.preferences
        if getattr(known, "select_mouse", "LEFT") != "LEFT":
            return {"PASS_THROUGH"}
        here = (float(event.mouse_region_x), float(event.mouse_region_y))
        found = meant(context, context.region, context.region_data, here)
        if found is None:
            return {"PASS_THROUGH"}
        select(context, *found, self.toggle)
        return {"FINISHED"}


def select(context: Any, shown: Sequence, child: bpy.types.Object, toggle: bool) -> None:
    """Select a sequence, or with *As One* off the cloud that was clicked; that cloud is active."""
    parts = [child] if not shown.its.as_one else [shown.empty, *shown.objects]
    wanted = not (toggle and child.select_get())
    if not toggle:
        for item in context.selected_objects:
            item.select_set(False)
    for part in parts:
        if part.name in context.view_layer.objects and part.visible_get():
            part.select_set(wanted)
    if wanted:
        context.view_layer.objects.active = child


def register() -> None:
    """Take clicks before Blender's own does."""
    config = declare.windows().keyconfigs.addon
    if config is None:  # without a window
        return
    keymap: Any = config.keymaps.new(name="Object Mode", space_type="EMPTY")
    for shift in (False, True):
        item: Any = keymap.keymap_items.new(LEGS4D_OT_click_sequence.bl_idname, "LEFTMOUSE", "CLICK", shift=shift)
        item.properties.toggle = shift
        _keymaps.append((keymap, item))


def unregister() -> None:
    """Leave no keys behind."""
    for keymap, item in _keymaps:
        keymap.keymap_items.remove(item)
    _keymaps.clear()


CLASSES = (LEGS4D_OT_click_sequence,)
