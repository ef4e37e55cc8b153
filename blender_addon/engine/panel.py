"""The engine's panels in the render properties, and Blender's own that make sense for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

from .. import declare
from ..link import session
from ..ui.text import sentence
from . import composite, guard
from .engine import ENGINE
from .properties import settings_of

_FOREIGN = ("EEVEE", "CYCLES", "WORKBENCH", "GREASE", "SIMPLIFY", "FREESTYLE", "FILM")
"""Marks of Blender's panels whose settings this engine has no use for."""


class _Panel(declare.Panel):
    bl_space_type = "PROPERTIES"
    bl_region_type = "WINDOW"
    bl_context = "render"
    COMPAT_ENGINES = {ENGINE}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.engine == ENGINE


class LEGS4D_PT_engine(_Panel, bpy.types.Panel):
    """Film, antialiasing, and where pictures come from."""

    bl_label = "4-LEGS Splats"

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        settings = settings_of(scene)
        status = session.current.link.status
        sentence(layout, context, f"Pictures come from the backend. {status.sentence}", "INFO")
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        column.prop(scene.render, "film_transparent", text="Transparent Film")
        row = column.row()
        row.active = not scene.render.film_transparent
        row.prop(settings, "background")
        column.prop(settings, "antialiased")
        distances = column.column(align=True)
        distances.prop(settings, "nearest", text="Splats From")
        distances.prop(settings, "farthest", text="To")
        column.prop(settings, "preview_factor")


class LEGS4D_PT_engine_motion_blur(_Panel, bpy.types.Panel):
    """Motion blur by moments within the shutter time."""

    bl_label = "Motion Blur"
    bl_parent_id = "LEGS4D_PT_engine"
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header(self, context: bpy.types.Context) -> None:
        self.layout.prop(context.scene.render, "use_motion_blur", text="")

    def draw(self, context: bpy.types.Context) -> None:
        layout, render = self.layout, context.scene.render
        layout.use_property_split = True
        layout.active = render.use_motion_blur
        column = layout.column()
        column.prop(render, "motion_blur_position", text="Position")
        column.prop(render, "motion_blur_shutter", text="Shutter")
        column.prop(settings_of(context.scene), "motion_steps")


class LEGS4D_PT_rendering(bpy.types.Panel):
    """In the sidebar: which engine, and the set-up with Cycles."""

    bl_label = "Rendering"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "4-LEGS"
    bl_order = 1  # after the panels that come first in an artist's work
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, context.scene
        layout.prop(scene.render, "engine", text="")
        if scene.render.engine == ENGINE and not session.current.link.ready:
            sentence(layout, context, "This engine's pictures come from the backend; connect one.", "ERROR")
        layout.operator("legs4d.composite", icon="NODE_COMPOSITING")
        layout.prop(settings_of(scene), "render_missing")
        if guard.message():
            sentence(layout, context, guard.message(), "ERROR")
        other = composite.second_scene(scene)
        if other is not None:
            sentence(layout, context, f"Splats are rendered in the scene '{other.name}', all else here.", "INFO")


def adopt() -> None:
    """Have Blender's own panels show for this engine too: dimensions, output, colour management, passes."""
    for panel in _shared():
        panel.COMPAT_ENGINES.add(ENGINE)


def release() -> None:
    """Undo `adopt`."""
    for panel in _shared():
        panel.COMPAT_ENGINES.discard(ENGINE)


def _shared() -> Iterator[Any]:
    for panel in bpy.types.Panel.__subclasses__():
        engines = getattr(panel, "COMPAT_ENGINES", ())
        if "BLENDER_RENDER" in engines and not any(mark in panel.__name__.upper() for mark in _FOREIGN):
            yield panel


CLASSES = (LEGS4D_PT_engine, LEGS4D_PT_engine_motion_blur, LEGS4D_PT_rendering)
