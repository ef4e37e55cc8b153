"""The sidebar tab "4-LEGS". Panels only draw."""

from __future__ import annotations

from typing import Any

import bpy

from .. import capture, declare, effects, export, look
from ..layers import prompt_panel
from ..link import first_run, session
from ..selection import grade_panel
from ..selection import panel as selection_panel
from ..sequence import objects, playback, sequence, timing
from ..splats import sample
from ..things import panel as things_panel
from ..things import video_panel
from ..whole import libraries
from . import preferences
from .properties import JobItem, window
from .sidebar import Rows, Sidebar
from .text import sentence

MOST_OBJECTS = 30
"""That the panel lists; others are named by their Empty (F3, *Name Object*)."""
_JOB_ICONS: dict[str, declare.Icon] = {
    "queued": "SORTTIME",
    "running": "PLAY",
    "cancelling": "SORTTIME",
    "done": "CHECKMARK",
    "failed": "ERROR",
    "cancelled": "X",
}


class LEGS4D_UL_runs(Rows, bpy.types.UIList):
    """The backend's runs."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        if item.problem:
            row.label(text=item.name, icon="ERROR")
            return
        row.label(text=item.name, icon="POINTCLOUD_DATA" if item.finished else "SORTTIME")
        details = row.row()
        details.alignment = "RIGHT"
        details.active = False
        details.label(text=f"{item.frames} × {short_count(item.points)}")


class LEGS4D_PT_backend(Sidebar, bpy.types.Panel):
    """The connection."""

    bl_label = "Backend"

    def draw(self, context: bpy.types.Context) -> None:
        layout, link, chosen = self.layout, session.current.link, preferences.get()
        step = first_run.step()
        sentence(layout, context, step.sentence, step.icon)
        if link.message:
            sentence(layout, context, link.message, "INFO")
        row = layout.row(align=True)
        row.operator(step.operator, text=step.text, icon=step.button_icon)
        if step.operator == "legs4d.start_backend" and chosen.root:
            row.operator("legs4d.choose_root", text="", icon="FILE_FOLDER")
        if sample.is_there() and not link.ready:  # whatever is imported: rows below stay where they are
            layout.operator("legs4d.open_sample", icon="OUTLINER_OB_POINTCLOUD")


class LEGS4D_PT_sequence(Sidebar, bpy.types.Panel):
    """Runs, and the sequence that is meant."""

    bl_label = "Sequence"

    def draw(self, context: bpy.types.Context) -> None:
        layout, shown = self.layout, window()
        row = layout.row()
        row.template_list("LEGS4D_UL_runs", "", shown, "runs", shown, "active_run", rows=3)
        row.operator("legs4d.refresh", text="", icon="FILE_REFRESH")
        if shown.active_run < len(shown.runs) and (problem := shown.runs[shown.active_run].problem):
            sentence(layout, context, problem, "ERROR")
        importing = bool(session.current.runs.opening)
        layout.operator("legs4d.import_run", text="Opening…" if importing else "Import", icon="IMPORT")
        layout.operator("legs4d.import_splats", text="Import Splat Files…", icon="FILE")
        self._draw_arriving(context)
        found = sequence.active(context)
        if found is not None:
            self._draw_sequence(context, found)

    def _draw_arriving(self, context: bpy.types.Context) -> None:
        """Splat files of which nothing shows yet."""
        imports, sendings = session.current.imports, session.current.sendings
        arriving = [(f"Reading {plan.title}…", 0.0) for plan in imports.opening]
        if sendings.state:
            arriving.append((sendings.state, sendings.share))
        for label, factor in arriving:
            row = self.layout.row(align=True)
            row.progress(factor=factor, text=label)
            row.operator("legs4d.cancel_splats", text="", icon="X")
        if imports.message:
            sentence(self.layout, context, imports.message, "ERROR")

    def _draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        layout, its = self.layout, found.its
        box = layout.box()
        transfer = session.current.transfers.get(its.run_id)
        reading = session.current.imports.get(its.run_id)
        row, name = box.row(align=True), found.empty.name
        if transfer is not None:  # instead of the name: nothing below moves when it begins or ends
            there = its.num_frames - transfer.missing
            waiting = "" if transfer.request else " (waiting)"
            row.progress(factor=there / max(its.num_frames, 1), text=f"{name}: {there} of {its.num_frames}{waiting}")
        elif reading is not None:
            done, total = reading.reading.done, reading.reading.total
            row.progress(factor=done / total, text=f"{name}: file {done} of {total}")
        else:
            row.label(text=name, icon="OUTLINER_OB_POINTCLOUD")
        if transfer is not None or reading is not None:
            row.operator("legs4d.cancel_fetch", text="", icon="X")
        look.draw(box, context)
        if problem := playback.message(found.empty):
            sentence(box, context, problem, "ERROR")
            if transfer is None and reading is None:
                box.operator("legs4d.fetch", icon="IMPORT")
        if found.locked or libraries.instancer(context.scene, found.empty) is not None:
            sentence(box, context, f"{found.locked or 'It is shown by an instance of its collection'}.", "LINKED")
            box.operator("legs4d.make_local")
        self._draw_objects(box, found)
        column = box.column()
        column.use_property_split = True
        column.use_property_decorate = False
        start = column.row()
        start.enabled = not timing.is_timed(found.empty)  # the time curve says it
        start.prop(its, "start_frame")
        column.row().prop(its, "viewport", expand=True)
        column.prop(its, "detail")
        column.prop(its, "largest")
        column.prop(its, "slenderness")
        if its.num_sh:
            column.prop(its, "degree")
        if its.num_dynamic and its.num_frames > 1:
            column.prop(its, "averaging")
        column.prop(its, "as_one")

    def _draw_objects(self, box: Any, found: sequence.Sequence) -> None:
        """What the run knows of things, and what each is called."""
        column = box.column(align=True)
        for empty in objects.objects_of(found)[:MOST_OBJECTS]:
            row = column.row(align=True)
            row.label(text=empty.name, icon="EMPTY_ARROWS")
            row.operator("legs4d.name_object", text="", icon="GREASEPENCIL").empty = empty.name


class LEGS4D_PT_training(Sidebar, bpy.types.Panel):
    """Training a dataset, and the backend's jobs."""

    bl_label = "Training"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, form = self.layout, window()
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row(align=True)
        row.prop_search(form, "train_dataset", form, "datasets", icon="FILE_FOLDER")
        row.operator("legs4d.choose_dataset", text="", icon="FILEBROWSER")
        default = f"{form.train_dataset}-run" if form.train_dataset else ""
        column.prop(form, "train_out", placeholder=default)
        column.row().prop(form, "train_preset", expand=True)
        column.prop(form, "train_scale")
        column.prop(form, "train_encoder", placeholder="default")
        row = layout.row(align=True)
        row.operator("legs4d.train", icon="PLAY")
        row.operator("legs4d.lift", text="Lift Selected Run", icon="OUTLINER_OB_FONT")
        layout.operator("legs4d.make_objects", icon="MESH_MONKEY")
        if form.train_differs:
            box = layout.box()
            sentence(box, context, form.train_differs)
            box.operator("legs4d.make_anew", icon="FILE_REFRESH").request = form.train_again
        for job in list(form.jobs)[:JOBS_SHOWN]:
            self._draw_job(context, job)

    def _draw_job(self, context: bpy.types.Context, job: JobItem) -> None:
        box = self.layout.box()
        row = box.row(align=True)
        row.label(text=job.label, icon=_JOB_ICONS.get(job.state, "QUESTION"))
        row.operator("legs4d.job_log", text="", icon="TEXT", depress=job.show_log).job = job.name
        if job.state in {"queued", "running"}:
            row.operator("legs4d.cancel_job", text="", icon="X").job = job.name
            stage = job.stage.replace("_", " ").capitalize() or job.state.capitalize()
            text = f"{stage} {job.done} / {job.total}{_time_left(job.seconds_left)}"
            box.progress(factor=job.done / max(job.total, 1), text=text)
        elif job.message or job.state == "failed":
            sentence(box, context, job.message or "It failed; the backend's log says why.")
        if job.needs_boxes:
            box.operator("legs4d.draw_boxes", icon="SELECT_SET")
        if job.again:
            box.operator("legs4d.make_anew", icon="FILE_REFRESH").request = job.again
        if job.show_log:
            lines = box.column(align=True)
            lines.scale_y = 0.7
            for line in job.log.splitlines() or ["The log is empty."]:
                lines.label(text=line)


class LEGS4D_PT_export(Sidebar, bpy.types.Panel):
    """Export for compositing."""

    bl_label = "Export"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        export.draw(self.layout, context)


class LEGS4D_PT_capture(Sidebar, bpy.types.Panel):
    """Making a dataset of a Blender scene."""

    bl_label = "Capture"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        capture.draw(self.layout, context)


JOBS_SHOWN = 5


def short_count(number: int) -> str:
    """300000 as "300k"."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _time_left(seconds: float) -> str:
    if seconds < 0:
        return ""
    return f", {seconds / 60:.0f} min left" if seconds >= 90 else f", {seconds:.0f} s left"


CLASSES = (
    LEGS4D_UL_runs,
    LEGS4D_PT_backend,
    LEGS4D_PT_sequence,
    *prompt_panel.CLASSES,
    *things_panel.CLASSES,
    *selection_panel.CLASSES,
    *grade_panel.CLASSES,
    *effects.PANELS,
    LEGS4D_PT_training,
    *video_panel.CLASSES,
    LEGS4D_PT_export,
    LEGS4D_PT_capture,
)
