"""Splat files dropped into the 3D view or chosen in File > Import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import ImportHelper

from .. import declare
from ..link import session
from ..portable.files import SUFFIXES
from . import plan
from .plan import BY_BACKEND, Plan, PlanProblem

DROPPED = (*SUFFIXES, ".sog")
"""Endings that are read when a file is dropped; glTF and USD have importers of Blender's own, .npz is anything."""
PATTERN = ";".join(f"*{suffix}" for suffix in (*SUFFIXES, *BY_BACKEND))
_UPS: dict[str, plan.Triple] = {
    "-Y": (0.0, -1.0, 0.0),
    "Y": (0.0, 1.0, 0.0),
    "Z": (0.0, 0.0, 1.0),
    "-Z": (0.0, 0.0, -1.0),
    "X": (1.0, 0.0, 0.0),
    "-X": (-1.0, 0.0, 0.0),
}


class LEGS4D_OT_import_splats(bpy.types.Operator, ImportHelper):
    """Import Gaussian splats: one file, or several that are a frame each"""

    bl_idname = "legs4d.import_splats"
    bl_label = "Gaussian Splats (.ply .spz .splat)"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob = declare.string(default=PATTERN, options={"HIDDEN"})
    directory = declare.string(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files = declare.collection(bpy.types.OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})
    up = declare.enum(
        "Up",
        "Which direction of the files is up",
        [
            ("AUTO", "As the Format Has It", "What the file says, or the rule of its format"),
            *((name, name, f"{name} of the files points up") for name in _UPS),
        ],
    )
    fps = declare.number("Frame Rate", "Files per second", default=30.0, min=0.001, max=10_000.0)
    whole = declare.boolean(
        "Whole Sequence",
        "For a single numbered file: all files of its folder that differ from it by their number alone",
    )
    start_frame = declare.integer("Start", "Scene frame that shows the first file", default=1)
    set_range = declare.boolean("Set Frame Range", "Set the scene's frame range to that of the files", default=True)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Any:
        """Asks for files; for dropped ones, how to read them."""
        return self.invoke_popup(context)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Begins to read them; in Blender without a window it returns when they are read."""
        imports = session.current.imports
        try:
            wanted = self._plan()
            if wanted.by_backend:
                session.current.sendings.start(wanted, self.start_frame, self.set_range)
                return {"FINISHED"}
            imports.start(wanted, self.start_frame, self.set_range)
        except (PlanProblem, OSError) as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        if bpy.app.background:
            imports.wait()
            if imports.message:
                self.report({"WARNING"}, imports.message)
        return {"FINISHED"}

    def _plan(self) -> Plan:
        names = [item.name for item in self.files if item.name]
        picked: str = self.filepath  # type: ignore[attr-defined]  # ImportHelper's
        chosen = Path(picked) if picked else None
        folder = Path(self.directory) if self.directory else (chosen.parent if chosen else Path())
        if not names and chosen is not None and chosen.is_dir():
            folder = chosen
        elif not names and chosen is not None and chosen.name:
            folder, names = chosen.parent, [chosen.name]
        return plan.make(folder.resolve(), names, self.fps, _UPS.get(self.up), whole=self.whole)


class LEGS4D_OT_cancel_splats(bpy.types.Operator):
    """Stop reading files of which nothing shows yet"""

    bl_idname = "legs4d.cancel_splats"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        session.current.imports.cancel_opening()
        session.current.sendings.cancel()
        return {"FINISHED"}


class LEGS4D_FH_splats(bpy.types.FileHandler):
    """Splat files dropped into a 3D view, or onto the outliner."""

    bl_idname = "LEGS4D_FH_splats"
    bl_label = "4-LEGS Gaussian Splats"
    bl_import_operator = LEGS4D_OT_import_splats.bl_idname
    bl_file_extensions = ";".join(DROPPED)

    @classmethod
    def poll_drop(cls, context: Any) -> bool:
        return context.area is not None and context.area.type in {"VIEW_3D", "OUTLINER"}


def draw_menu(menu: Any, context: bpy.types.Context) -> None:
    """An entry of File > Import."""
    menu.layout.operator(LEGS4D_OT_import_splats.bl_idname)


CLASSES = (LEGS4D_OT_import_splats, LEGS4D_OT_cancel_splats, LEGS4D_FH_splats)
