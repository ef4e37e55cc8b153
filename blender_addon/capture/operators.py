"""Operators of "Capture this scene", thin over `session.Capture`."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from . import captions, rig
from .dataset import CaptionRow, CaptureError
from .properties import CaptureSettings
from .session import Capture, Plan


def members(target: bpy.types.Object) -> tuple[str, ...]:
    """Names of an object, all its children, and what an instanced collection brings in: one id in the masks."""
    found = [target, *target.children_recursive]
    inside = [o for one in found if one.instance_collection for o in one.instance_collection.all_objects]
    return tuple(dict.fromkeys(one.name for one in (*found, *inside)))


def plan(context: bpy.types.Context) -> Plan:
    """The capture that the scene's settings ask for.

    Raises:
        CaptureError: they ask for something impossible.
    """
    scene, settings = context.scene, context.scene.legs4d_capture
    first, last = frame_range(scene)
    targets = [item.target for item in settings.foreground if item.target]
    rows = []
    for item in settings.captions:
        if item.target and item.target not in targets:
            raise CaptureError(
                f"The caption '{item.text}' is about {item.target.name}, which is not in the foreground list."
            )
        if item.end < first or item.start > last:
            continue
        number = targets.index(item.target) + 1 if item.target else 0
        rows.append(CaptionRow(number, max(item.start, first) - first, min(item.end, last) - first, item.text))
    return Plan(
        folder=Path(bpy.path.abspath(settings.folder)),
        views=tuple(views(settings, context)),
        horizontal_angle=settings.angle,
        width=settings.width,
        height=settings.height,
        frames=tuple(range(first, last + 1)),
        samples=settings.samples,
        foreground=tuple(members(target) for target in targets),
        captions=tuple(rows),
        initial_points=settings.initial_points,
        suffix=".png" if settings.image_format == "PNG" else ".jpg",
        overwrite=settings.overwrite,
    )


def frame_range(scene: bpy.types.Scene) -> tuple[int, int]:
    """First and last frame to capture."""
    settings = scene.legs4d_capture
    if settings.use_scene_range:
        return scene.frame_start, scene.frame_end
    return settings.frame_start, settings.frame_end


def views(settings: CaptureSettings, context: bpy.types.Context) -> list[rig.View]:
    """The cameras that the settings ask for.

    Raises:
        CaptureError: there is no path to stand along.
    """
    count, center = settings.num_train + settings.num_test, np.array(settings.center)
    if settings.arrangement == "DOME":
        band = (settings.lowest, settings.highest)
        positions = rig.dome(count, center, settings.radius, settings.arc, settings.facing, band)
    elif settings.arrangement == "RING":
        positions = rig.ring(count, center, settings.radius, settings.arc, settings.facing, settings.lowest)
    else:
        positions = rig.along_path(count, _polyline(settings.path, context))
    return rig.views(positions, center, settings.num_test)


def _polyline(path: bpy.types.Object | None, context: bpy.types.Context) -> np.ndarray:
    """[P, 3] points of a curve object in the world."""
    if path is None:
        raise CaptureError("There is no path; choose a curve for the cameras to stand along.")
    evaluated = path.evaluated_get(context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    evaluated.to_mesh_clear()
    if len(points) < 6:
        raise CaptureError(f"{path.name} has no length; draw a curve for the cameras to stand along.")
    world = np.array(path.matrix_world)
    return points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


class LEGS4D_OT_capture_add_foreground(bpy.types.Operator):
    """Add the selected objects to those that count as foreground"""

    bl_idname = "legs4d.capture_add_foreground"
    bl_label = "Add Selected Objects"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender's own form

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.selected_objects)

    def execute(self, context: bpy.types.Context) -> set[str]:
        items = context.scene.legs4d_capture.foreground
        known = {item.target for item in items}
        chosen = set(context.selected_objects)
        for candidate in context.selected_objects:
            # A child comes in with its parent.
            if candidate not in known and candidate.parent not in chosen and candidate.type not in {"CAMERA", "LIGHT"}:
                items.add().target = candidate
        return {"FINISHED"}


class LEGS4D_OT_capture_remove(bpy.types.Operator):
    """Remove the chosen row"""

    bl_idname = "legs4d.capture_remove"
    bl_label = "Remove"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender's own form

    table: bpy.props.EnumProperty(items=[("foreground", "Foreground", ""), ("captions", "Captions", "")])

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.legs4d_capture
        rows, index = getattr(settings, self.table), getattr(settings, f"{self.table}_index")
        if not 0 <= index < len(rows):
            return {"CANCELLED"}
        rows.remove(index)
        setattr(settings, f"{self.table}_index", max(index - 1, 0))
        return {"FINISHED"}


class LEGS4D_OT_capture_add_caption(bpy.types.Operator):
    """Add an empty row to the captions, for the active object if it is in the foreground"""

    bl_idname = "legs4d.capture_add_caption"
    bl_label = "Add Caption"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender's own form

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.legs4d_capture
        row = settings.captions.add()
        row.start, row.end = frame_range(context.scene)
        if context.object in [item.target for item in settings.foreground]:
            row.target = context.object
        settings.captions_index = len(settings.captions) - 1
        return {"FINISHED"}


class LEGS4D_OT_capture_captions_from_actions(bpy.types.Operator):
    """Fill the captions from the names of the foreground objects and of their actions and NLA strips"""

    bl_idname = "legs4d.capture_captions_from_actions"
    bl_label = "Captions from Actions"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender's own form

    surroundings: bpy.props.StringProperty(
        name="Surroundings", description="Caption of all that is not foreground", default="an empty room"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.legs4d_capture
        first, last = frame_range(context.scene)
        settings.captions.clear()
        rows = [(None, first, last, self.surroundings)] if self.surroundings else []
        for item in settings.foreground:
            if item.target:
                rows += [(item.target, *row) for row in captions.from_actions(item.target, first, last)]
        for target, start, end, text in rows:
            row = settings.captions.add()
            row.target, row.start, row.end, row.text = target, start, end, text
        return {"FINISHED"}


class LEGS4D_OT_capture_fit(bpy.types.Operator):
    """Put the centre in the middle of the foreground objects, and the cameras far enough away to see them all"""

    bl_idname = "legs4d.capture_fit"
    bl_label = "Fit to Foreground"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender's own form

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return any(item.target for item in context.scene.legs4d_capture.foreground)

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.legs4d_capture
        corners = []
        for item in settings.foreground:
            if item.target:
                family = [item.target, *item.target.children_recursive]
                corners += [one.matrix_world @ Vector(corner) for one in family for corner in one.bound_box]
        box = np.array(corners)
        low, high = box.min(axis=0), box.max(axis=0)
        settings.center = (low + high) / 2
        angle = min(settings.angle, 2 * np.arctan(np.tan(settings.angle / 2) * settings.height / settings.width))
        settings.radius = float(np.linalg.norm(high - low) / 2 / np.sin(angle / 2))
        return {"FINISHED"}


class LEGS4D_OT_capture(bpy.types.Operator):
    """Render this scene from all around, with masks and captions, as a dataset to train on"""

    bl_idname = "legs4d.capture"
    bl_label = "Capture This Scene"

    _running: Capture | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if cls._running is not None:
            cls.poll_message_set("A capture is running")
        return cls._running is None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Takes all pictures and returns when they are taken."""
        try:
            with Capture(context.scene, context.view_layer, plan(context)) as capture:
                for shot in capture.remaining():
                    capture.aim(shot)
                    capture.render()
                    capture.store(shot)
                capture.finish()
        except (CaptureError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return self._hand_over(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Takes the pictures one by one, rendered in the background of the interface; Esc cancels."""
        try:
            self._capture = Capture(context.scene, context.view_layer, plan(context)).__enter__()
        except (CaptureError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        type(self)._running = self._capture
        self._shots, self._shot, self._cancelled = self._capture.remaining(), None, False
        self._display = context.preferences.view.render_display_type
        context.preferences.view.render_display_type = "NONE"
        self._timer = context.window_manager.event_timer_add(0.05, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """The scene must not change under the capture, so every event but Esc ends here."""
        if event.type == "ESC":
            self._cancelled = True
            return {"PASS_THROUGH"}  # it stops the picture that is being rendered, too
        if event.type != "TIMER" or bpy.app.is_job_running("RENDER"):
            return {"RUNNING_MODAL"}
        try:
            return self._step(context)
        except (CaptureError, OSError) as error:
            self.report({"ERROR"}, str(error))
            return self._end(context, {"CANCELLED"})

    def _step(self, context: bpy.types.Context) -> set[str]:
        """Stores the picture that has been rendered and starts the next one."""
        if self._shot is not None and self._capture.rendered:
            self._capture.store(self._shot)
            self._shot = None
        if self._cancelled or self._shot is not None:
            context.scene.legs4d_capture.message = "Cancelled. Capture again to go on where it stopped."
            return self._end(context, {"CANCELLED"})
        self._shot = next(self._shots, None)
        if self._shot is None:
            self._capture.finish()
            self._end(context, {"FINISHED"})
            return self._hand_over(context)
        self._show_progress(context)
        self._capture.aim(self._shot)
        with context.temp_override(scene=self._capture.scene):
            bpy.ops.render.render("INVOKE_DEFAULT", write_still=True)
        return {"RUNNING_MODAL"}

    def _show_progress(self, context: bpy.types.Context) -> None:
        settings, capture = context.scene.legs4d_capture, self._capture
        settings.progress = capture.done / capture.total
        settings.message = f"{capture.done} of {capture.total} pictures. Esc cancels."
        for area in context.screen.areas:
            area.tag_redraw()

    def _end(self, context: bpy.types.Context, result: set[str]) -> set[str]:
        context.window_manager.event_timer_remove(self._timer)
        context.preferences.view.render_display_type = self._display
        type(self)._running = None
        self._capture.close()
        context.scene.legs4d_capture.progress = 0.0
        return result

    def _hand_over(self, context: bpy.types.Context) -> set[str]:
        """Says where the dataset is and, if asked to, has it trained."""
        settings = context.scene.legs4d_capture
        folder = bpy.path.abspath(settings.folder)
        settings.message = f"Captured into {folder}"
        if settings.train_afterwards:
            if not bpy.ops.legs4d.train.poll():
                self.report({"WARNING"}, "The capture is finished, but no backend is connected to train on it.")
                return {"FINISHED"}
            context.window_manager.legs4d.train_dataset = folder
            bpy.ops.legs4d.train()
        return {"FINISHED"}


CLASSES = (
    LEGS4D_OT_capture_add_foreground,
    LEGS4D_OT_capture_remove,
    LEGS4D_OT_capture_add_caption,
    LEGS4D_OT_capture_captions_from_actions,
    LEGS4D_OT_capture_fit,
    LEGS4D_OT_capture,
)
