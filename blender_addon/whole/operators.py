"""Operators on a sequence as a whole."""

from __future__ import annotations

import bpy

from .. import declare
from ..sequence import display, sequence
from ..ui.operators import NeedsSequence, refuse
from . import libraries


class LEGS4D_OT_make_local(NeedsSequence, bpy.types.Operator):
    """Replace a sequence that is linked from another file by a copy that is this file's own, to be edited here"""

    bl_idname = "legs4d.make_local"
    bl_label = "Make Local"
    bl_options = {"REGISTER", "UNDO"}
    edits = False

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown = sequence.meant(context)
        if not shown.locked and libraries.instancer(context.scene, shown.empty) is None:
            return refuse(self, f"'{shown.empty.name}' is this file's own already.")
        made = libraries.make_local(context.scene, shown)
        display.update(made.empty, moved=True)
        return {"FINISHED"}


CLASSES = (LEGS4D_OT_make_local,)
