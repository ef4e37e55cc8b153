"""Box, lasso and circle in a 3D view, in object mode: Blender's own select objects there, and points in edit mode only.

The gesture ends in `legs4d.select_screen`, which does the work, so that scripts and Adjust Last Operation have it too.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from .. import declare
from ..ui.operators import NeedsSequence

LINE_COLOR = (1.0, 1.0, 1.0, 0.9)
SHAPES = [
    ("BOX", "Box", "Drag a rectangle"),
    ("LASSO", "Lasso", "Draw around them"),
    ("CIRCLE", "Circle", "Drag from the middle to the edge of a circle"),
]
CIRCLE_CORNERS = 32
LEAST_PIXELS = 3
"""That a lasso's corners are apart."""

Corner = tuple[float, float]


class LEGS4D_OT_select_gesture(NeedsSequence, bpy.types.Operator):
    """Select points of the sequence with the mouse. Shift adds, Ctrl subtracts; Esc ends without selecting"""

    bl_idname = "legs4d.select_gesture"
    bl_label = "Select Points with the Mouse"

    shape = declare.enum("Shape", items=SHAPES)

    _handle: Any = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In a 3D view, with a sequence."""
        return super().poll(context) and context.area is not None and context.area.type == "VIEW_3D"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Wait for the mouse; the button may have been pressed in the sidebar."""
        area: Any = context.area
        self._region = next((one for one in area.regions if one.type == "WINDOW"), None)
        if self._region is None:
            return {"CANCELLED"}
        self._corners: list[Corner] = []
        self._handle = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set("Drag to select points. Shift: add. Ctrl: subtract. Esc: cancel.")
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Follow the mouse."""
        here = (float(event.mouse_x - self._region.x), float(event.mouse_y - self._region.y))
        if event.type in ("ESC", "RIGHTMOUSE"):
            self._end(context)
            return {"CANCELLED"}
        if event.type == "LEFTMOUSE" and event.value == "PRESS":
            self._corners = [here, here]
        elif event.type == "MOUSEMOVE" and self._corners:
            self._follow(here)
            self._region.tag_redraw()
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE" and self._corners:
            self._follow(here)  # a quick drag may have no move of its own before the button comes up
            mode = "ADD" if event.shift else "SUBTRACT" if event.ctrl else "SET"
            outline = self._outline()
            self._end(context)
            with context.temp_override(area=context.area, region=self._region):
                declare.ops().select_screen("EXEC_DEFAULT", True, path=as_path(outline), mode=mode)
            return {"FINISHED"}
        elif event.type in ("MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE"):
            return {"PASS_THROUGH"}  # the view may be turned before
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it: another file is loaded."""
        self._end(context)

    def _follow(self, here: Corner) -> None:
        if self.shape != "LASSO":
            self._corners[1] = here
        elif math.dist(self._corners[-1], here) >= LEAST_PIXELS:
            self._corners.append(here)

    def _outline(self) -> list[Corner]:
        return outline(self.shape, self._corners)

    def _end(self, context: bpy.types.Context) -> None:
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None
        context.window.cursor_modal_restore()
        context.workspace.status_text_set(None)
        self._region.tag_redraw()

    def _draw(self) -> None:
        if len(self._corners) < 2 or bpy.context.region != self._region:
            return
        draw_outline(self._outline())


def draw_outline(corners: list[Corner]) -> None:
    """Draw what the mouse drew, two corners of a box or a polygon, in the region that is being drawn."""
    if len(corners) == 2:
        (left, low), (right, high) = corners
        corners = [(left, low), (right, low), (right, high), (left, high)]
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.uniform_float("color", LINE_COLOR)
    gpu.state.blend_set("ALPHA")
    around = [(*corner, 0.0) for corner in (*corners, corners[0])]
    batch_for_shader(shader, "LINE_STRIP", {"pos": around}).draw(shader)
    gpu.state.blend_set("NONE")


def outline(shape: str, corners: list[Corner]) -> list[Corner]:
    """What the mouse drew, as `legs4d.select_screen` takes it: two corners of a box, or a polygon."""
    if shape != "CIRCLE":
        return corners
    (x, y), edge = corners[0], math.dist(corners[0], corners[-1])
    turns = (2 * math.pi * number / CIRCLE_CORNERS for number in range(CIRCLE_CORNERS))
    return [(x + edge * math.cos(turn), y + edge * math.sin(turn)) for turn in turns]


def as_path(corners: list[Corner]) -> list[dict[str, Any]]:
    """Corners as an operator's `path`."""
    return [{"name": "", "loc": corner, "time": 0.0} for corner in corners]


CLASSES = (LEGS4D_OT_select_gesture,)
