"""Operators on things: click, words, another scale, an object of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import bpy
from bpy_extras import view3d_utils
from mathutils import Vector

from .. import declare
from ..cache import storage
from ..cache.frames import CacheError
from ..link import session
from ..link.operators import OnRun
from ..selection import selecting
from ..selection.operators import MODE_ITEMS
from ..sequence import display, sequence
from ..sequence.properties import on_scale_changed
from ..sequence.sequence import Sequence
from ..ui.in_pieces import InPieces, Pieces
from ..ui.operators import NeedsSequence, refuse
from . import pointing, separate
from .pointing import NothingMeantError


class _Pointing(NeedsSequence):
    """For operators that select things."""

    def point(self, context: bpy.types.Context, shown: Sequence) -> str:
        """Do it; a sentence. Raises NothingMeantError or CacheError."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Select, and say what."""
        shown = sequence.meant(context)
        try:
            shown.its.thing_said = self.point(context, shown)
        except (NothingMeantError, CacheError) as nothing:
            shown.its.thing_said = f"{nothing}."
            return refuse(self, f"{nothing}.")
        self.report({"INFO"}, shown.its.thing_said)
        return {"FINISHED"}


class LEGS4D_OT_select_thing(_Pointing, bpy.types.Operator):
    """Select the thing in front along a ray of the scene"""

    bl_idname = "legs4d.select_thing"
    bl_label = "Select Thing"
    bl_options = {"REGISTER", "UNDO"}

    mode = declare.enum("Mode", "What happens to what is selected already", MODE_ITEMS)
    scale = declare.factor(
        "Scale", "Of the things that lie in each other there: 0 the smallest, 1 the largest", default=0.5
    )
    origin = declare.vector("From", "Where the ray begins", options={"HIDDEN", "SKIP_SAVE"})
    direction = declare.vector("Along", "Where it goes", options={"HIDDEN", "SKIP_SAVE"})

    def point(self, context: bpy.types.Context, shown: Sequence) -> str:
        """At what is along the ray."""
        return pointing.click(shown, Vector(self.origin), Vector(self.direction), self.mode, self.scale)


class LEGS4D_OT_click_things(NeedsSequence, bpy.types.Operator):
    """Click on things in the view to select them. Shift: add. Ctrl: subtract. +, −: larger, smaller. Esc: end"""

    bl_idname = "legs4d.click_things"
    bl_label = "Click on Things"

    _started = 0
    """How many were started: the last takes the place of one that still waits."""
    _number: int

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In a 3D view, with a sequence."""
        return super().poll(context) and context.area is not None and context.area.type == "VIEW_3D"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Wait for the mouse; the button may have been pressed in the sidebar."""
        self._number = type(self)._started = type(self)._started + 1
        context.window.cursor_modal_set("EYEDROPPER")
        context.workspace.status_text_set(
            "Click on a thing. Shift: add. Ctrl: subtract. +: larger. −: smaller. Esc or Enter: end."
        )
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Follow the mouse and the keys."""
        if self._number != type(self)._started:
            return {"FINISHED", "PASS_THROUGH"}
        if not self.poll(context):  # its editor is another one now, or the sequence is gone
            self._end(context)
            return {"FINISHED", "PASS_THROUGH"}
        if event.type in ("ESC", "RIGHTMOUSE", "RET", "NUMPAD_ENTER") and event.value == "PRESS":
            self._end(context)
            return {"FINISHED"}
        if event.value == "PRESS" and event.type in _STEPS:
            _call(declare.ops().step_thing, larger=_STEPS[event.type])
            return {"RUNNING_MODAL"}
        region = region_under(context.area, event.mouse_x, event.mouse_y)
        if event.type == "LEFTMOUSE" and event.value == "PRESS" and region is not None:
            mode = "ADD" if event.shift else "SUBTRACT" if event.ctrl else "SET"
            self._click(context, region, (event.mouse_x - region.x, event.mouse_y - region.y), mode)
            return {"RUNNING_MODAL"}
        return {"PASS_THROUGH"}  # the view may be turned, the sidebar used

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file is loaded."""
        self._end(context)

    def _click(self, context: bpy.types.Context, region: Any, here: tuple[int, int], mode: str) -> None:
        origin = view3d_utils.region_2d_to_origin_3d(region, region.data, here)
        direction = view3d_utils.region_2d_to_vector_3d(region, region.data, here)
        scale = sequence.meant(context).its.thing_scale
        _call(declare.ops().select_thing, origin=origin, direction=direction, mode=mode, scale=scale)
        context.area.tag_redraw()

    def _end(self, context: bpy.types.Context) -> None:
        context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)


class LEGS4D_OT_step_thing(_Pointing, bpy.types.Operator):
    """Mean the next larger, or smaller, of the things that lie in each other where you clicked"""

    bl_idname = "legs4d.step_thing"
    bl_label = "Grow or Shrink Thing"
    bl_options = {"REGISTER", "UNDO"}

    larger = declare.boolean("Larger", "The thing that it is a part of; else the part of it", default=True)

    def point(self, context: bpy.types.Context, shown: Sequence) -> str:
        """At the next in size."""
        return pointing.step(shown, self.larger)


class LEGS4D_OT_select_words(OnRun, bpy.types.Operator):
    """Select the things that words mean; of a run with language"""

    bl_idname = "legs4d.select_words"
    bl_label = "Select by Words"

    mode = declare.enum("Mode", "What happens to what is selected already", MODE_ITEMS)
    words = declare.string("Words", "What it is; empty: what the panel says", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Ask; the selection changes when the answer arrives."""
        shown = sequence.meant(context)
        words, mode = (self.words or shown.its.thing_words).strip(), self.mode
        if not words:
            return refuse(self, "Say what to select first.")
        try:
            pointing.table_of(shown)
        except (NothingMeantError, CacheError) as nothing:
            return refuse(self, f"{nothing}.")

        def take(now: Sequence, body: Mapping[str, Any]) -> None:
            try:
                now.its.thing_said = pointing.choose_segments(now, body["segments"], mode, body["answering"])
            except (NothingMeantError, CacheError) as nothing:
                now.its.thing_said = f"{nothing}."

        session.current.things.ask(shown, words, take)
        return {"FINISHED"}


class LEGS4D_OT_separate(InPieces, NeedsSequence, bpy.types.Operator):
    """Make what is selected an object of its own, with its origin in its middle: move it, key it, render it alone"""

    bl_idname = "legs4d.separate"
    bl_label = "Separate"
    bl_options = {"REGISTER", "UNDO"}
    refusals = (NothingMeantError, CacheError)
    stops = False

    name = declare.string("Name", "Of the new object; empty: what is selected", options={"SKIP_SAVE"})

    def pieces(self, context: bpy.types.Context) -> Pieces:
        """Copy, and delete from each what the other has."""
        shown = sequence.meant(context)
        if not selecting.is_anything(shown):
            raise NothingMeantError("Nothing is selected; select points or a thing first")
        if shown.loose_object is None and len(set(selecting.counts(shown))) == 1:
            raise NothingMeantError("All that shows is selected, so that nothing would be left; duplicate the object")
        label = self.name.strip() or pointing.title(shown) or f"{shown.empty.name} part"
        for item in context.selected_objects:
            item.select_set(False)
        made = yield from separate.separate(shown, label)
        display.update(made.empty)
        for part in (made.empty, *made.objects):
            part.select_set(True)
        layer: Any = context.view_layer
        layer.objects.active = made.empty
        origin = " Its origin stays, as keys, drivers or constraints place it." if separate.is_led(made.empty) else ""
        return f"'{made.empty.name}' is an object of its own; '{shown.empty.name}' has the rest.{origin}"


class LEGS4D_OT_find_things(OnRun, bpy.types.Operator):
    """Have the backend take the run apart into things by the masks of its footage; goes on when Blender is closed"""

    bl_idname = "legs4d.find_things"
    bl_label = "Find Things"

    again = declare.boolean("Again", "Anew, where the run has some", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Submit the job."""
        session.current.jobs.segments(sequence.meant(context).its.run, self.again)
        return {"FINISHED"}


class LEGS4D_OT_fetch_things(OnRun, bpy.types.Operator):
    """Fetch the things and selections that the run has now"""

    bl_idname = "legs4d.fetch_things"
    bl_label = "Fetch Things"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Ask for them."""
        try:
            session.current.things.fetch(storage.find(sequence.meant(context).empty))
        except CacheError as problem:
            return refuse(self, f"{problem}.")
        return {"FINISHED"}


def region_under(area: Any, x: int, y: int) -> Any:
    """The region of the view that is at a place of the window; None where the sidebar, or another, lies over it."""
    there = [
        one
        for one in area.regions
        if min(one.width, one.height) > 1 and 0 <= x - one.x < one.width and 0 <= y - one.y < one.height
    ]
    return there[0] if there and all(one.type == "WINDOW" for one in there) else None


def register() -> None:
    """Follow the slider."""
    on_scale_changed.append(_rescaled)


def unregister() -> None:
    """No more."""
    on_scale_changed.remove(_rescaled)


def _rescaled(empty: bpy.types.Object) -> None:
    shown = Sequence(empty)
    if not shown.its.pointed:
        return
    try:
        shown.its.thing_said = pointing.rescale(shown, shown.its.thing_scale)
    except (NothingMeantError, CacheError) as nothing:
        shown.its.thing_said = f"{nothing}."


def _call(operator: Callable[..., Any], **values: Any) -> None:
    """Call an operator as a step of its own; what it refuses it has said."""
    operator("EXEC_DEFAULT", True, **values)


_STEPS = {"NUMPAD_PLUS": True, "PLUS": True, "EQUAL": True, "NUMPAD_MINUS": False, "MINUS": False}

CLASSES = (
    LEGS4D_OT_select_thing,
    LEGS4D_OT_click_things,
    LEGS4D_OT_step_thing,
    LEGS4D_OT_select_words,
    LEGS4D_OT_separate,
    LEGS4D_OT_find_things,
    LEGS4D_OT_fetch_things,
)
