"""The sidebar's panel for work on the points themselves."""

from __future__ import annotations

import bpy

from .. import names
from ..sequence import sequence
from ..ui.sidebar import SequencePanel
from . import edits, selecting


class LEGS4D_PT_selection(SequencePanel, bpy.types.Panel):
    """Selecting, deleting, hiding."""

    bl_label = "Edit Splats"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout = self.layout
        chosen, total = selecting.counts(found)
        layout.label(text=f"{chosen:,} of {total:,} selected", icon="RESTRICT_SELECT_OFF")
        row = layout.row(heading="Draw", align=True)
        for shape in ("BOX", "LASSO", "CIRCLE"):
            row.operator("legs4d.select_gesture", text=shape.capitalize()).shape = shape
        grid = layout.row(heading="By").grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        grid.operator("legs4d.select_size", text="Size…")
        grid.operator("legs4d.select_opacity", text="Opacity…")
        grid.operator("legs4d.select_seen", text="Seen…")
        grid.operator("legs4d.select_object", text="Object's Box")
        grid.operator("legs4d.select_layer", text="Layer")
        row = layout.row(heading="Select", align=True)
        for action in ("ALL", "NONE", "INVERT"):
            row.operator("legs4d.select_all", text=action.capitalize()).action = action
        layout.separator()
        row = layout.row(align=True)
        row.operator("legs4d.delete_points", text="Delete", icon="TRASH")
        row.operator("legs4d.hide_points", text="Hide", icon="HIDE_ON")
        row.operator("legs4d.crop_points", text="Crop", icon="SELECT_INTERSECT")
        layout.operator("legs4d.keep_largest", icon="OUTLINER_OB_POINTCLOUD")
        layout.operator("legs4d.edit_points", icon="EDITMODE_HLT")
        row = layout.row(align=True)
        for name, text in ((names.HIDDEN, "Show Hidden"), (names.DELETED, "Restore Deleted")):
            part = row.row(align=True)
            part.enabled = edits.masked(found, name)
            part.operator("legs4d.show_points", text=text).what = name.upper()


CLASSES = (LEGS4D_PT_selection,)
