"""What operators share: what they need to run, and a short form for those that only do one thing."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from .. import declare
from ..sequence import sequence

Do = Callable[[bpy.types.Context], object]


def refuse(operator: declare.Operator, sentence: str) -> declare.Result:
    """Say why an operator does nothing, and end it."""
    operator.report({"WARNING"}, sentence)
    return {"CANCELLED"}


class NeedsSequence(declare.Operator):
    """For operators on the sequence that is meant."""

    edits = True
    """Whether the sequence is changed: one of a linked library is not."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a sequence is meant, and can be changed."""
        shown = sequence.active(context)
        if shown is None:
            cls.poll_message_set("Import a run, or select one of its objects")
            return False
        if cls.edits and (why := shown.locked):
            cls.poll_message_set(why)
            return False
        return True


class OnLayer(NeedsSequence):
    """For operators on one layer: the one named, else the selected one."""

    layer_id = declare.string("Layer", "Id of the layer; empty: the selected one", options={"SKIP_SAVE", "HIDDEN"})

    def layer(self, context: bpy.types.Context) -> str:
        """Its id; empty if there is none."""
        its = sequence.meant(context).its
        selected = its.layers[its.active_layer].layer_id if its.active_layer < len(its.layers) else ""
        return str(self.layer_id or selected)


def action(name: str, label: str, description: str, do: Do, *needs: type, when: Do | None = None) -> type:
    """An operator `legs4d.<name>` without properties, which cannot fail.

    Args:
        label, description: for buttons and their tooltips.
        needs: mixins that say when it can run.
        when: whether it can run now, where no mixin says it.
    """

    def execute(self: bpy.types.Operator, context: bpy.types.Context) -> declare.Result:
        do(context)
        return {"FINISHED"}

    body = {"__doc__": description, "bl_idname": f"legs4d.{name}", "bl_label": label, "execute": execute}
    if when is not None:
        body["poll"] = classmethod(lambda cls, context: bool(when(context)))
    return type(f"LEGS4D_OT_{name}", (*needs, bpy.types.Operator), {**body, "__module__": __name__})
