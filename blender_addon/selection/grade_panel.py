"""Colour grades in the sidebar: of everything, of what a prompt names, of what is selected."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare, names
from ..look import lighting
from ..portable.look import GRADE
from ..sequence import display, sequence
from ..sequence.properties import GradeProperties
from ..ui.operators import NeedsSequence, refuse
from ..ui.sidebar import Rows, SequencePanel
from . import grades, selecting

_ICONS: dict[str, declare.Icon] = {
    "ALL": "WORLD",
    "LAYER": "OUTLINER_OB_FONT",
    "SELECTION": "RESTRICT_SELECT_OFF",
    "RAMP": "EMPTY_SINGLE_ARROW",
}


class LEGS4D_UL_grades(Rows, bpy.types.UIList):
    """A sequence's grades."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        row.prop(item, "enabled", text="", icon="HIDE_OFF" if item.enabled else "HIDE_ON", emboss=False)
        row.prop(item, "label", text="", icon=_ICONS[item.where], emboss=False)


class LEGS4D_OT_add_grade(NeedsSequence, bpy.types.Operator):
    """Add a color grade: exposure, hue, saturation, lift, gamma and gain, in viewport, renders and exports alike"""

    bl_idname = "legs4d.add_grade"
    bl_label = "Add Color Grade"
    bl_options = {"REGISTER", "UNDO"}

    where = declare.enum(
        "Of",
        items=[
            ("ALL", "Everything", "All points of the sequence"),
            ("LAYER", "Selected Layer", "What its prompt names, as strongly as the layer shows"),
            ("SELECTION", "Selected Points", "Those that are selected now"),
            ("RAMP", "Ramp", "None at the foot of an arrow, all from its tip on: move, turn, scale and key the arrow"),
        ],
    )

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Add it; it changes nothing yet."""
        shown = sequence.meant(context)
        its = shown.its
        layer_id = its.layers[its.active_layer].layer_id if its.active_layer < len(its.layers) else ""
        if self.where == "LAYER" and not layer_id:
            return refuse(self, "Ask a prompt first: there is no layer to grade.")
        if self.where == "SELECTION" and not selecting.any_selected(shown):
            return refuse(self, "Select points first.")
        grades.add(shown, self.where, layer_id)
        display.update(shown.empty, moved=shown.loose_object is not None)
        return {"FINISHED"}


class LEGS4D_OT_remove_grade(NeedsSequence, bpy.types.Operator):
    """Remove the selected color grade"""

    bl_idname = "legs4d.remove_grade"
    bl_label = "Remove Color Grade"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Remove it with its values and keyframes."""
        shown = sequence.meant(context)
        its = shown.its
        if its.active_grade >= len(its.grades):
            return refuse(self, "There is no grade to remove.")
        grades.remove(shown, its.grades[its.active_grade].grade_id)
        display.update(shown.empty)
        return {"FINISHED"}


class LEGS4D_PT_grade(SequencePanel, bpy.types.Panel):
    """The grades and the selected one's values."""

    bl_label = "Color"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout, its = self.layout, found.its
        row = layout.row()
        row.template_list("LEGS4D_UL_grades", "", its, "grades", its, "active_grade", rows=3)
        column = row.column(align=True)
        column.operator_menu_enum("legs4d.add_grade", "where", text="", icon="ADD")
        column.operator("legs4d.remove_grade", text="", icon="REMOVE")
        if its.active_grade < len(its.grades):
            _draw_grade(layout, found, its.grades[its.active_grade])
        _draw_light(layout, found)


def _draw_light(layout: bpy.types.UILayout, found: sequence.Sequence) -> None:
    if names.amount_property(lighting.REFLECT) not in found.empty.keys():  # noqa: SIM118  # an object is no mapping
        return  # linked from a file of before
    column = layout.column(heading="Lamps")
    column.use_property_split = True
    column.prop(found.empty, names.amount_path(lighting.REFLECT), text="Reflect", slider=True)
    column.prop(found.its, "shadows")
    gap = column.row()
    gap.enabled = found.its.shadows
    gap.prop(found.empty, names.amount_path(lighting.GAP), text="Beyond")


def _draw_grade(layout: bpy.types.UILayout, found: sequence.Sequence, item: GradeProperties) -> None:
    column = layout.column()
    column.use_property_split = True
    column.active = item.enabled
    for name in (grades.STRENGTH, *GRADE):
        column.prop(found.empty, names.grade_path(item.grade_id, name), text=name.capitalize())


CLASSES = (LEGS4D_OT_add_grade, LEGS4D_OT_remove_grade, LEGS4D_UL_grades, LEGS4D_PT_grade)
