"""Operators that select, delete and hide points of a sequence. Each is undone by undo: the mask is in the file."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from .. import declare, names
from ..cache.frames import CacheError
from ..sequence import sequence
from ..sequence.sequence import Sequence
from ..ui.operators import NeedsSequence, OnLayer, refuse
from . import edits, selecting
from .regions import Region

LOOK_SECONDS = 0.05
"""How often an operator looks whether its thread is done."""
MODE_ITEMS = [(name, says.split(" ")[0], says) for name, says in selecting.MODES.items()]


class _Selecting(NeedsSequence):
    """For operators that change what is selected."""

    bl_options = {"REGISTER", "UNDO"}

    mode = declare.enum("Mode", "What happens to what is selected already", MODE_ITEMS)

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """The region in a cloud's axes; or why there is none, a sentence."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Select, and say how much."""
        shown = sequence.meant(context)
        found = self.region_of(context, shown)
        if isinstance(found, str):
            return refuse(self, found)
        selecting.choose(shown, found, self.mode)
        self.report({"INFO"}, selecting.said(shown))
        return {"FINISHED"}


class LEGS4D_OT_select_screen(_Selecting, bpy.types.Operator):
    """Select the points inside an outline in this view, near and far ones alike"""

    bl_idname = "legs4d.select_screen"
    bl_label = "Select Inside an Outline"

    path = declare.collection(bpy.types.OperatorMousePath, options={"HIDDEN", "SKIP_SAVE"})

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """The outline as a cone from the eye."""
        view, region = context.region_data, context.region
        if view is None or len(self.path) < 2:
            return "Draw an outline in a 3D view."
        pixels = np.array([point.loc[:] for point in self.path])
        corners = pixels / (max(region.width, 1), max(region.height, 1)) * 2 - 1
        to_clip = view.perspective_matrix.copy()
        return lambda child: Region("SCREEN", np.array(to_clip @ child.matrix_world), corners)


class LEGS4D_OT_select_object(_Selecting, bpy.types.Operator):
    """Select the points inside the bounding box of an object, such as a cube or an empty shown as one"""

    bl_idname = "legs4d.select_object"
    bl_label = "Select Inside an Object's Box"

    box = declare.string("Object", "Whose box; empty: the active object", options={"SKIP_SAVE"})

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """The object's bounds, wherever it stands and however it is turned."""
        item = context.scene.objects.get(self.box) if self.box else _box_object(context, shown)
        if item is None:
            return "Select the box too: the sequence, then the object whose box is meant."
        size = item.empty_display_size
        corners = np.array(item.bound_box) if item.type != "EMPTY" else np.array([[-size] * 3, [size] * 3])
        low, high = corners.min(axis=0), corners.max(axis=0)
        if not (high > low).all():
            return f"'{item.name}' is flat; choose an object with a volume."
        middle, half = Matrix.Translation((low + high) / 2), Matrix.Diagonal([*((high - low) / 2).tolist(), 1.0])
        to_box = (item.matrix_world @ middle @ half).inverted_safe()
        return lambda child: Region("BOX", np.array(to_box @ child.matrix_world))


class LEGS4D_OT_select_size(_Selecting, bpy.types.Operator):
    """Select points by size or shape: huge ones that veil the view, needles, dust"""

    bl_idname = "legs4d.select_size"
    bl_label = "Select by Size"

    by = declare.enum(
        "By",
        items=[
            ("SIZE", "Size", "The longest standard deviation, in scene units"),
            ("NEEDLE", "Slenderness", "How many times the longest is the middle standard deviation: needles have 10"),
        ],
    )
    low = declare.number("From", "The least that is selected", min=0.0, default=0.25)
    high = declare.number("To", "The most that is selected; 0: no limit", min=0.0, default=0.0)

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """A range, in each cloud's own units."""

        def region(child: bpy.types.Object) -> Region:
            unit = max(child.matrix_world.median_scale, 1e-12) if self.by == "SIZE" else 1.0
            return Region(self.by, low=self.low / unit, high=self.high / unit if self.high else math.inf)

        return region


class LEGS4D_OT_select_opacity(_Selecting, bpy.types.Operator):
    """Select points by opacity: faint ones make haze"""

    bl_idname = "legs4d.select_opacity"
    bl_label = "Select by Opacity"

    low = declare.factor("From", "The least that is selected", default=0.0)
    high = declare.factor("To", "The most that is selected", default=0.1)

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """A range."""
        return lambda child: Region("OPACITY", low=self.low, high=self.high)


class LEGS4D_OT_select_seen(_Selecting, bpy.types.Operator):
    """Select points by how much of them the footage showed: 0 is invented"""

    bl_idname = "legs4d.select_seen"
    bl_label = "Select by What Was Seen"

    low = declare.factor("From", "The least that is selected", default=0.0)
    high = declare.factor("To", "The most that is selected", default=0.0)

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """A range."""
        if not any(names.SEEN in cloud.attributes for cloud in shown.clouds):
            return "This run does not tell which of its points were seen."
        return lambda child: Region("SEEN", low=self.low, high=self.high)


class LEGS4D_OT_select_layer(OnLayer, _Selecting, bpy.types.Operator):
    """Select the points that the layer's prompt names at this frame, from its threshold on"""

    bl_idname = "legs4d.select_layer"
    bl_label = "Select by Layer"

    def region_of(self, context: bpy.types.Context, shown: Sequence) -> Callable[[bpy.types.Object], Region] | str:
        """The relevancy from the threshold on."""
        region = selecting.layer_region(shown, self.layer(context))
        return (lambda child: region) if region.key else "Ask a prompt first: the layer has no answer."


class LEGS4D_OT_select_all(NeedsSequence, bpy.types.Operator):
    """Select all points, none, or those that are not selected"""

    bl_idname = "legs4d.select_all"
    bl_label = "Select Points"
    bl_options = {"REGISTER", "UNDO"}

    action = declare.enum(
        "Action",
        items=[
            ("ALL", "All", "Every point that shows"),
            ("NONE", "None", "No point"),
            ("INVERT", "Inverted", "Those that show and are not selected"),
        ],
    )

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Select."""
        shown = sequence.meant(context)
        if self.action == "NONE":
            selecting.choose_none(shown)
        else:
            selecting.choose(shown, lambda child: Region("ALL"), "SET" if self.action == "ALL" else "INVERT")
        return {"FINISHED"}


class _Removing(NeedsSequence):
    """For operators that take points out of what shows."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether anything is selected."""
        if not super().poll(context):
            return False
        if not selecting.any_selected(sequence.meant(context)):
            cls.poll_message_set("Select points first")
            return False
        return True

    def remove(self, shown: Sequence) -> int:
        """Do it; how many points of this frame went."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Do it, and say how many points went."""
        gone = self.remove(sequence.meant(context))
        self.report({"INFO"}, f"{gone:,} points show no more; the run has them still.")
        return {"FINISHED"}


class LEGS4D_OT_delete_points(_Removing, bpy.types.Operator):
    """Delete the selected points from everything that shows, renders or exports the sequence. The run keeps them"""

    bl_idname = "legs4d.delete_points"
    bl_label = "Delete Points"

    def remove(self, shown: Sequence) -> int:
        """Delete."""
        return edits.remove(shown, names.DELETED)


class LEGS4D_OT_hide_points(_Removing, bpy.types.Operator):
    """Hide the selected points, in renders and exports too, until they are shown again"""

    bl_idname = "legs4d.hide_points"
    bl_label = "Hide Points"

    others = declare.boolean("Others", "Hide what is not selected", options={"SKIP_SAVE"})

    def remove(self, shown: Sequence) -> int:
        """Hide."""
        return edits.remove(shown, names.HIDDEN, others=self.others)


class LEGS4D_OT_crop_points(_Removing, bpy.types.Operator):
    """Delete all points but the selected ones"""

    bl_idname = "legs4d.crop_points"
    bl_label = "Crop to Selection"

    def remove(self, shown: Sequence) -> int:
        """Delete the others."""
        return edits.remove(shown, names.DELETED, others=True)


class LEGS4D_OT_keep_largest(NeedsSequence, bpy.types.Operator):
    """Delete all but the largest piece that hangs together at this frame: what floats about goes"""

    bl_idname = "legs4d.keep_largest"
    bl_label = "Keep Largest Piece"
    bl_options = {"REGISTER", "UNDO"}

    _uid: int
    _pool: ThreadPoolExecutor
    _piece: Future[edits.LargestPiece]
    _timer: bpy.types.Timer

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Look for it beside the interface."""
        piece = edits.LargestPiece(sequence.meant(context))
        self._uid = sequence.meant(context).empty.session_uid
        self._pool = ThreadPoolExecutor(1)
        self._piece = self._pool.submit(piece.find)
        self._timer = context.window_manager.event_timer_add(LOOK_SECONDS, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Until it is found, or Esc."""
        if event.type != "ESC" and not self._piece.done():
            return {"PASS_THROUGH"}
        self.cancel(context)
        shown = sequence.with_uid(self._uid)
        if event.type == "ESC" or shown is None:
            return {"CANCELLED"}
        return self._keep(self._piece.result(), shown)

    def cancel(self, context: bpy.types.Context) -> None:
        """Look no more; Blender calls it when another file is loaded."""
        context.window_manager.event_timer_remove(self._timer)
        self._pool.shutdown(wait=False)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Delete the others."""
        shown = sequence.meant(context)
        return self._keep(edits.LargestPiece(shown).find(), shown)

    def _keep(self, piece: edits.LargestPiece, shown: Sequence) -> declare.Result:
        self.report({"INFO"}, f"{piece.keep(shown):,} points were in other pieces.")
        return {"FINISHED"}


class LEGS4D_OT_show_points(NeedsSequence, bpy.types.Operator):
    """Show again every point that was hidden, or deleted, or both"""

    bl_idname = "legs4d.show_points"
    bl_label = "Show All Points"
    bl_options = {"REGISTER", "UNDO"}

    what = declare.enum(
        "What",
        items=[
            ("HIDDEN", "Hidden", "What was hidden"),
            ("DELETED", "Deleted", "What was deleted"),
            ("BOTH", "Both", "All that the run has"),
        ],
    )

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Bring them back."""
        shown = sequence.meant(context)
        try:
            for name in names.MASKS:
                if self.what in (name.upper(), "BOTH"):
                    edits.bring_back(shown, name)
        except CacheError as obstacle:
            return refuse(self, f"{obstacle}.")
        return {"FINISHED"}


def _box_object(context: bpy.types.Context, shown: Sequence) -> Any:
    """The object that is selected beside the sequence, else the active one if it is none of the sequence's."""
    own = {shown.empty, *shown.objects}
    others = [item for item in context.selected_objects if item not in own]
    active = context.active_object
    return active if active is not None and active not in own else (others[0] if others else None)


CLASSES = (
    LEGS4D_OT_select_screen,
    LEGS4D_OT_select_object,
    LEGS4D_OT_select_size,
    LEGS4D_OT_select_opacity,
    LEGS4D_OT_select_seen,
    LEGS4D_OT_select_layer,
    LEGS4D_OT_select_all,
    LEGS4D_OT_delete_points,
    LEGS4D_OT_hide_points,
    LEGS4D_OT_crop_points,
    LEGS4D_OT_keep_largest,
    LEGS4D_OT_show_points,
)
