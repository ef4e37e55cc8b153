"""The sidebar's prompt field, the list of layers, and the selected layer."""

from __future__ import annotations

from typing import Any

import bpy

from .. import names
from ..link import session
from ..sequence import sequence
from ..sequence.properties import LayerProperties
from ..ui.properties import window
from ..ui.sidebar import Rows, SequencePanel
from ..ui.text import sentence
from . import layers, strip


class LEGS4D_UL_layers(Rows, bpy.types.UIList):
    """A sequence's prompt layers; `data` is the parent empty's `legs4d`."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        row.prop(item, "enabled", text="", icon="HIDE_OFF" if item.enabled else "HIDE_ON", emboss=False)
        swatch = row.row()
        swatch.scale_x = 0.35
        swatch.prop(item, "color", text="")
        row.prop(item, "label", text="", emboss=False, placeholder=item.prompt)
        if session.current.questions.get(item.layer_id):
            row.label(text="", icon="SORTTIME")
        elif session.current.questions.trouble(item.layer_id):
            row.label(text="", icon="ERROR")
        elif item.warnings:
            row.label(text="", icon="QUESTION")
        row.prop(item, "solo", text="", icon="SOLO_ON" if item.solo else "SOLO_OFF", emboss=False)


class LEGS4D_PT_prompts(SequencePanel, bpy.types.Panel):
    """The prompt field and the layers."""

    bl_label = "Prompts"

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout, its = self.layout, found.its
        row = layout.row(align=True)
        row.prop(window(), "prompt", text="", icon="VIEWZOOM", placeholder="What happens?")
        row.operator("legs4d.ask", text="", icon="FORWARD")
        row = layout.row()
        row.template_list("LEGS4D_UL_layers", "", its, "layers", its, "active_layer", rows=4)
        column = row.column(align=True)
        column.operator("legs4d.duplicate_layer", text="", icon="DUPLICATE")
        column.operator("legs4d.remove_layer", text="", icon="REMOVE")
        column.separator()
        column.operator("legs4d.move_layer", text="", icon="TRIA_UP").direction = "UP"
        column.operator("legs4d.move_layer", text="", icon="TRIA_DOWN").direction = "DOWN"
        if its.active_layer < len(its.layers):
            _draw_layer(layout, context, found, its.layers[its.active_layer])
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(its, "mode")
        if layers.is_behind(found):
            sentence(layout, context, "The layers' keys follow an older timing.", "INFO")
            layout.operator("legs4d.retime", icon="TIME")


def _draw_layer(
    layout: bpy.types.UILayout, context: bpy.types.Context, found: sequence.Sequence, layer: LayerProperties
) -> None:
    if trouble := session.current.questions.trouble(layer.layer_id):
        sentence(layout, context, trouble, "ERROR")
    _draw_progress(layout, found, layer)
    if layer.answer_key:
        strip.draw(layout, context, found, layer)
    column = layout.column()
    column.use_property_split = True
    column.prop(layer, "prompt")
    for warning in layer.warnings.splitlines():
        sentence(column, context, warning, "QUESTION")
    column.prop(layer, "color")
    column.prop(layer, "threshold")
    column.prop(layer, "softness")
    column.prop(found.empty, names.curve_path(layer.layer_id, "strength"), text="Strength", slider=True)
    column.prop(found.empty, names.curve_path(layer.layer_id, "active"), text="Active", slider=True)
    row = layout.row(align=True)
    row.operator("legs4d.jump", icon="TIME").layer_id = layer.layer_id
    row.operator("legs4d.ask_again", icon="FILE_REFRESH").layer_id = layer.layer_id
    if layers.is_edited(found, layer, context.scene):
        again = layout.operator("legs4d.ask_again", text="Ask Again and Replace My Edits", icon="LOOP_BACK")
        again.layer_id, again.replace_edits = layer.layer_id, True
    if layer.answer_key:
        sentence(layout, context, layers.said(found, layer), "TIME" if layer.intervals else "INFO")


def _draw_progress(layout: bpy.types.UILayout, found: sequence.Sequence, layer: LayerProperties) -> None:
    question = session.current.questions.get(layer.layer_id)
    if question is None or question.request is None:
        return
    row = layout.row(align=True)
    frames = found.its.num_frames
    there = frames - question.missing if question.answered else 0
    text = f"Frame {there} of {frames}" if question.answered else "Asking…"
    row.progress(factor=there / max(frames, 1), text=text)
    row.operator("legs4d.cancel_ask", text="", icon="X").layer_id = layer.layer_id


CLASSES = (LEGS4D_UL_layers, LEGS4D_PT_prompts)
