"""What panels of the sidebar tab "4-LEGS" share."""

from __future__ import annotations

from typing import Any

import bpy

from .. import declare
from ..sequence import sequence
from .text import sentence


class Sidebar(declare.Panel):
    """A panel of the tab."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "4-LEGS"


class Rows(declare.UIList):
    """A list whose rows are drawn one by one."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, owner: Any, name: Any, index: Any, flags: Any
    ) -> None:
        """Called by Blender, which counts the arguments."""
        self.draw_row(layout, item, index)

    def draw_row(self, layout: Any, item: Any, index: int) -> None:
        """Draw an item of the list."""
        raise NotImplementedError


class SequencePanel(Sidebar):
    """A panel about the sequence that is meant."""

    def draw(self, context: bpy.types.Context) -> None:
        """What `draw_sequence` draws, or what to do first."""
        found = sequence.active(context)
        if found is None:
            sentence(self.layout, context, "Import a run, or select one of its objects.", "INFO")
        else:
            self.draw_sequence(context, found)

    def draw_sequence(self, context: bpy.types.Context, found: sequence.Sequence) -> None:
        """Draw it."""
        raise NotImplementedError
