"""Operators on prompt layers, and what follows when a person changes one. None waits for the backend."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare
from ..link import session
from ..sequence import display, properties, sequence, timing
from ..sequence.properties import properties_of
from ..ui import properties as ui_properties
from ..ui.operators import NeedsSequence, OnLayer, refuse
from ..ui.properties import window
from . import layers


class LEGS4D_OT_ask(NeedsSequence, bpy.types.Operator):
    """Look for a prompt in the sequence: a layer shows where it holds, keyframes and markers when"""

    bl_idname = "legs4d.ask"
    bl_label = "Ask"
    bl_options = {"UNDO"}

    prompt = declare.string(
        "Prompt", "What to look for; empty: what stands in the panel's field", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> declare.Result:
        prompt = (self.prompt or window().prompt).strip()
        if not prompt:
            return refuse(self, "Type a prompt first, such as 'throwing the ball'.")
        shown = sequence.meant(context)
        same = layers.with_prompt(shown, prompt)
        layer_id = same.layer_id if same else layers.add(shown, prompt)
        session.current.questions.ask(shown, layer_id)
        window().prompt = ""
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_ask_again(OnLayer, bpy.types.Operator):
    """Ask the layer's prompt again: relevancy and intervals are replaced; keys and markers that you changed stay"""

    bl_idname = "legs4d.ask_again"
    bl_label = "Ask Again"

    replace_edits = declare.boolean(
        "Replace Edits", "Replace keys and markers that you changed as well", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> declare.Result:
        session.current.questions.ask(sequence.meant(context), self.layer(context), self.replace_edits)
        return {"FINISHED"}


class LEGS4D_OT_cancel_ask(OnLayer, bpy.types.Operator):
    """Stop waiting for the layer's answer"""

    bl_idname = "legs4d.cancel_ask"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        session.current.questions.cancel(self.layer(context))
        return {"FINISHED"}


class LEGS4D_OT_remove_layer(OnLayer, bpy.types.Operator):
    """Remove the layer with its attribute, curves and markers"""

    bl_idname = "legs4d.remove_layer"
    bl_label = "Remove Layer"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown, layer_id = sequence.meant(context), self.layer(context)
        session.current.questions.cancel(layer_id)
        layers.remove(shown, layer_id, context.scene)
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_move_layer(NeedsSequence, bpy.types.Operator):
    """Move the selected layer in the list; where tints meet, the upper one wins"""

    bl_idname = "legs4d.move_layer"
    bl_label = "Move Layer"
    bl_options = {"UNDO"}

    direction = declare.enum(items=[("UP", "Up", ""), ("DOWN", "Down", "")])

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown = sequence.meant(context)
        its = shown.its
        target = its.active_layer + (-1 if self.direction == "UP" else 1)
        if not 0 <= target < len(its.layers):
            return {"CANCELLED"}
        layers.move(shown, its.active_layer, target)
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_duplicate_layer(OnLayer, bpy.types.Operator):
    """Copy the layer with its values, curves and edits, to show the same action in another way"""

    bl_idname = "legs4d.duplicate_layer"
    bl_label = "Duplicate Layer"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown, layer_id = sequence.meant(context), self.layer(context)
        if layers.find(shown, layer_id) is None:
            return refuse(self, "Select a layer first.")
        layers.duplicate(shown, layer_id)
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_retime(NeedsSequence, bpy.types.Operator):
    """Move the layers' keys and markers to where the time curve shows their moments; what you changed by hand stays"""

    bl_idname = "legs4d.retime"
    bl_label = "Retime Layers"
    bl_options = {"UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown = sequence.meant(context)
        behind = layers.retime(shown, context.scene)
        if behind:
            self.report({"INFO"}, f"Edited by hand, so left alone: {', '.join(behind)}.")
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_jump(OnLayer, bpy.types.Operator):
    """Go to the next frame where the layer's action peaks"""

    bl_idname = "legs4d.jump"
    bl_label = "Jump to Action"
    edits = False

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown = sequence.meant(context)
        layer = layers.find(shown, self.layer(context))
        scene = context.scene
        found = layers.intervals(layer) if layer else []
        peaks = sorted(timing.frame_at(scene, shown.scene_frame(peak)) for _, _, peak, _ in found)
        if not peaks:
            return refuse(self, "The layer has no action to jump to.")
        now = scene.frame_current
        scene.frame_set(next((peak for peak in peaks if peak > now), peaks[0]))
        return {"FINISHED"}


def _changed(shown: sequence.Sequence) -> None:
    display.update(shown.empty)


def look_changed(empty: bpy.types.Object) -> None:
    """A person changed how layers show."""
    if properties_of(empty).is_sequence:
        display.update(empty)


def timing_changed(empty: bpy.types.Object) -> None:
    """A person changed which moment a scene frame shows: the layers' keys and markers follow."""
    if properties_of(empty).is_sequence:
        scene = sequence.home(empty)
        if scene is not None:
            layers.retime(sequence.Sequence(empty), scene)
        display.update(empty, moved=True)


def points_changed(empty: bpy.types.Object) -> None:
    """A person changed what a frame's points are made of."""
    if properties_of(empty).is_sequence:
        display.update(empty, moved=True)


def prompt_changed(empty: bpy.types.Object, layer_id: str) -> None:
    """A person typed another prompt into a layer."""
    session.current.questions.ask(sequence.Sequence(empty), layer_id)


def prompt_entered(context: bpy.types.Context) -> None:
    """A person confirmed the prompt field."""
    if LEGS4D_OT_ask.poll(context):
        declare.ops().ask("EXEC_DEFAULT", True)


_LISTENERS: tuple[tuple[list[Any], Any], ...] = (
    (properties.on_look_changed, look_changed),
    (properties.on_timing_changed, timing_changed),
    (properties.on_points_changed, points_changed),
    (properties.on_prompt_changed, prompt_changed),
    (ui_properties.on_prompt_entered, prompt_entered),
)


def register() -> None:
    """After the classes are registered."""
    for listeners, listener in _LISTENERS:
        listeners.append(listener)


def unregister() -> None:
    """Before the classes are unregistered."""
    for listeners, listener in _LISTENERS:
        listeners.remove(listener)


CLASSES = (
    LEGS4D_OT_ask,
    LEGS4D_OT_ask_again,
    LEGS4D_OT_cancel_ask,
    LEGS4D_OT_remove_layer,
    LEGS4D_OT_move_layer,
    LEGS4D_OT_duplicate_layer,
    LEGS4D_OT_retime,
    LEGS4D_OT_jump,
)
