"""Sentences in panels."""

from __future__ import annotations

import textwrap

import bpy

from .. import declare

PIXELS_PER_CHARACTER = 6.3
"""Of Blender's interface font, at scale 1, on average."""
MARGIN_CHARACTERS = 10
"""What icon, box and scroll bar take of a line."""


def sentence(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: declare.Icon = "NONE") -> None:
    """A sentence, wrapped to the sidebar's width."""
    scale = context.preferences.system.ui_scale
    width = context.region.width if context.region else 300
    characters = max(20, int(width / scale / PIXELS_PER_CHARACTER) - MARGIN_CHARACTERS)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")
