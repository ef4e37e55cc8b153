"""Animated points as USD, written here as text.

Blender's own exporters of USD and Alembic take points as they are before or after all frames, not as a frame-change
handler moves them: USD stands still, Alembic has nothing (seen in 5.2.3). So this goes through the frames itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from .. import declare
from ..cache.missing import missing
from ..engine.properties import settings_of
from ..portable.look import NUMPY
from ..portable.values import SH_C0
from ..sequence import sequence, timing
from ..sequence.rendering import Job, RenderProblem
from ..sequence.sequence import Sequence
from ..ui.in_pieces import AsksForFile
from . import gaussians
from .operators import SequenceExport

Array = np.ndarray[Any, Any]

ATTRIBUTES = {
    "points": "point3f[] points",
    "widths": "float[] widths",
    "colors": "color3f[] primvars:displayColor",
    "opacities": "float[] primvars:displayOpacity",
}
"""Name of the scratch file, and what USD calls what is in it."""
PRIMVAR = ' (\n            interpolation = "vertex"\n        )'
WIDTH = 2.0
"""Standard deviations that a point is wide: on each side one, of the mean of its three."""


class UsdExport(Job):
    """Writes the points of each scene frame into one `.usda`; see `rendering.Job` for how.

    Args:
        shown: the sequence.
        target: the file, replaced if it is there.
    """

    renders = False

    def __init__(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, shown: Sequence, target: Path) -> None:
        self.frames = range(scene.frame_start, scene.frame_end + 1)
        super().__init__(scene, view_layer, target.parent, len(self.frames))
        self.shown, self.target = shown, target

    def begin(self) -> None:
        """Checks that there is something to write."""
        if self.shown.deleted:
            raise RenderProblem(f"{self.shown.deleted}.")
        if not self.frames:
            raise RenderProblem("The frame range is empty; choose another one.")
        if not settings_of(self.original).render_missing:
            clocks = [timing.clock(self.original, frame) for frame in self.frames]
            if problem := missing(self.shown, clocks):
                raise RenderProblem(problem)

    def set_up(self) -> None:
        """Nothing to change: nothing is rendered."""

    def remaining(self) -> Iterator[int]:
        """Every frame of the scene."""
        yield from self.frames

    def aim(self, item: int) -> None:
        """Shows a frame."""
        self.scene.frame_set(item)

    def store(self, item: int) -> None:
        """Writes its points, in the scene's axes and the colours that show."""
        looks = self.looks(self.shown)
        splats = gaussians.read(self.shown, timing.clock(self.scene, item), baked=True, looks=looks)
        matrix = np.array(looks.to_world, np.float64)
        unit = abs(np.linalg.det(matrix[:3, :3])) ** (1 / 3)
        values = {
            "points": splats.means @ matrix[:3, :3].T + matrix[:3, 3],
            "widths": splats.scales.mean(axis=1) * unit * WIDTH,
            "colors": NUMPY.linear(np.clip(0.5 + SH_C0 * splats.colors, 0, 1)),
            "opacities": splats.opacities,
        }
        for name, array in values.items():
            with (self.scratch / name).open("a") as stream:
                stream.write(f"            {item}: [{listed(array)}],\n")

    def finish(self) -> None:
        """Puts the frames together."""
        render, first, last = self.original.render, self.frames[0], self.frames[-1]
        part = self.scratch / "whole.usda"
        with part.open("w") as stream:
            stream.write(
                f'#usda 1.0\n(\n    defaultPrim = "{NAME}"\n    upAxis = "Z"\n    metersPerUnit = 1\n'
                f"    startTimeCode = {first}\n    endTimeCode = {last}\n"
                f"    timeCodesPerSecond = {render.fps / render.fps_base:g}\n"
                f"    framesPerSecond = {render.fps / render.fps_base:g}\n)\n\n"
                f'def Xform "{NAME}"\n{{\n    def Points "points"\n    {{\n'
            )
            for name, declared in ATTRIBUTES.items():
                stream.write(f"        {declared}.timeSamples = {{\n")
                with (self.scratch / name).open() as lines:
                    for line in lines:
                        stream.write(line)
                stream.write("        }\n")
            for name in ("displayColor", "displayOpacity"):
                kind = "color3f[]" if name == "displayColor" else "float[]"
                stream.write(f"        {kind} primvars:{name}{PRIMVAR}\n")
            stream.write("    }\n}\n")
        os.replace(part, self.target)


NAME = "sequence"
"""Of the root prim."""


def listed(values: Array) -> str:
    """[N] or [N, 3] numbers as USD has them in text."""
    flat = tuple(np.asarray(values, np.float64).reshape(-1).tolist())
    each = "(%.6g, %.6g, %.6g)" if values.ndim == 2 else "%.6g"
    return ", ".join([each] * len(values)) % flat


class LEGS4D_OT_export_usd(AsksForFile, SequenceExport, bpy.types.Operator):
    """Write the sequence's points over the scene's frames as USD, as they show: without deleted ones, with grades and \
highlight in the colors. Blender's own USD and Alembic exporters lose what a sequence moves. It goes through all \
frames, and takes some 60 bytes a point and frame"""

    bl_idname = "legs4d.export_usd"
    bl_label = "4-LEGS Points (.usda)"
    filename_ext = ".usda"

    filter_glob = declare.string(default="*.usda", options={"HIDDEN"})

    def propose(self, context: bpy.types.Context) -> str:
        """Beside the file, by the sequence's name."""
        name = bpy.path.clean_name(sequence.meant(context).empty.name)
        return str(Path(bpy.data.filepath).parent / f"{name}.usda")

    def make_job(self, context: bpy.types.Context) -> UsdExport:
        """The export that was asked for."""
        return UsdExport(context.scene, context.view_layer, sequence.meant(context), self._target())

    def completed(self, context: bpy.types.Context) -> None:
        """Says where it is."""
        self.show(context, 0.0, f"Written: {self._target()}")

    def _target(self) -> Path:
        return Path(str(getattr(self, "filepath", "")))  # ExportHelper's


CLASSES = (LEGS4D_OT_export_usd,)
