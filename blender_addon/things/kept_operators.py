"""Operators on the list of selections: keep what is selected under a name, select it again, save it in the run."""

from __future__ import annotations

import bpy

from .. import declare
from ..cache import storage
from ..cache.frames import CacheError
from ..link import session
from ..link.operators import OnRun
from ..selection import selecting
from ..selection.operators import MODE_ITEMS
from ..sequence import display, sequence
from ..sequence.properties import SelectionProperties
from ..sequence.sequence import Sequence
from ..ui.operators import NeedsSequence, refuse
from . import kept
from .pointing import NothingMeantError


class LEGS4D_OT_keep_selection(NeedsSequence, bpy.types.Operator):
    """Keep what is selected under a name, in the file"""

    bl_idname = "legs4d.keep_selection"
    bl_label = "Keep Selection"
    bl_options = {"REGISTER", "UNDO"}

    label = declare.string("Name", "Empty: what the panel says", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Keep it."""
        shown = sequence.meant(context)
        label = (self.label or shown.its.selection_name).strip()
        if not label:
            return refuse(self, "Give the selection a name first.")
        try:
            if not selecting.is_anything(shown):
                return refuse(self, "Nothing is selected; select points or a thing first.")
        except CacheError as problem:
            return refuse(self, f"{problem}.")
        kept.keep(shown, label)
        if shown.loose_object is not None:
            display.update(shown.empty, moved=True)
        return {"FINISHED"}


class _OnKept(NeedsSequence):
    """For operators on a selection of the list: the one named, else the active one."""

    which = declare.string("Id", "Of the selection; empty: the one named", options={"SKIP_SAVE", "HIDDEN"})
    label = declare.string("Name", "Of the selection; empty: the active one", options={"SKIP_SAVE"})

    @property
    def missing(self) -> str:
        """What to say where there is none."""
        return f"There is no selection '{self.label}'." if self.label else "Keep a selection first."

    def meant(self, shown: Sequence) -> SelectionProperties | None:
        """It; None if there is none."""
        its = shown.its
        if self.which:
            return its.selections.get(self.which)
        if self.label:
            return next((one for one in its.selections if one.label == self.label), None)
        return its.selections[its.active_selection] if its.active_selection < len(its.selections) else None

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Do it to the selection that is meant, or say why not."""
        shown = sequence.meant(context)
        item = self.meant(shown)
        if item is None:
            return refuse(self, self.missing)
        try:
            self.act(shown, item)
        except (NothingMeantError, CacheError) as nothing:
            return refuse(self, f"{nothing}.")
        return {"FINISHED"}

    def act(self, shown: Sequence, item: SelectionProperties) -> None:
        """Do it."""
        raise NotImplementedError


class LEGS4D_OT_select_kept(_OnKept, bpy.types.Operator):
    """Select what is kept under a name; Shift-click adds, Ctrl-click subtracts"""

    bl_idname = "legs4d.select_kept"
    bl_label = "Select Kept"
    bl_options = {"REGISTER", "UNDO"}

    mode = declare.enum("Mode", "What happens to what is selected already", MODE_ITEMS)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """The keys that are held choose the mode."""
        declare.put(self, mode="ADD" if event.shift else "SUBTRACT" if event.ctrl else "SET")
        return self.execute(context)

    def act(self, shown: Sequence, item: SelectionProperties) -> None:
        """Select it, and say how much."""
        kept.choose(shown, item, self.mode)
        self.report({"INFO"}, selecting.said(shown))


class LEGS4D_OT_save_selection(_OnKept, OnRun, bpy.types.Operator):
    """Save the selection of this file in the run, where the command line, the browser and other files find it"""

    bl_idname = "legs4d.save_selection"
    bl_label = "Save to Run"

    again = declare.boolean("Replace", "What the run has under this name", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Ask, where the run has one of this name."""
        shown = sequence.meant(context)
        item = self.meant(shown)
        if item is None or item.source == "RUN" or not kept.run_has(shown, item.label):
            return self.execute(context)
        declare.put(self, again=True)
        return declare.windows().invoke_confirm(
            self,
            event,
            title="Replace?",
            message=f"The run has a selection '{item.label}' already. `legs4d segment --undo` brings it back.",
            confirm_text="Replace",
        )

    def act(self, shown: Sequence, item: SelectionProperties) -> None:
        """Send it; what becomes of it is said when the answer arrives."""
        bits, cache = kept.bits_for_run(shown, item), storage.find(shown.empty)
        session.current.things.keep(cache, shown, item.label.strip(), bits, self.again)


class LEGS4D_OT_forget_selection(_OnKept, bpy.types.Operator):
    """Take the selection from the list; one of the run stays in the run"""

    bl_idname = "legs4d.forget_selection"
    bl_label = "Forget Selection"
    bl_options = {"REGISTER", "UNDO"}

    missing = "There is no selection to forget."

    def act(self, shown: Sequence, item: SelectionProperties) -> None:
        """Forget it."""
        kept.forget(shown, item)


CLASSES = (
    LEGS4D_OT_keep_selection,
    LEGS4D_OT_select_kept,
    LEGS4D_OT_save_selection,
    LEGS4D_OT_forget_selection,
)
