"""What a person can do: thin operators over the session, the sequence and its layers. None waits for the backend."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..cache.frames import CacheError
from ..layers import layers
from ..link import session
from ..link.backends import BackendError
from ..link.client import State
from ..sequence import display, sequence


def _window(context: bpy.types.Context) -> bpy.types.PropertyGroup:
    return context.window_manager.legs4d


class _NeedsSequence:
    """For operators on the sequence that is meant."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a sequence is meant."""
        if sequence.active(context) is None:
            cls.poll_message_set("Import a run, or select one of its objects")
            return False
        return True


class _NeedsBackend:
    """For operators that are pointless without a connection."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether a backend listens."""
        if not session.current.link.ready:
            cls.poll_message_set("No backend is connected")
            return False
        return True


class LEGS4D_OT_start_backend(bpy.types.Operator):
    """Start a backend on this machine and connect to it; it ends with Blender"""

    bl_idname = "legs4d.start_backend"
    bl_label = "Start"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.current.link.backend is None and not session.current.link.ready

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            session.current.link.start_backend()
        except BackendError as problem:
            session.current.link.message = f"{problem}."
            self.report({"WARNING"}, f"{problem}.")
            return {"CANCELLED"}
        return {"FINISHED"}


class LEGS4D_OT_stop_backend(bpy.types.Operator):
    """Stop the backend that was started here; jobs go on when it is started again"""

    bl_idname = "legs4d.stop_backend"
    bl_label = "Stop"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.current.link.backend is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.link.stop_backend()
        return {"FINISHED"}


class LEGS4D_OT_connect(bpy.types.Operator):
    """Connect to the backend that the preferences name, and stay connected"""

    bl_idname = "legs4d.connect"
    bl_label = "Connect"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.current.link.status.state is State.OFF

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.link.connect()
        return {"FINISHED"}


class LEGS4D_OT_disconnect(bpy.types.Operator):
    """Close the connection; what is imported plays on"""

    bl_idname = "legs4d.disconnect"
    bl_label = "Disconnect"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return session.current.link.client is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.link.disconnect()
        return {"FINISHED"}


class LEGS4D_OT_refresh(_NeedsBackend, bpy.types.Operator):
    """Ask the backend which runs, datasets and jobs there are now"""

    bl_idname = "legs4d.refresh"
    bl_label = "Refresh"

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.runs.refresh()
        return {"FINISHED"}


class LEGS4D_OT_import_run(_NeedsBackend, bpy.types.Operator):
    """Import a run as points that play with the timeline; its frames arrive around the playhead first"""

    bl_idname = "legs4d.import_run"
    bl_label = "Import"

    run: StringProperty(
        name="Run", description="Name of the run at the backend; empty: the one that is selected in the panel"
    )
    start_frame: IntProperty(
        name="Start", description="Scene frame that shows the first frame of the capture", default=1
    )
    set_range: BoolProperty(
        name="Set Frame Range", description="Set the scene's frame range to the capture's", default=True
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        run = self.run or self._selected(context)
        if not run:
            self.report({"WARNING"}, "Select a run in the list first.")
            return {"CANCELLED"}
        session.current.runs.import_run(run, self.start_frame, self.set_range)
        return {"FINISHED"}

    def _selected(self, context: bpy.types.Context) -> str:
        shown = _window(context)
        return str(shown.runs[shown.active_run].name) if shown.active_run < len(shown.runs) else ""


class LEGS4D_OT_fetch(_NeedsSequence, bpy.types.Operator):
    """Fetch the frames of this sequence that are not on this machine, or read them from its files again"""

    bl_idname = "legs4d.fetch"
    bl_label = "Fetch"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        of_files = bool(sequence.active(context).empty.legs4d.files)
        return of_files or _NeedsBackend.poll.__func__(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown = sequence.active(context)
        try:
            if shown.empty.legs4d.files:
                session.current.imports.read_again(shown)
            else:
                session.current.runs.fetch_missing(shown)
        except CacheError as problem:
            self.report({"WARNING"}, f"{problem}.")
            return {"CANCELLED"}
        return {"FINISHED"}


class LEGS4D_OT_cancel_fetch(_NeedsSequence, bpy.types.Operator):
    """Stop fetching frames; those that arrived stay"""

    bl_idname = "legs4d.cancel_fetch"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        run_id = sequence.active(context).empty.legs4d.run_id
        session.current.transfers.cancel(run_id)
        session.current.imports.cancel(run_id)
        return {"FINISHED"}


class LEGS4D_OT_ask(_NeedsSequence, bpy.types.Operator):
    """Look for a prompt in the sequence: a layer shows where it holds, keyframes and markers when"""

    bl_idname = "legs4d.ask"
    bl_label = "Ask"
    bl_options = {"UNDO"}  # noqa: RUF012  Blender's own form

    prompt: StringProperty(
        name="Prompt", description="What to look for; empty: what stands in the panel's field", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        prompt = (self.prompt or _window(context).prompt).strip()
        if not prompt:
            self.report({"WARNING"}, "Type a prompt first, such as 'throwing the ball'.")
            return {"CANCELLED"}
        shown = sequence.active(context)
        same = layers.with_prompt(shown, prompt)
        layer_id = same.layer_id if same else layers.add(shown, prompt)
        session.current.questions.ask(shown, layer_id)
        _window(context).prompt = ""
        _changed(shown)
        return {"FINISHED"}


class _OnLayer(_NeedsSequence):
    """For operators on one layer: the one named, else the selected one."""

    layer_id: StringProperty(
        name="Layer", description="Id of the layer; empty: the selected one", options={"SKIP_SAVE", "HIDDEN"}
    )

    def layer(self, context: bpy.types.Context) -> str:
        """Its id; empty if there is none."""
        if self.layer_id:
            return str(self.layer_id)
        its = sequence.active(context).empty.legs4d
        return str(its.layers[its.active_layer].layer_id) if its.active_layer < len(its.layers) else ""


class LEGS4D_OT_ask_again(_OnLayer, bpy.types.Operator):
    """Ask the layer's prompt again: relevancy and intervals are replaced; keys and markers that you changed stay"""

    bl_idname = "legs4d.ask_again"
    bl_label = "Ask Again"

    replace_edits: BoolProperty(
        name="Replace Edits", description="Replace keys and markers that you changed as well", options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.questions.ask(sequence.active(context), self.layer(context), self.replace_edits)
        return {"FINISHED"}


class LEGS4D_OT_cancel_ask(_OnLayer, bpy.types.Operator):
    """Stop waiting for the layer's answer"""

    bl_idname = "legs4d.cancel_ask"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.questions.cancel(self.layer(context))
        return {"FINISHED"}


class LEGS4D_OT_remove_layer(_OnLayer, bpy.types.Operator):
    """Remove the layer with its attribute, curves and markers"""

    bl_idname = "legs4d.remove_layer"
    bl_label = "Remove Layer"
    bl_options = {"UNDO"}  # noqa: RUF012  Blender's own form

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown, layer_id = sequence.active(context), self.layer(context)
        session.current.questions.cancel(layer_id)
        layers.remove(shown, layer_id, context.scene)
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_move_layer(_NeedsSequence, bpy.types.Operator):
    """Move the selected layer in the list; where tints meet, the upper one wins"""

    bl_idname = "legs4d.move_layer"
    bl_label = "Move Layer"
    bl_options = {"UNDO"}  # noqa: RUF012  Blender's own form

    direction: EnumProperty(items=[("UP", "Up", ""), ("DOWN", "Down", "")])

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown = sequence.active(context)
        its = shown.empty.legs4d
        target = its.active_layer + (-1 if self.direction == "UP" else 1)
        if not 0 <= target < len(its.layers):
            return {"CANCELLED"}
        its.layers.move(its.active_layer, target)
        its.active_layer = target
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_duplicate_layer(_OnLayer, bpy.types.Operator):
    """Copy the layer with its values, curves and edits, to show the same action in another way"""

    bl_idname = "legs4d.duplicate_layer"
    bl_label = "Duplicate Layer"
    bl_options = {"UNDO"}  # noqa: RUF012  Blender's own form

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown, layer_id = sequence.active(context), self.layer(context)
        if layers.find(shown, layer_id) is None:
            self.report({"WARNING"}, "Select a layer first.")
            return {"CANCELLED"}
        layers.duplicate(shown, layer_id)
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_retime(_NeedsSequence, bpy.types.Operator):
    """Move the layers' keys and markers to where the time curve shows their moments; what you changed by hand stays"""

    bl_idname = "legs4d.retime"
    bl_label = "Retime Layers"
    bl_options = {"UNDO"}  # noqa: RUF012  Blender's own form

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown = sequence.active(context)
        behind = layers.retime(shown, context.scene)
        if behind:
            self.report({"INFO"}, f"Edited by hand, so left alone: {', '.join(behind)}.")
        _changed(shown)
        return {"FINISHED"}


class LEGS4D_OT_jump(_OnLayer, bpy.types.Operator):
    """Go to the next frame where the layer's action peaks"""

    bl_idname = "legs4d.jump"
    bl_label = "Jump to Action"

    def execute(self, context: bpy.types.Context) -> set[str]:
        shown = sequence.active(context)
        layer = layers.find(shown, self.layer(context))
        peaks = sorted(shown.scene_frame(peak) for _, _, peak, _ in layers.intervals(layer)) if layer else []
        if not peaks:
            self.report({"WARNING"}, "The layer has no action to jump to.")
            return {"CANCELLED"}
        now = context.scene.frame_current
        context.scene.frame_set(next((peak for peak in peaks if peak > now), peaks[0]))
        return {"FINISHED"}


class LEGS4D_OT_train(_NeedsBackend, bpy.types.Operator):
    """Have the backend reconstruct a dataset; it goes on when Blender is closed"""

    bl_idname = "legs4d.train"
    bl_label = "Train"

    def execute(self, context: bpy.types.Context) -> set[str]:
        form = _window(context)
        if not form.train_dataset:
            self.report({"WARNING"}, "Choose a dataset first.")
            return {"CANCELLED"}
        out = form.train_out.strip() or f"{form.train_dataset.rstrip('/')}-run"
        session.current.jobs.train(
            form.train_dataset, out, form.train_scale, form.train_encoder.strip(), form.train_preset
        )
        return {"FINISHED"}


class LEGS4D_OT_make_anew(_NeedsBackend, bpy.types.Operator):
    """Make the run anew as it is asked for now; what is there stays until that is done"""

    bl_idname = "legs4d.make_anew"
    bl_label = "Make Anew"

    request: StringProperty(name="Request", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        request = self.request or _window(context).train_again
        if not request:
            self.report({"WARNING"}, "Nothing was refused.")
            return {"CANCELLED"}
        session.current.jobs.make_anew(request)
        return {"FINISHED"}


class LEGS4D_OT_choose_dataset(_NeedsBackend, bpy.types.Operator):
    """Choose the dataset's folder on this machine; it has to be under one of the backend's folders"""

    bl_idname = "legs4d.choose_dataset"
    bl_label = "Choose Dataset Folder"

    directory: StringProperty(name="Folder", subtype="DIR_PATH", options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = Path(self.directory).resolve()
        roots = [Path(root) for root in session.current.link.client.server.get("roots", ())]
        for root in roots:
            if chosen.is_relative_to(root.resolve()):
                _window(context).train_dataset = chosen.relative_to(root.resolve()).as_posix()
                return {"FINISHED"}
        self.report({"WARNING"}, f"{chosen} is under none of the backend's folders: {', '.join(map(str, roots))}.")
        return {"CANCELLED"}


class LEGS4D_OT_job_log(_NeedsBackend, bpy.types.Operator):
    """Show or hide the end of the job's log"""

    bl_idname = "legs4d.job_log"
    bl_label = "Log"

    job: StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        item = _window(context).jobs.get(self.job)
        if item is None:
            return {"CANCELLED"}
        item.show_log = not item.show_log
        if item.show_log:
            session.current.jobs.read_log(self.job)
        return {"FINISHED"}


class LEGS4D_OT_cancel_job(_NeedsBackend, bpy.types.Operator):
    """Cancel the job; the frames it finished stay in its run"""

    bl_idname = "legs4d.cancel_job"
    bl_label = "Cancel Job"

    job: StringProperty(name="Job", options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current.jobs.cancel(self.job)
        return {"FINISHED"}


def _changed(shown: sequence.Sequence) -> None:
    display.update(shown.empty)


def look_changed(empty: bpy.types.Object) -> None:
    """A person changed how layers show."""
    if empty.legs4d.is_sequence:
        display.update(empty)


def timing_changed(empty: bpy.types.Object) -> None:
    """A person changed which moment a scene frame shows: the layers' keys and markers follow."""
    if empty.legs4d.is_sequence:
        for scene in empty.users_scene[:1]:
            layers.retime(sequence.Sequence(empty), scene)
        display.update(empty, moved=True)


def prompt_changed(empty: bpy.types.Object, layer_id: str) -> None:
    """A person typed another prompt into a layer."""
    session.current.questions.ask(sequence.Sequence(empty), layer_id)


def prompt_entered(context: bpy.types.Context) -> None:
    """A person confirmed the prompt field."""
    if LEGS4D_OT_ask.poll(context):
        bpy.ops.legs4d.ask("EXEC_DEFAULT", True)


CLASSES = (
    LEGS4D_OT_start_backend,
    LEGS4D_OT_stop_backend,
    LEGS4D_OT_connect,
    LEGS4D_OT_disconnect,
    LEGS4D_OT_refresh,
    LEGS4D_OT_import_run,
    LEGS4D_OT_fetch,
    LEGS4D_OT_cancel_fetch,
    LEGS4D_OT_ask,
    LEGS4D_OT_ask_again,
    LEGS4D_OT_cancel_ask,
    LEGS4D_OT_remove_layer,
    LEGS4D_OT_move_layer,
    LEGS4D_OT_duplicate_layer,
    LEGS4D_OT_retime,
    LEGS4D_OT_jump,
    LEGS4D_OT_train,
    LEGS4D_OT_make_anew,
    LEGS4D_OT_choose_dataset,
    LEGS4D_OT_job_log,
    LEGS4D_OT_cancel_job,
)
