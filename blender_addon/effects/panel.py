"""The sidebar's panel of time and effects."""

from __future__ import annotations

import bpy

from .. import names
from ..layers import presets
from ..sequence import sequence, timing
from ..ui import text
from ..ui.sidebar import SequencePanel
from .operators import rates_differ


class LEGS4D_PT_effects(SequencePanel, bpy.types.Panel):
    """Time, and effects as animation."""

    bl_label = "Time and Effects"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout, its = self.layout, found.its
        column = layout.column()
        column.use_property_split = True
        if not timing.is_timed(found.empty):
            layout.operator("legs4d.remap_time", icon="GRAPH")
        else:
            column.prop(found.empty, names.TIME_PATH, text="Capture Frame")
            layout.operator("legs4d.reset_time", icon="X")
        column.prop(its, "interpolate")
        if rates_differ(found, context.scene):
            rate = context.scene.render.fps / context.scene.render.fps_base
            text.sentence(layout, context, f"Captured at {its.fps:g} frames a second, shown at {rate:g}.", "INFO")
            row = layout.row(align=True)
            row.operator("legs4d.match_rate", text=f"Scene to {its.fps:g}").to = "SCENE"
            row.operator("legs4d.match_rate", text="Play in Real Time").to = "TIME"
        layout.separator()
        column = layout.column(align=True)
        column.operator("legs4d.bullet_time", icon="ORIENTATION_GIMBAL")
        column.operator("legs4d.zoom", icon="VIEW_CAMERA")
        column.operator_menu_enum("legs4d.add_follower", "of", icon="EMPTY_AXIS")
        row = layout.row(align=True)
        row.operator("legs4d.bring_cameras", text="Filming Cameras", icon="OUTLINER_OB_CAMERA")
        row.operator("legs4d.bring_nodes", text="Control Nodes", icon="EMPTY_ARROWS")
        row = layout.row(align=True)
        row.operator("legs4d.cut", text="Cut by Cameras", icon="MARKER").to = "MARKERS"
        row.operator("legs4d.cut", text="Cut as Strips", icon="SEQUENCE").to = "STRIPS"
        row = layout.row(align=True)
        row.operator("legs4d.fade", text="Fade Highlight").what = "HIGHLIGHT"
        row.operator("legs4d.fade", text="Fade Color Out").what = "DESATURATE"
        for name in presets.animated(found.empty):
            column = layout.column()
            column.use_property_split = True
            column.prop(found.empty, names.amount_path(name), text=name.capitalize(), slider=True)


CLASSES = (LEGS4D_PT_effects,)
