"""The panel Training > "From a Video". Panels only draw."""

from __future__ import annotations

import bpy

from ..ui.properties import window
from ..ui.sidebar import Sidebar


class LEGS4D_PT_video(Sidebar, bpy.types.Panel):
    """A 4D scene of one ordinary video."""

    bl_label = "From a Video"
    bl_parent_id = "LEGS4D_PT_training"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, form = self.layout, window()
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(form, "video_file")
        column.prop(form, "video_lite")
        column.prop(form, "video_depth")
        if form.video_depth == "folder":
            column.prop(form, "video_depth_folder")
        for number, item in enumerate(form.video_boxes):
            row = layout.row(align=True)
            left, top, right, bottom = map(float, tuple(item.corners))
            row.label(text=f"Object {number + 1}: {right - left:.0f} × {bottom - top:.0f} pixels", icon="SELECT_SET")
            row.operator("legs4d.remove_box", text="", icon="X").number = number
        layout.operator("legs4d.draw_boxes", icon="SELECT_SET")
        layout.operator("legs4d.make_scene", icon="PLAY")


CLASSES = (LEGS4D_PT_video,)
