"""The extension's entries in Blender's own menus, by the words that a person types into F3 to find them."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare
from ..sequence import sequence

Entry = tuple[str, str, dict[str, Any], declare.Icon]
"""(operator, text, its properties, icon); an empty operator is a line between."""

SELECT: tuple[Entry, ...] = (
    ("click_things", "Click on Things", {}, "EYEDROPPER"),
    ("step_thing", "Grow Thing", {"larger": True}, "NONE"),
    ("step_thing", "Shrink Thing", {"larger": False}, "NONE"),
    ("select_gesture", "Box Select Splats", {"shape": "BOX"}, "SELECT_SET"),
    ("select_gesture", "Lasso Select Splats", {"shape": "LASSO"}, "NONE"),
    ("select_gesture", "Circle Select Splats", {"shape": "CIRCLE"}, "NONE"),
    ("", "", {}, "NONE"),
    ("select_size", "Select Splats by Size…", {"by": "SIZE"}, "NONE"),
    ("select_size", "Select Needles (Spikes)…", {"by": "NEEDLE", "low": 10.0}, "NONE"),
    ("select_opacity", "Select Splats by Opacity (Haze)…", {}, "NONE"),
    ("select_seen", "Select Splats That No Camera Saw…", {}, "NONE"),
    ("select_object", "Select Splats in Object's Box", {}, "NONE"),
    ("select_layer", "Select Splats of Prompt", {}, "NONE"),
    ("", "", {}, "NONE"),
    ("select_all", "Select All Splats", {"action": "ALL"}, "NONE"),
    ("select_all", "Select No Splats", {"action": "NONE"}, "NONE"),
    ("select_all", "Invert Selected Splats", {"action": "INVERT"}, "NONE"),
)
EDIT: tuple[Entry, ...] = (
    ("delete_points", "Delete Splats", {}, "TRASH"),
    ("hide_points", "Hide Splats", {}, "HIDE_ON"),
    ("crop_points", "Crop Splats", {}, "NONE"),
    ("separate", "Separate Selected Splats", {}, "NONE"),
    ("keep_largest", "Keep Largest Piece of Splats (Remove Floaters)", {}, "NONE"),
    ("edit_points", "Edit Mode of Splats", {}, "EDITMODE_HLT"),
    ("show_points", "Show Hidden Splats", {"what": "HIDDEN"}, "HIDE_OFF"),
    ("show_points", "Restore Deleted Splats", {"what": "DELETED"}, "NONE"),
    ("", "", {}, "NONE"),
    ("add_grade", "Color Grade Splats", {"where": "ALL"}, "COLOR"),
    ("add_grade", "Color Grade Selected Splats", {"where": "SELECTION"}, "NONE"),
    ("add_grade", "Color Grade Prompt", {"where": "LAYER"}, "NONE"),
)
EFFECTS: tuple[Entry, ...] = (
    ("jump", "Jump to Prompt's Action", {}, "TIME"),
    ("bullet_time", "Bullet Time", {}, "ORIENTATION_GIMBAL"),
    ("zoom", "Zoom to Action", {}, "VIEW_CAMERA"),
    ("cut", "Cut to Actions by Cameras", {"to": "MARKERS"}, "NONE"),
    ("cut", "Cut to Actions as Strips", {"to": "STRIPS"}, "NONE"),
    ("fade", "Fade Highlight", {"what": "HIGHLIGHT"}, "NONE"),
    ("fade", "Fade Color Out", {"what": "DESATURATE"}, "NONE"),
    ("add_follower", "Add Follower of Prompt", {"of": "LAYER"}, "EMPTY_AXIS"),
    ("add_follower", "Add Follower of Selected Splats", {"of": "SELECTION"}, "NONE"),
    ("add_follower", "Add Follower of Object", {"of": "OBJECT"}, "NONE"),
    ("apply_motion", "Apply Motion to Splats…", {}, "ANIM"),
    ("remap_time", "Edit Time Curve (Speed, Slow Motion, Freeze, Reverse)", {}, "GRAPH"),
    ("match_rate", "Match Frame Rate to Capture", {"to": "SCENE"}, "NONE"),
    ("match_rate", "Play Capture in Real Time", {"to": "TIME"}, "NONE"),
)
RENDER: tuple[Entry, ...] = (
    ("composite", "Composite Splats with Cycles", {}, "NODE_COMPOSITING"),
    ("prepare_scene", "Set Up Rendering of Splats", {}, "SCENE_DATA"),
    ("export", "Export Splats, Mattes and Curves", {}, "RENDER_ANIMATION"),
    ("bake", "Bake Splats to Native Blend (Render Farm)…", {}, "FILE_BLEND"),
    ("export_motion", "Export Object's Motion…", {}, "EXPORT"),
)
ADD: tuple[Entry, ...] = (
    ("import_run", "Captured Run (4D Splats)", {}, "POINTCLOUD_DATA"),
    ("import_splats", "Gaussian Splats from Files…", {}, "FILE"),
    ("open_sample", "Sample Capture", {}, "OUTLINER_OB_POINTCLOUD"),
    ("add_follower", "Follower of Prompt", {"of": "LAYER"}, "EMPTY_AXIS"),
)


def entries(menu: Any, listed: tuple[Entry, ...]) -> None:
    """Draw entries; those that ask for values ask."""
    for name, text, values, icon in listed:
        if not name:
            menu.layout.separator()
            continue
        menu.layout.operator_context = "INVOKE_DEFAULT"
        button: Any = menu.layout.operator(f"legs4d.{name}", text=text, icon=icon)
        for key, value in values.items():
            setattr(button, key, value)


def _menu(name: str, label: str, listed: tuple[Entry, ...]) -> type:
    body = {"bl_idname": f"LEGS4D_MT_{name}", "bl_label": label, "draw": lambda self, context: entries(self, listed)}
    return type(f"LEGS4D_MT_{name}", (bpy.types.Menu,), {**body, "__module__": __name__, "__doc__": label})


class LEGS4D_MT_object(bpy.types.Menu):
    """In the Object menu."""

    bl_idname = "LEGS4D_MT_object"
    bl_label = "4-LEGS Splats"

    def draw(self, context: bpy.types.Context) -> None:
        """Its parts."""
        for name in ("select", "edit", "effects", "render"):
            self.layout.menu(f"LEGS4D_MT_{name}")


CLASSES = (
    _menu("select", "Select Splats", SELECT),
    _menu("edit", "Delete, Hide and Color", EDIT),
    _menu("effects", "Time and Effects", EFFECTS),
    _menu("render", "Render and Export", RENDER),
    _menu("add", "4-LEGS", ADD),
    LEGS4D_MT_object,
)


def register() -> None:
    """After the classes are registered."""
    for menu, draw in _PLACES:
        menu.append(draw)


def unregister() -> None:
    """Before the classes are unregistered."""
    for menu, draw in _PLACES:
        menu.remove(draw)


def _draw_add(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.menu("LEGS4D_MT_add", icon="POINTCLOUD_DATA")


def _draw_object(menu: Any, context: bpy.types.Context) -> None:
    if sequence.find(context.scene):
        menu.layout.separator()
        menu.layout.menu("LEGS4D_MT_object", icon="POINTCLOUD_DATA")


def _draw_import(menu: Any, context: bpy.types.Context) -> None:
    menu.layout.operator("legs4d.import_run", text="4-LEGS Run (from the backend)")


_PLACES: tuple[tuple[Any, Any], ...] = (
    (bpy.types.VIEW3D_MT_add, _draw_add),
    (bpy.types.VIEW3D_MT_object, _draw_object),
    (bpy.types.TOPBAR_MT_file_import, _draw_import),
)
