"""What a scene's render settings must be for splats to show as captured, and the button that sets them."""

from __future__ import annotations

import bpy

from .. import declare
from ..ui import text
from .builder import cycles_of

TRANSPARENT_BOUNCES = 256
"""A ray goes through the front and back of every soft ellipsoid on its way; beyond the limit Cycles shows black."""
FEW_BOUNCES = 64
LEAST_BOUNCES = 64
"""Bounces before Cycles may end a ray at random: a higher number costs less than the samples that its noise needs."""


def problems(scene: bpy.types.Scene) -> list[str]:
    """What in the scene's settings would change the captured look, one sentence each."""
    found = []
    if scene.render.engine == "CYCLES" and scene.cycles.transparent_max_bounces < FEW_BOUNCES:
        found.append(
            f"Cycles stops after {scene.cycles.transparent_max_bounces} transparent bounces; "
            f"splats need {TRANSPARENT_BOUNCES}."
        )
    if scene.view_settings.view_transform != "Standard":
        found.append(
            f"The view transform {scene.view_settings.view_transform} changes captured colors; Standard keeps them."
        )
    if scene.render.engine == "BLENDER_WORKBENCH":
        found.append("Workbench cannot show splats; choose Cycles or EEVEE.")
    return found


def prepare(scene: bpy.types.Scene) -> None:
    """Mends all that `problems` names."""
    if scene.render.engine == "BLENDER_WORKBENCH":
        declare.put(scene.render, engine="CYCLES")
    cycles = cycles_of(scene)
    cycles.transparent_max_bounces = max(cycles.transparent_max_bounces, TRANSPARENT_BOUNCES)
    cycles.min_transparent_bounces = max(cycles.min_transparent_bounces, LEAST_BOUNCES)
    declare.put(scene.view_settings, view_transform="Standard")


class LEGS4D_OT_prepare_scene(bpy.types.Operator):
    """Set transparent bounces and view transform so that splats render as captured"""

    bl_idname = "legs4d.prepare_scene"
    bl_label = "Set Up Rendering"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> declare.Result:
        prepare(context.scene)
        return {"FINISHED"}


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """A warning with its remedy; nothing if all is well."""
    found = problems(context.scene)
    if found:
        column = layout.column(align=True)
        for sentence in found:
            text.sentence(column, context, sentence, "ERROR")
        column.operator("legs4d.prepare_scene", icon="SCENE_DATA")


CLASSES = (LEGS4D_OT_prepare_scene,)
