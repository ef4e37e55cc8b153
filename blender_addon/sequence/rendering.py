"""Many renders in a row, on a copy of the scene: waiting for them in scripts, beside the interface for people.

What is rendered is a `Job`'s business (capture, export); this file owns the copy, the order and the cancelling.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

from .. import declare
from ..look.builder import node, socket
from . import playback
from .sequence import Sequence

COMPOSITOR_ENGINES = ("CYCLES", "BLENDER_EEVEE")


class RenderProblem(Exception):
    """It cannot be rendered as asked; the message says what is wrong and what to do."""


def folder_at(chosen: str) -> Path:
    """A folder of the settings. RenderProblem if it is beside a file that has no place yet."""
    if chosen.startswith("//") and not bpy.data.filepath:
        raise RenderProblem("Save the file first, or choose a folder: files go beside it.")
    return Path(bpy.path.abspath(chosen))


class Job:
    """A list of renders of a copy of `scene`. Entering makes the copy, leaving removes it, whatever happened.

    The copy shares the scene's objects; the user's scene, its frame, camera and settings stay as they are. A subclass
    says what is to be rendered (`remaining`), sets it up (`aim`), takes the result (`store`) and rounds off (`finish`).

    Args:
        scene, view_layer: what to render.
        folder: where results go; scratch files are made beside them, so that taking one over is a rename.
        total: how many renders the whole job has.
    """

    renders = True
    """Whether there is anything to render: a job that only writes data goes through the same frames without."""
    as_rendered = False
    """Whether pictures are those that the scene's own Render gives: with its camera markers, border, stereoscopy,
    compositor. Else the job has the copy to itself."""

    def __init__(self, scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer, folder: Path, total: int) -> None:
        self.original, self.layer_name, self.folder, self.total = scene, view_layer.name, folder, total
        self.done = 0
        self.scene: bpy.types.Scene | None = None
        self.scratch: Path | None = None
        self._made: list[bpy.types.ID] = []

    def __enter__(self) -> Any:
        self._whole = contextlib.ExitStack()
        try:
            self._whole.enter_context(playback.complete())
            self.begin()
            self.folder.mkdir(parents=True, exist_ok=True)
            for left_over in self.folder.glob(".rendering-*"):  # of a Blender that was killed
                shutil.rmtree(left_over, ignore_errors=True)
            self.scratch = Path(tempfile.mkdtemp(prefix=".rendering-", dir=self.folder))
            self._copy_scene()
            self.set_up()
            self.done = self.total - sum(1 for _ in self.remaining())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self) -> None:
        """Checks what is asked, before anything is made. RenderProblem if it cannot be done."""

    def set_up(self) -> None:
        """Changes the copy as the job needs it."""
        raise NotImplementedError

    def remaining(self) -> Iterator[Any]:
        """What is still to be rendered, in order."""
        raise NotImplementedError

    def aim(self, item: Any) -> None:
        """Sets the copy up for one render, its `render.filepath` to `image`."""
        raise NotImplementedError

    def store(self, item: Any) -> None:
        """Takes the results of one render over."""
        raise NotImplementedError

    def finish(self) -> None:
        """After the last render."""
        raise NotImplementedError

    @property
    def image(self) -> Path:
        """The file that a render is told to write."""
        return self.scratch / f"image{self.scene.render.file_extension}"

    @property
    def rendered(self) -> bool:
        """Whether a render wrote its file, or those of its views."""
        return any(self.scratch.glob(f"{self.image.stem}*{self.image.suffix}"))

    def made(self, block: Any) -> Any:
        """Notes a data-block that goes when the job ends."""
        self._made.append(block)
        return block

    def render(self) -> None:
        """Renders what was aimed at and waits for it."""
        if not self.renders:
            return
        with bpy.context.temp_override(scene=self.scene):
            try:
                bpy.ops.render.render(write_still=True)
            except RuntimeError as error:  # what an engine reports
                raise RenderProblem(str(error).removeprefix("Error: ").strip()) from error

    def looks(self, shown: Sequence) -> Sequence:
        """A sequence as it was evaluated for the copy's frame."""
        depsgraph = self.scene.view_layers[self.layer_name].depsgraph
        return shown if depsgraph is None else Sequence(shown.empty.evaluated_get(depsgraph))

    def close(self) -> None:
        """Removes the copy of the scene and everything made for it. May be called twice."""
        self._whole.close()
        if self.scene is not None:
            bpy.data.scenes.remove(self.scene)
            self.scene = None
            # The copy shares its objects: points and animated values would stay those of its last frame.
            self.original.frame_set(self.original.frame_current, subframe=self.original.frame_subframe)
        if self._made:
            bpy.data.batch_remove(self._made)
            self._made = []
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch = None

    def _copy_scene(self) -> None:
        scene = self.scene = self.original.copy()
        render = scene.render
        render.compositor_device, render.use_persistent_data = "CPU", True
        if self.as_rendered:
            return
        scene.timeline_markers.clear()  # a marker may carry a camera
        for layer in scene.view_layers:
            layer.use = layer.name == self.layer_name
        render.use_border = render.use_multiview = render.use_sequencer = render.use_stamp = False
        render.use_compositing = True

    def passes_to_files(self, layer: bpy.types.ViewLayer) -> tuple[bpy.types.NodeTree, Any, Any]:
        """A compositor tree for the copy: (tree, Render Layers node, File Output node that writes into `scratch`)."""
        tree, source = self.compositor(layer)
        return tree, source, self.output_node(tree, "")

    def compositor(self, layer: bpy.types.ViewLayer) -> tuple[bpy.types.NodeTree, Any]:
        """A compositor tree for the copy that shows a layer's picture: (tree, Render Layers node)."""
        tree = self.made(bpy.data.node_groups.new("4-LEGS render", "CompositorNodeTree"))
        socket(tree, "Image", "Color", "OUTPUT")
        source = node(tree, "CompositorNodeRLayers", scene=self.scene, layer=layer.name)
        tree.links.new(source.outputs["Image"], tree.nodes.new("NodeGroupOutput").inputs[0])
        self.scene.compositing_node_group = tree
        self.scene.render.use_compositing = True
        return tree, source

    def own_compositor(self) -> tuple[bpy.types.NodeTree, bpy.types.NodeSocket] | None:
        """The scene's own compositor, made the copy's: (tree, socket of its picture); None where it has none.

        It writes no files of its own meanwhile.
        """
        original = self.original.compositing_node_group
        if original is None or not self.original.render.use_compositing:
            return None
        ends = [one for one in original.nodes if one.bl_idname == "NodeGroupOutput" and one.inputs[0].is_linked]
        if not ends:
            return None
        tree = self.made(original.copy())
        for one in tree.nodes:
            if one.bl_idname == "CompositorNodeRLayers" and one.scene == self.original:
                one.scene = self.scene
            elif one.bl_idname == "CompositorNodeOutputFile":
                one.mute = True
        self.scene.compositing_node_group = tree
        end = next(one for one in tree.nodes if one.bl_idname == "NodeGroupOutput" and one.inputs[0].is_linked)
        return tree, end.inputs[0].links[0].from_socket

    def output_node(self, tree: bpy.types.NodeTree, name: str) -> Any:
        """A File Output node that writes values as they are into `scratch`."""
        place = f"{self.scratch}/"
        return node(tree, "CompositorNodeOutputFile", directory=place, file_name=name, save_as_render=False)


class RenderOperator(declare.Operator):
    """Mixin of operators that run a `Job`: at once from scripts, one render after the other in the interface."""

    _running: Job | None = None

    def make_job(self, context: bpy.types.Context) -> Job:
        """The job to run. RenderProblem or OSError if there can be none."""
        raise NotImplementedError

    def show(self, context: bpy.types.Context, progress: float, message: str) -> None:
        """Puts progress (0..1) and a sentence where the panel reads them."""
        raise NotImplementedError

    def completed(self, context: bpy.types.Context) -> None:
        """After the job is done and closed."""
        raise NotImplementedError

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if RenderOperator._running is not None:
            cls.poll_message_set("Wait for the renders that are running, or cancel them with Esc")
        return RenderOperator._running is None

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Renders everything and returns when it is done."""
        try:
            with self.make_job(context) as job:
                for item in job.remaining():
                    job.aim(item)
                    job.render()
                    job.store(item)
                    job.done += 1
                job.finish()
        except (RenderProblem, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.completed(context)
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """Renders one after the other without blocking; Esc cancels."""
        try:
            self._job = self.make_job(context).__enter__()
        except (RenderProblem, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        RenderOperator._running = self._job
        self._items, self._item, self._cancelled = self._job.remaining(), None, False
        self._display = context.preferences.view.render_display_type
        context.preferences.view.render_display_type = "NONE"
        self._timer = context.window_manager.event_timer_add(0.05, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> declare.Result:
        """The scene must not change under the job, so every event but Esc ends here."""
        if event.type == "ESC":
            self._cancelled = True
            return {"PASS_THROUGH"}  # it stops the picture that is being rendered, too
        if event.type != "TIMER" or bpy.app.is_job_running("RENDER"):
            return {"RUNNING_MODAL"}
        try:
            return self._step(context)
        except (RenderProblem, OSError) as error:
            self.report({"ERROR"}, str(error))
            self._end(context, str(error))
            return {"CANCELLED"}

    def _step(self, context: bpy.types.Context) -> declare.Result:
        """Stores what has been rendered and starts the next render."""
        job = self._job
        if self._item is not None and (job.rendered or not job.renders):
            job.store(self._item)
            job.done += 1
            self._item = None
        if self._cancelled or self._item is not None:  # a cancelled render writes no file
            self._end(context, "Cancelled.")
            return {"CANCELLED"}
        self._item = next(self._items, None)
        if self._item is None:
            job.finish()
            self._end(context, "")
            self.completed(context)
            return {"FINISHED"}
        job.aim(self._item)
        self.show(context, job.done / max(job.total, 1), f"{job.done} of {job.total} pictures. Esc cancels.")
        _redraw(context)
        if job.renders:
            with context.temp_override(scene=job.scene):
                bpy.ops.render.render("INVOKE_DEFAULT", write_still=True)
        return {"RUNNING_MODAL"}

    def _end(self, context: bpy.types.Context, message: str) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.preferences.view.render_display_type = self._display
        RenderOperator._running = None
        self._job.close()
        self.show(context, 0.0, message)
        _redraw(context)


def _redraw(context: bpy.types.Context) -> None:
    for area in context.screen.areas:
        area.tag_redraw()
