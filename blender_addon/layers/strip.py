"""A layer's relevancy over time as a chart of buttons in the panel: each goes to its time.

Pictures in panels cannot be clicked, and stand apart from each other; buttons that are aligned touch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from .. import declare, names
from ..sequence import timing
from ..sequence.properties import LayerProperties
from ..sequence.sequence import Sequence
from . import curves

COLUMNS, LEVELS = 24, 4
"""Parts of the time, and steps of relevancy."""
BUTTON_HEIGHT = 0.45
"""Of a button, in those of a usual one."""
SAMPLES = 3
"""Moments of a part of which the highest relevancy shows."""


@dataclass(frozen=True)
class Part:
    """A part of the time.

    Attributes:
        frame: scene frame that it begins at, as F-curves count.
        relevancy: 0..1, the highest in it.
        active: whether the layer is, somewhere in it.
        is_now: whether the playhead is in it.
    """

    frame: int
    relevancy: float
    active: bool
    is_now: bool

    @property
    def height(self) -> int:
        """Of the chart's column, in levels; one at least, so that every part can be seen to be there."""
        return max(round(self.relevancy * LEVELS), 1)


def parts(shown: Sequence, layer: LayerProperties, scene_frame: float) -> list[Part]:
    """A layer's curves as its F-curves say, edited or not, over the frames that show the capture."""
    first, times = timing.moments(shown.empty)
    edges = np.linspace(0, len(times), min(len(times), COLUMNS) + 1).astype(int)
    frames = [np.linspace(begin, max(end - 1, begin), SAMPLES).round() + first for begin, end in pairwise(edges)]
    told = {
        curve: np.array(
            curves.values(shown.empty, names.curve_property(layer.layer_id, curve), np.concatenate(frames))
        ).reshape(-1, SAMPLES)
        for curve in ("relevancy", "active")
    }
    return [
        Part(
            first + int(begin),
            float(values.max()),
            bool((active > 0.5).any()),
            bool(begin <= scene_frame - first < end),
        )
        for (begin, end), values, active in zip(pairwise(edges), told["relevancy"], told["active"], strict=True)
    ]


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, shown: Sequence, layer: LayerProperties) -> None:
    """The chart, as wide as the sidebar: filled up to the relevancy, dim where the layer is not active."""
    row = layout.row(align=True)
    for part in parts(shown, layer, context.scene.frame_current_final):
        column = row.column(align=True)
        column.scale_y = BUTTON_HEIGHT
        column.active = part.active
        column.alert = part.is_now
        for level in range(LEVELS, 0, -1):
            button: Any = column.operator("legs4d.go_to", text="", depress=level <= part.height)
            button.frame = timing.frame_at(context.scene, part.frame)
            button.says = f"Relevancy {part.relevancy:.2f}, {'active' if part.active else 'not active'}"


class LEGS4D_OT_go_to(bpy.types.Operator):
    """Go to this moment"""

    bl_idname = "legs4d.go_to"
    bl_label = "Go to Frame"

    frame = declare.integer("Frame", "Scene frame", options={"SKIP_SAVE"})
    says = declare.string("Says", "What there is", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: Any) -> str:
        """What is at the frame under the mouse."""
        return f"Go to frame {properties.frame}. {properties.says}"

    def execute(self, context: bpy.types.Context) -> declare.Result:
        """Go there."""
        context.scene.frame_set(self.frame)
        return {"FINISHED"}


CLASSES = (LEGS4D_OT_go_to,)
