"""The export operator, thin over `job.Export`, and its panel section."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..sequence import sequence, timing
from ..sequence.rendering import RenderOperator, RenderProblem, folder_at
from ..ui.text import sentence
from .job import Export, Wanted
from .properties import settings_of

KINDS = {
    "use_png": ".png",
    "use_exr": ".exr",
    "use_masks": "masks",
    "use_movie": "movie",
    "use_ply": ".ply",
    "use_spz": ".spz",
}
SPLIT = 0.4
"""Of a row, left of it its name stands: as Blender splits properties."""
BESIDE = "//export"
"""The folder that is meant where none is chosen."""


def folder(scene: bpy.types.Scene) -> Path:
    """Where the files go. RenderProblem if that depends on a file that has no place yet."""
    return folder_at(settings_of(scene).folder or BESIDE)


def wanted(scene: bpy.types.Scene) -> Wanted:
    """What the scene's settings ask for. RenderProblem if they cannot be followed."""
    settings = settings_of(scene)
    return Wanted(
        folder=folder(scene),
        template=settings.template,
        frames=frames(scene),
        kinds=tuple(kind for name, kind in KINDS.items() if getattr(settings, name)),
        intervals=settings.use_json,
        cuts=settings.use_otio,
        overwrite=settings.overwrite,
        depth=settings.depth,
        baked=settings.highlight == "COLOR",
        codec=settings.codec,
    )


def frames(scene: bpy.types.Scene) -> tuple[int, ...]:
    """The frames that the settings ask for, in the scene's steps. RenderProblem if there are no markers to go by."""
    settings = settings_of(scene)
    first, last = scene.frame_start, scene.frame_end
    if settings.span == "CUSTOM":
        first, last = settings.frame_start, settings.frame_end
    elif settings.span == "MARKERS":
        markers = [m.frame for m in scene.timeline_markers if m.select] or [m.frame for m in scene.timeline_markers]
        if not markers:
            raise RenderProblem("There are no timeline markers; ask a prompt, add markers, or choose another range.")
        first, last = (timing.frame_at(scene, frame) for frame in (min(markers), max(markers)))
    return tuple(range(first, last + 1, scene.frame_step))


class SequenceExport(RenderOperator):
    """For exports of the sequence that is meant; the panel section shows how far they are."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if sequence.active(context) is None:
            cls.poll_message_set("Import a run, or select the sequence to export")
            return False
        return super().poll(context)

    def show(self, context: bpy.types.Context, progress: float, message: str) -> None:
        """In the panel section."""
        settings = settings_of(context.scene)
        settings.progress, settings.message = progress, message


class LEGS4D_OT_export(SequenceExport, bpy.types.Operator):
    """Render the current camera over a range of frames, with mattes of the prompt layers, and write what was found"""

    bl_idname = "legs4d.export"
    bl_label = "Export"

    def make_job(self, context: bpy.types.Context) -> Export:
        """The export that the settings ask for."""
        return Export(context.scene, context.view_layer, sequence.meant(context), wanted(context.scene))

    def completed(self, context: bpy.types.Context) -> None:
        """Says where the files are."""
        self.show(context, 0.0, f"Exported into {folder(context.scene)}")


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draws the section into a panel of the sidebar."""
    settings = settings_of(context.scene)
    layout.use_property_split = True
    layout.use_property_decorate = False
    for heading, options in (
        ("Images", ("use_png", "use_exr", "use_masks", "use_movie")),
        ("Points", ("use_ply", "use_spz")),
        ("Prompts", ("use_json", "use_otio")),
    ):
        # Not `row(heading=)`: Blender puts that between the buttons of a grid.
        named = layout.split(factor=SPLIT)
        title = named.column()
        title.alignment = "RIGHT"
        title.label(text=heading)
        grid = named.grid_flow(row_major=True, columns=2, even_columns=True, align=True)
        grid.use_property_split = False
        for name in options:
            grid.prop(settings, name, toggle=True)
    column = layout.column()
    if settings.use_exr:
        column.row().prop(settings, "depth", expand=True)
    if settings.use_movie:
        column.row().prop(settings, "codec", expand=True)
    if settings.use_ply or settings.use_spz:
        column.prop(settings, "highlight")
    column.prop(settings, "span")
    if settings.span == "CUSTOM":
        pair = column.row(align=True)
        pair.prop(settings, "frame_start", text="Range")
        pair.prop(settings, "frame_end", text="")
    beside = "export, beside the file" if bpy.data.filepath else "choose one"
    column.prop(settings, "folder", placeholder=beside)
    column.prop(settings, "template")
    column.prop(settings, "overwrite")
    if settings.progress:
        layout.progress(factor=settings.progress, text=settings.message)
    else:
        layout.operator("legs4d.export", icon="RENDER_ANIMATION")
        layout.operator("legs4d.bake", text="Bake to Native…", icon="FILE_BLEND")
        layout.operator("legs4d.export_usd", text="Points as USD…", icon="FILE")
        sentence(layout, context, "Blender's own USD and Alembic lose points that a sequence moves.", "INFO")
        if settings.message:
            sentence(layout, context, settings.message, "INFO")


CLASSES = (LEGS4D_OT_export,)
