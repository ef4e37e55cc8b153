"""The panel section "Capture this scene": only draws."""

from __future__ import annotations

from typing import Any

import bpy

from ..ui.sidebar import Rows
from ..ui.text import sentence
from .properties import settings_of


class LEGS4D_UL_foreground(Rows, bpy.types.UIList):
    """Foreground objects with their ids in the masks."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        number = row.row()
        number.alignment = "LEFT"
        number.label(text=str(index + 1))
        row.prop(item, "target", text="", emboss=False)


class LEGS4D_UL_captions(Rows, bpy.types.UIList):
    """The captions table."""

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        row = layout.row(align=True)
        frames = row.row(align=True)
        frames.scale_x = 0.5
        frames.prop(item, "start", text="", emboss=False)
        frames.prop(item, "end", text="", emboss=False)
        row.prop(item, "text", text="", emboss=False)


def draw(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Draws the section into a panel of the sidebar."""
    settings = settings_of(context.scene)
    layout.use_property_split = True
    layout.use_property_decorate = False
    _draw_cameras(layout, settings)
    _draw_pictures(layout, settings)
    _draw_foreground(layout, settings)
    _draw_captions(layout, settings)
    column = layout.column()
    beside = "capture, beside the file" if bpy.data.filepath else "choose one"
    column.prop(settings, "folder", placeholder=beside)
    column.prop(settings, "overwrite")
    column.prop(settings, "train_afterwards")
    if settings.progress:
        layout.progress(factor=settings.progress, text=settings.message)
    else:
        layout.operator("legs4d.capture", icon="RENDER_ANIMATION")
        if settings.message:
            sentence(layout, context, settings.message, "INFO")


def _draw_cameras(layout: bpy.types.UILayout, settings) -> None:
    column = layout.column()
    column.prop(settings, "arrangement")
    if settings.arrangement == "PATH":
        column.prop(settings, "path")
    else:
        column.prop(settings, "radius")
        column.prop(settings, "arc")
        column.prop(settings, "facing")
        column.prop(settings, "lowest", text="Lowest" if settings.arrangement == "DOME" else "Elevation")
        if settings.arrangement == "DOME":
            column.prop(settings, "highest")
    column.prop(settings, "center")
    column.prop(settings, "angle")
    column.operator("legs4d.capture_fit", icon="FULLSCREEN_EXIT")
    column.prop(settings, "is_one")
    row = column.row(align=True)
    if not settings.is_one:
        row.prop(settings, "num_train", text="Cameras")
    row.prop(settings, "num_test", text="Test")


def _draw_pictures(layout: bpy.types.UILayout, settings) -> None:
    column = layout.column()
    row = column.row(align=True)
    row.prop(settings, "width", text="Size")
    row.prop(settings, "height", text="")
    column.prop(settings, "samples")
    column.prop(settings, "image_format")
    column.prop(settings, "use_scene_range")
    if not settings.use_scene_range:
        row = column.row(align=True)
        row.prop(settings, "frame_start", text="Frames")
        row.prop(settings, "frame_end", text="")
    column.prop(settings, "initial_points")


def _draw_foreground(layout: bpy.types.UILayout, settings) -> None:
    layout.label(text="Foreground")
    row = layout.row()
    row.template_list("LEGS4D_UL_foreground", "", settings, "foreground", settings, "foreground_index", rows=3)
    column = row.column(align=True)
    column.operator("legs4d.capture_add_foreground", text="", icon="ADD")
    column.operator("legs4d.capture_remove", text="", icon="REMOVE").table = "foreground"


def _draw_captions(layout: bpy.types.UILayout, settings) -> None:
    layout.label(text="Captions")
    row = layout.row()
    row.template_list("LEGS4D_UL_captions", "", settings, "captions", settings, "captions_index", rows=3)
    column = row.column(align=True)
    column.operator("legs4d.capture_add_caption", text="", icon="ADD")
    column.operator("legs4d.capture_remove", text="", icon="REMOVE").table = "captions"
    if 0 <= settings.captions_index < len(settings.captions):
        layout.prop(settings.captions[settings.captions_index], "target")
    layout.operator("legs4d.capture_captions_from_actions", icon="ACTION")


CLASSES = (LEGS4D_UL_foreground, LEGS4D_UL_captions)
