"""Operators on the connection, the backend's runs and its jobs. None waits for the backend."""

from __future__ import annotations

from pathlib import Path

import bpy

from .. import declare
from ..cache.frames import CacheError
from ..sequence import objects, sequence
from ..ui.operators import NeedsSequence, action, refuse
from ..ui.properties import window
from . import session
from .backends import BackendError
from .types import State


def is_ready(operator: type[declare.Operator]) -> bool:
    """Whether a backend listens; else the operator's button says that none does."""
    if not session.current.link.ready:
        operator.poll_message_set("No backend is connected")
        return False
    return True


def selected_run() -> str:
    """The run that is selected in the panel; empty if none is."""
    shown = window()
    return str(shown.runs[shown.active_run].name) if shown.active_run < len(shown.runs) else ""


class NeedsBackend(declare.Operator):
    """For operators that are pointless without a connection."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a backend listens."""
        return is_ready(cls)


class OnRun(NeedsSequence):
    """For operators that ask a backend about the sequence's run."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a sequence of a run, and somebody to ask."""
        if not super().poll(context) or not is_ready(cls):
            return False
        if sequence.meant(context).its.files:
            cls.poll_message_set("This sequence is of files, not of a run of the backend")
            return False
        return True


class LEGS4D_OT_start_backend(bpy.types.Operator):
    """Start a backend on this machine and connect to it; it ends with Blender"""

    bl_idname = "legs4d.start_backend"
    bl_label = "Start"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.current.link.backend is None and not session.current.link.ready

    def execute(self, context: bpy.types.Context) -> declare.Result:
        try:
            session.current.link.start_backend()
        except BackendError as problem:
            session.current.link.message = f"{problem}."
            return refuse(self, f"{problem}.")
        return {"FINISHED"}


class LEGS4D_OT_import_run(NeedsBackend, bpy.types.Operator):
    """Import a run as points that play with the timeline; its frames arrive around the playhead first"""

    bl_idname = "legs4d.import_run"
    bl_label = "Import"

    run = declare.string("Run", "Name of the run at the backend; empty: the one that is selected in the panel")
    start_frame = declare.integer("Start", "Scene frame that shows the first frame of the capture", default=1)
    set_range = declare.boolean("Set Frame Range", "Set the scene's frame range to the capture's", default=True)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        run = self.run or selected_run()
        if not run:
            return refuse(self, "Select a run in the list first.")
        session.current.runs.import_run(run, self.start_frame, self.set_range)
        return {"FINISHED"}


class LEGS4D_OT_fetch(NeedsSequence, bpy.types.Operator):
    """Fetch the frames of this sequence that are not on this machine, or read them from its files again"""

    bl_idname = "legs4d.fetch"
    bl_label = "Fetch"
    edits = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return super().poll(context) and (bool(sequence.meant(context).its.files) or is_ready(cls))

    def execute(self, context: bpy.types.Context) -> declare.Result:
        shown = sequence.meant(context)
        try:
            if shown.its.files:
                session.current.imports.read_again(shown)
            else:
                session.current.runs.fetch_missing(shown)
        except CacheError as problem:
            return refuse(self, f"{problem}.")
        return {"FINISHED"}


class LEGS4D_OT_train(NeedsBackend, bpy.types.Operator):
    """Have the backend reconstruct a dataset; it goes on when Blender is closed"""

    bl_idname = "legs4d.train"
    bl_label = "Train"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        form = window()
        if not form.train_dataset:
            return refuse(self, "Choose a dataset first.")
        out = form.train_out.strip() or f"{form.train_dataset.rstrip('/')}-run"
        session.current.jobs.train(
            form.train_dataset, out, form.train_scale, form.train_encoder.strip(), form.train_preset
        )
        return {"FINISHED"}


class LEGS4D_OT_lift(NeedsBackend, bpy.types.Operator):
    """Have the backend give the run that is selected language, by the encoder that stands here; its footage is looked \
for in the dataset that stands here, or else where it was"""

    bl_idname = "legs4d.lift"
    bl_label = "Lift"

    run = declare.string("Run", "Name of the run at the backend; empty: the one that is selected in the panel")

    def execute(self, context: bpy.types.Context) -> declare.Result:
        form, run = window(), self.run or selected_run()
        if not run:
            return refuse(self, "Select a run in the list first.")
        session.current.jobs.lift(run, form.train_encoder.strip(), form.train_dataset)
        return {"FINISHED"}


class LEGS4D_OT_name_object(OnRun, bpy.types.Operator):
    """Say what this object of the run is, for its Empty and for prompts: "a basketball flying" then finds it"""

    bl_idname = "legs4d.name_object"
    bl_label = "Name Object"

    called = declare.string("Name", "What it is; empty for nothing", options={"SKIP_SAVE"})
    empty = declare.string("Empty", "Its Empty; empty: the active object", options={"SKIP_SAVE", "HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        meant = self._meant(context)
        self.called = "" if meant is None else meant.name
        return declare.windows().invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        meant = self._meant(context)
        if meant is None:
            return refuse(self, "Select the Empty of an object first.")
        name, run = self.called.strip(), sequence.meant(context).its.run
        session.current.jobs.name_object(run, int(meant[objects.NUMBER]), name)
        objects.call(meant, name)
        return {"FINISHED"}

    def _meant(self, context: bpy.types.Context) -> bpy.types.Object | None:
        found = objects.objects_of(sequence.meant(context))
        if self.empty:
            return next((one for one in found if one.name == self.empty), None)
        return next((one for one in found if one == context.active_object), None)


class LEGS4D_OT_make_anew(NeedsBackend, bpy.types.Operator):
    """Make the run anew as it is asked for now; what is there stays until that is done"""

    bl_idname = "legs4d.make_anew"
    bl_label = "Make Anew"

    request = declare.string("Request", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        request = self.request or window().train_again
        if not request:
            return refuse(self, "Nothing was refused.")
        session.current.jobs.make_anew(request)
        return {"FINISHED"}


class LEGS4D_OT_choose_dataset(NeedsBackend, bpy.types.Operator):
    """Choose the dataset's folder on this machine; it has to be under one of the backend's folders"""

    bl_idname = "legs4d.choose_dataset"
    bl_label = "Choose Dataset Folder"

    directory = declare.string("Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        declare.windows().fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        chosen = Path(self.directory).resolve()
        roots = [Path(root) for root in session.current.link.server.get("roots", ())]
        for root in roots:
            if chosen.is_relative_to(root.resolve()):
                window().train_dataset = chosen.relative_to(root.resolve()).as_posix()
                return {"FINISHED"}
        return refuse(self, f"{chosen} is under none of the backend's folders: {', '.join(map(str, roots))}.")


class LEGS4D_OT_job_log(NeedsBackend, bpy.types.Operator):
    """Show or hide the end of the job's log"""

    bl_idname = "legs4d.job_log"
    bl_label = "Log"

    job = declare.string("Job", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        item = window().jobs.get(self.job)
        if item is None:
            return {"CANCELLED"}
        item.show_log = not item.show_log
        if item.show_log:
            session.current.jobs.read_log(self.job)
        return {"FINISHED"}


class LEGS4D_OT_cancel_job(NeedsBackend, bpy.types.Operator):
    """Cancel the job; the frames it finished stay in its run"""

    bl_idname = "legs4d.cancel_job"
    bl_label = "Cancel Job"

    job = declare.string("Job", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> declare.Result:
        session.current.jobs.cancel(self.job)
        return {"FINISHED"}


def _cancel_fetch(context: bpy.types.Context) -> None:
    run_id = sequence.meant(context).its.run_id
    session.current.transfers.cancel(run_id)
    session.current.imports.cancel(run_id)


CLASSES = (
    LEGS4D_OT_start_backend,
    action(
        "stop_backend",
        "Stop",
        "Stop the backend that was started here; jobs go on when it is started again",
        lambda context: session.current.link.stop_backend(),
        when=lambda context: session.current.link.backend is not None,
    ),
    action(
        "connect",
        "Connect",
        "Connect to the backend that the preferences name, and stay connected",
        lambda context: session.current.link.connect(),
        when=lambda context: session.current.link.status.state is State.OFF,
    ),
    action(
        "disconnect",
        "Disconnect",
        "Close the connection; what is imported plays on",
        lambda context: session.current.link.disconnect(),
        when=lambda context: session.current.link.client is not None,
    ),
    action(
        "refresh",
        "Refresh",
        "Ask the backend which runs, datasets and jobs there are now",
        lambda context: session.current.runs.refresh(),
        NeedsBackend,
    ),
    LEGS4D_OT_import_run,
    LEGS4D_OT_fetch,
    action("cancel_fetch", "Cancel", "Stop fetching frames; those that arrived stay", _cancel_fetch, NeedsSequence),
    LEGS4D_OT_train,
    LEGS4D_OT_lift,
    LEGS4D_OT_name_object,
    LEGS4D_OT_make_anew,
    LEGS4D_OT_choose_dataset,
    LEGS4D_OT_job_log,
    LEGS4D_OT_cancel_job,
)
