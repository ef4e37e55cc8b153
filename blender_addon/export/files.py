"""Exports by the File menu and by the command line: the same settings, a folder or file chosen at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bpy

from .. import declare
from ..sequence import sequence
from ..sequence.rendering import RenderProblem
from ..ui.in_pieces import AsksForFile
from ..ui.operators import NeedsSequence
from .native import Bake
from .operators import KINDS, SequenceExport
from .properties import settings_of

COMMAND = "legs4d_export"


class LEGS4D_OT_export_to(NeedsSequence, bpy.types.Operator):
    """Export the sequence with the settings of the Export panel into a folder that is chosen now"""

    bl_idname = "legs4d.export_to"
    bl_label = "4-LEGS Layers (PNG, EXR, PLY, SPZ, OTIO)"
    edits = False

    directory = declare.string("Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Asks for the folder."""
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Starts the export: in the background where there is a window."""
        settings_of(context.scene).folder = self.directory
        return declare.ops().export("EXEC_DEFAULT" if bpy.app.background else "INVOKE_DEFAULT")


class LEGS4D_OT_bake(AsksForFile, SequenceExport, bpy.types.Operator):
    """Save a file that plays and renders this sequence without the add-on, with its points in a folder beside it"""

    bl_idname = "legs4d.bake"
    bl_label = "4-LEGS Native Blend"
    filename_ext = ".blend"

    filter_glob = declare.string(default="*.blend", options={"HIDDEN"})

    def propose(self, context: bpy.types.Context) -> str:
        """A new file: this one must not be replaced."""
        here = Path(bpy.data.filepath or f"{sequence.meant(context).empty.name}.blend")
        return str(here.with_name(f"{here.stem}_native.blend"))

    def make_job(self, context: bpy.types.Context) -> Bake:
        """The bake that was asked for."""
        return Bake(context.scene, context.view_layer, sequence.meant(context), self._target())

    def completed(self, context: bpy.types.Context) -> None:
        """Says where it is."""
        self.show(context, 0.0, f"Baked into {self._target()}")

    def _target(self) -> Path:
        return Path(self.filepath)


def draw_menu(menu: Any, context: bpy.types.Context) -> None:
    """Entries of File > Export."""
    menu.layout.operator(LEGS4D_OT_export_to.bl_idname)
    menu.layout.operator(LEGS4D_OT_bake.bl_idname)
    menu.layout.operator("legs4d.export_usd")


def run_command(arguments: list[str]) -> int:
    """`blender FILE.blend --command legs4d_export …`; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"blender FILE.blend --command {COMMAND}", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder, or with --native the .blend to write")
    kinds = [name.removeprefix("use_") for name in (*KINDS, "use_json", "use_otio")]
    parser.add_argument("--write", nargs="+", choices=kinds, help="default: what the file's Export panel says")
    parser.add_argument("--frames", nargs=2, type=int, metavar=("FIRST", "LAST"), help="default: as the panel says")
    parser.add_argument("--template", help="file names: {name} {frame} {scene} {camera}")
    parser.add_argument("--native", action="store_true", help="bake a file that needs no add-on")
    options = parser.parse_args(arguments)
    try:
        if options.native:
            declare.ops().bake(filepath=str(options.out.resolve()))
        else:
            _follow(bpy.context.scene, options, kinds)
            declare.ops().export()
    except (RuntimeError, RenderProblem) as error:
        print(f"{COMMAND}: {str(error).removeprefix('Error: ').strip()}")
        return 1
    print(settings_of(bpy.context.scene).message)
    return 0


def _follow(scene: bpy.types.Scene, options: argparse.Namespace, kinds: list[str]) -> None:
    settings = settings_of(scene)
    settings.folder = str(options.out.resolve())
    for kind in kinds if options.write else ():
        setattr(settings, f"use_{kind}", kind in options.write)
    if options.frames:
        settings.span, (settings.frame_start, settings.frame_end) = "CUSTOM", options.frames
    if options.template:
        settings.template = options.template


CLASSES = (LEGS4D_OT_export_to, LEGS4D_OT_bake)
