"""Operators of "Capture this scene", thin over `session.Capture`."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Vector

from .. import declare
from ..sequence.rendering import RenderOperator, RenderProblem, folder_at
from ..ui.properties import window
from . import captions, rig
from .dataset import CaptionRow
from .properties import CaptureSettings, settings_of
from .session import Capture, Plan

BESIDE = "//capture"
"""The folder that is meant where none is chosen."""


def members(target: bpy.types.Object) -> tuple[str, ...]:
    """Names of an object, all its children, and what an instanced collection brings in: one id in the masks."""
    found = [target, *target.children_recursive]
    inside = [o for one in found if one.instance_collection for o in one.instance_collection.all_objects]
    return tuple(dict.fromkeys(one.name for one in (*found, *inside)))


def plan(context: bpy.types.Context) -> Plan:
    """The capture that the scene's settings ask for.

    Raises:
        RenderProblem: they ask for something impossible.
    """
    scene, settings = context.scene, settings_of(context.scene)
    first, last = frame_range(scene)
    targets = [item.target for item in settings.foreground if item.target]
    rows = []
    for item in settings.captions:
        if item.target and item.target not in targets:
            raise RenderProblem(
                f"The caption '{item.text}' is about {item.target.name}, which is not in the foreground list."
            )
        if item.end < first or item.start > last:
            continue
        number = targets.index(item.target) + 1 if item.target else 0
        rows.append(CaptionRow(number, max(item.start, first) - first, min(item.end, last) - first, item.text))
    return Plan(
        folder=folder_at(settings.folder or BESIDE),
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
    settings = settings_of(scene)
    if settings.use_scene_range:
        return scene.frame_start, scene.frame_end
    return settings.frame_start, settings.frame_end


def views(settings: CaptureSettings, context: bpy.types.Context) -> list[rig.View]:
    """The cameras that the settings ask for.

    Raises:
        RenderProblem: there is no path to stand along.
    """
    center, tested = np.array(settings.center), settings.num_test
    if not settings.is_one:
        return rig.views(_places(settings, context, settings.num_train + tested), center, tested)
    first, last = frame_range(context.scene)
    between = _places(settings, context, 2 * tested + 1)[1::2]
    return rig.walk(_places(settings, context, last - first + 1), center, between)


def _places(settings: CaptureSettings, context: bpy.types.Context, count: int) -> np.ndarray:
    """[count, 3] places of the arrangement."""
    center = np.array(settings.center)
    if settings.arrangement == "DOME":
        band = (settings.lowest, settings.highest)
        return rig.dome(count, center, settings.radius, settings.arc, settings.facing, band)
    if settings.arrangement == "RING":
        return rig.ring(count, center, settings.radius, settings.arc, settings.facing, settings.lowest)
    return rig.along_path(count, _polyline(settings.path, context))


def _polyline(path: bpy.types.Object | None, context: bpy.types.Context) -> np.ndarray:
    """[P, 3] points of a curve object in the world."""
    if path is None:
        raise RenderProblem("There is no path; choose a curve for the cameras to stand along.")
    evaluated = path.evaluated_get(context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    mesh.vertices.foreach_get("co", points)
    evaluated.to_mesh_clear()
    if len(points) < 6:
        raise RenderProblem(f"{path.name} has no length; draw a curve for the cameras to stand along.")
    world = np.array(path.matrix_world)
    return points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


class LEGS4D_OT_capture_add_foreground(bpy.types.Operator):
    """Add the selected objects to those that count as foreground"""

    bl_idname = "legs4d.capture_add_foreground"
    bl_label = "Add Selected Objects"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.selected_objects)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        items = settings_of(context.scene).foreground
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
    bl_options = {"REGISTER", "UNDO"}

    table = declare.enum(items=[("foreground", "Foreground", ""), ("captions", "Captions", "")])

    def execute(self, context: bpy.types.Context) -> declare.Result:
        settings = settings_of(context.scene)
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
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        settings = settings_of(context.scene)
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
    bl_options = {"REGISTER", "UNDO"}

    surroundings = declare.string("Surroundings", "Caption of all that is not foreground", default="an empty room")

    def execute(self, context: bpy.types.Context) -> declare.Result:
        settings = settings_of(context.scene)
        first, last = frame_range(context.scene)
        settings.captions.clear()
        rows: list[tuple[bpy.types.Object | None, int, int, str]]
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
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return any(item.target for item in settings_of(context.scene).foreground)

    def execute(self, context: bpy.types.Context) -> declare.Result:
        settings = settings_of(context.scene)
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


class LEGS4D_OT_capture(RenderOperator, bpy.types.Operator):
    """Render this scene from all around, with masks and captions, as a dataset to train on"""

    bl_idname = "legs4d.capture"
    bl_label = "Capture This Scene"

    def make_job(self, context: bpy.types.Context) -> Capture:
        """The capture that the settings ask for."""
        return Capture(context.scene, context.view_layer, plan(context))

    def show(self, context: bpy.types.Context, progress: float, message: str) -> None:
        """In the panel section."""
        settings = settings_of(context.scene)
        settings.progress, settings.message = progress, message

    def completed(self, context: bpy.types.Context) -> None:
        """Says where the dataset is and, if asked to, has it trained."""
        settings = settings_of(context.scene)
        folder = str(folder_at(settings.folder or BESIDE))
        self.show(context, 0.0, f"Captured into {folder}")
        if not settings.train_afterwards:
            return
        if not declare.ops().train.poll():
            self.report({"WARNING"}, "The capture is finished, but no backend is connected to train on it.")
            return
        window().train_dataset = folder
        declare.ops().train()


CLASSES = (
    LEGS4D_OT_capture_add_foreground,
    LEGS4D_OT_capture_remove,
    LEGS4D_OT_capture_add_caption,
    LEGS4D_OT_capture_captions_from_actions,
    LEGS4D_OT_capture_fit,
    LEGS4D_OT_capture,
)
