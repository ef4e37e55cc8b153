"""The sidebar's panel for things and named selections."""

from __future__ import annotations

from typing import Any

import bpy

from ..cache import storage
from ..cache.frames import CacheError
from ..link import session
from ..sequence import sequence
from ..ui.sidebar import Rows, SequencePanel
from ..ui.text import sentence
from . import table

_ICONS = {"FILE": "RESTRICT_SELECT_OFF", "RUN": "POINTCLOUD_DATA"}


class LEGS4D_UL_selections(Rows, bpy.types.UIList):
    """Named selections."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        if item.source == "FILE":
            row.prop(item, "label", text="", icon=_ICONS[item.source], emboss=False)
        else:  # the run names it
            row.label(text=item.label, icon=_ICONS[item.source])
        row.operator("legs4d.select_kept", text="", icon="SELECT_SET", emboss=False).which = item.name


class LEGS4D_PT_things(SequencePanel, bpy.types.Panel):
    """Pointing at things."""

    bl_label = "Things"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout, its = self.layout, found.its
        known = _table(found)
        if its.files:
            sentence(layout, context, "Only runs of the backend are taken apart into things.", "INFO")
        elif known is None or not known.names:
            waiting = its.run_id in session.current.things.fetching
            told = (
                "Fetching…" if waiting else "The run was not taken apart yet: its footage's masks tell what there is."
            )
            sentence(layout, context, told, "INFO")
            row = layout.row(align=True)
            row.operator("legs4d.find_things", icon="VIEWZOOM")
            row.operator("legs4d.fetch_things", text="", icon="IMPORT")
        else:
            row = layout.row(align=True)
            row.operator("legs4d.click_things", icon="EYEDROPPER")
            row.operator("legs4d.fetch_things", text="", icon="FILE_REFRESH")
            row = layout.row(align=True)
            row.operator("legs4d.step_thing", text="", icon="REMOVE").larger = False
            row.prop(its, "thing_scale")
            row.operator("legs4d.step_thing", text="", icon="ADD").larger = True
            row = layout.row(align=True)
            row.prop(its, "thing_words", text="", placeholder="in words")
            row.operator("legs4d.select_words", text="", icon="VIEWZOOM").mode = "SET"
            row.operator("legs4d.select_words", text="", icon="ADD").mode = "ADD"
            row.operator("legs4d.select_words", text="", icon="REMOVE").mode = "SUBTRACT"
        if its.thing_said:
            sentence(layout, context, its.thing_said)
        row = layout.row()
        row.template_list("LEGS4D_UL_selections", "", its, "selections", its, "active_selection", rows=2)
        column = row.column(align=True)
        column.operator("legs4d.forget_selection", text="", icon="REMOVE")
        if not its.files:
            column.operator("legs4d.save_selection", text="", icon="EXPORT")
        row = layout.row(align=True)
        row.prop(its, "selection_name", text="", placeholder="name")
        row.operator("legs4d.keep_selection", text="Keep", icon="ADD")
        layout.operator("legs4d.separate", text="Separate", icon="OBJECT_ORIGIN")
        row = layout.row(align=True)
        row.operator("legs4d.apply_motion", text="Apply Motion…", icon="ANIM")
        row.operator("legs4d.export_motion", text="Export Motion…", icon="EXPORT")


def _table(found: sequence.Sequence) -> table.Table | None:
    try:
        return table.read(storage.find(found.empty))
    except CacheError:
        return None


CLASSES = (LEGS4D_UL_selections, LEGS4D_PT_things)
