"""Operators on motions of objects: a file becomes keys, and what is animated here a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ImportHelper

from .. import declare
from ..sequence import playback, sequence
from ..ui.in_pieces import AsksForFile, InPieces, Pieces
from ..ui.operators import NeedsSequence, refuse
from . import motion
from .motion import MotionError

_PATTERN = "*.json"


class LEGS4D_OT_apply_motion(NeedsSequence, ImportHelper, bpy.types.Operator):
    """Key location and rotation of the sequence as a file says, the motion.json of `legs4d animate`, and nodes where \
it bends"""

    bl_idname = "legs4d.apply_motion"
    bl_label = "Apply Motion"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob = declare.string(default=_PATTERN, options={"HIDDEN"})
    start_frame = declare.integer(
        "Start", "Scene frame of the motion's first; unless set, the sequence's first", options={"SKIP_SAVE"}
    )
    real_time = declare.boolean(
        "Real Time", "As fast as it was filmed; else a frame of it each scene frame, as captures play"
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        """Asks for the file."""
        declare.put(self, start_frame=sequence.meant(context).its.start_frame)
        return ImportHelper.invoke(self, context, event)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Set the keys, and say where."""
        shown, scene = sequence.meant(context), context.scene
        start = self.start_frame if self.properties.is_property_set("start_frame") else shown.its.start_frame
        try:
            found = motion.load(_path(self))
            step = scene.render.fps / scene.render.fps_base / found.fps if self.real_time else 1.0
            motion.apply(shown, found, start, step)
        except MotionError as problem:
            return refuse(self, str(problem))
        context.view_layer.update()
        playback.refresh(shown.empty)
        last = start + step * (len(found.moves) - 1)
        self.report({"INFO"}, f"'{shown.empty.name}' moves from frame {start} to {last:.0f}.")
        return {"FINISHED"}


class LEGS4D_OT_export_motion(AsksForFile, InPieces, bpy.types.Operator):
    """Write how the active object moves over the scene's frames, for `legs4d animate --motion FILE`: an empty, or an \
object of splats. In the first frame it is at rest"""

    bl_idname = "legs4d.export_motion"
    bl_label = "Export Motion"
    filename_ext = ".json"
    refusals = (MotionError,)

    filter_glob = declare.string(default=_PATTERN, options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With an object, in a scene with a sequence."""
        if context.active_object is not None and sequence.find(context.scene):
            return True
        cls.poll_message_set("Import a run, and make the object active that moves")
        return False

    def propose(self, context: bpy.types.Context) -> str:
        """Beside the file, by the object's name."""
        return str(Path(bpy.data.filepath).parent / f"{bpy.path.clean_name(_meant(context).name)}.json")

    def pieces(self, context: bpy.types.Context) -> Pieces:
        """Write it, and say how long it is."""
        item = _meant(context)
        shown = motion.axes_of(context, item)
        if shown is None:
            raise MotionError(f"Select the run's object as well: it is not clear in which '{item.name}' moves.")
        count = yield from motion.export(context.scene, item, shown, _path(self))
        return f"Written: {count} frames of '{item.name}'. {motion.untold(item, shown)}".rstrip()


def _meant(context: bpy.types.Context) -> bpy.types.Object:
    """The active object; of a cloud its sequence, which is what moves."""
    item = context.active_object
    assert item is not None
    owners = [one.empty for one in sequence.find(context.scene) if item in one.objects]
    return owners[0] if owners else item


def _path(operator: Any) -> Path:
    return Path(bpy.path.abspath(str(operator.filepath)))


CLASSES = (LEGS4D_OT_apply_motion, LEGS4D_OT_export_motion)
