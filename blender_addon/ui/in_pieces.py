"""Operators whose work takes longer than an interface may wait: done in pieces, or after a file was asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any

import bpy
from bpy_extras.io_utils import ExportHelper

from .. import declare
from .operators import refuse

PIECE_SECONDS, TICK_SECONDS = 0.02, 0.01
"""How long the interface waits for a piece, and how soon the next one follows."""

Pieces = Generator[float, None, str]
"""Work: yields the share that is done, 0..1, after each piece, and returns what there is now, a sentence."""


class InPieces(declare.Operator):
    """For operators that are called from buttons and menus: between two pieces the window is drawn, Esc ends it.

    Nothing else reaches the scene meanwhile, and undo takes all of it back at once. Called from a script, or from
    *Adjust Last Operation*, it is done when the call returns.
    """

    refusals: tuple[type[Exception], ...] = ()
    """What `pieces` raises where it cannot be done: a sentence."""

    stops = True
    """Whether Esc ends it: not where half of it would be worse than a moment's wait."""

    _pieces: Pieces
    _timer: bpy.types.Timer

    def pieces(self, context: bpy.types.Context) -> Pieces:
        """The work. Where Esc may close it, what changes the file comes last, or is taken back in `finally`."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Do it all."""
        self._pieces = self.pieces(context)
        return self._work(context, math.inf) or {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        """Do the first piece, as what is refused is refused at once; then go on by and by."""
        self._pieces = self.pieces(context)
        if (result := self._work(context, 0.0)) is not None:
            return result
        self._timer = context.window_manager.event_timer_add(TICK_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """The next pieces."""
        if event.type == "ESC" and self.stops:
            self.cancel(context)
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"RUNNING_MODAL"}
        result = self._work(context, PIECE_SECONDS)
        if result is None:
            return {"RUNNING_MODAL"}
        self.cancel(context)
        return result

    def cancel(self, context: bpy.types.Context) -> None:
        """End it; Blender calls this when another file is loaded."""
        self._pieces.close()
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)

    def _work(self, context: bpy.types.Context, seconds: float) -> declare.Result | None:
        """Pieces for about that long, one at least; the result, or None where there is more to do."""
        deadline = time.perf_counter() + seconds
        try:
            while True:
                share = next(self._pieces)
                if time.perf_counter() >= deadline:
                    how = " Esc stops it." if self.stops else ""
                    context.workspace.status_text_set(f"{self.bl_label}: {share:.0%}.{how}")
                    return None
        except StopIteration as done:
            self.report({"INFO"}, done.value)
            return {"FINISHED"}
        except self.refusals as problem:
            return refuse(self, f"{str(problem).rstrip('.')}.")


class AsksForFile(ExportHelper):
    """For operators that write a file whose name is asked for first, and then go on as their other bases have it.

    After a file dialog Blender runs `execute`, in which the interface would wait for all of it; so there the operator
    is called once more, with the name.
    """

    named = declare.boolean(options={"HIDDEN", "SKIP_SAVE"})
    """Whether `filepath` is the name, and nothing has to be asked."""
    _asking = False

    def propose(self, context: bpy.types.Context) -> str:
        """The path that the dialog proposes."""
        raise NotImplementedError

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        """Ask for the file's name; with one, begin."""
        if self.named:
            return super(ExportHelper, self).invoke(context, event)  # type: ignore[misc]
        self.filepath = self.propose(context)
        self._asking = True
        return ExportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Do it, or begin after the dialog."""
        if not self._asking:
            return super().execute(context)  # type: ignore[misc]
        operator: Any = self  # an operator's own attributes, which mixins do not show
        wanted = {name: getattr(self, name) for name in operator.properties.keys()}  # noqa: SIM118  # no mapping
        begin = getattr(declare.ops(), type(operator).bl_idname.partition(".")[2])
        begin("INVOKE_DEFAULT", **{**wanted, "named": True})
        return {"FINISHED"}
