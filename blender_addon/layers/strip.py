"""A layer's relevancy over time as a small picture in the panel: its curve, where it is active, and the playhead.

Panels can show square icons only, so the picture is a row of square tiles side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

from .. import declare, names
from ..declare import triple
from ..sequence import timing
from ..sequence.properties import LayerProperties
from ..sequence.sequence import Sequence
from . import curves

Array = np.ndarray[Any, Any]

TILES, TILE = 3, 64
"""Tiles in a row, and pixels of each side of one."""
BACKGROUND, FILL, LINE, PLAYHEAD = 0.11, 0.45, 0.85, 1.0
"""Brightness of what the picture consists of; fill and line take the layer's colour."""
UNIT_PIXELS = 20
"""Of Blender's interface at scale 1: an icon's side at scale 1."""
MARGIN_PIXELS = 56
"""What the sidebar's borders and scroll bar take."""
MOST_SAMPLES = TILES * TILE
BUTTONS = 24

_previews: bpy.utils.previews.ImagePreviewCollection | None = None
_drawn: dict[str, Curve] = {}


@dataclass(frozen=True)
class Curve:
    """What a picture shows: anything else leaves it as it is.

    Attributes:
        relevancy: 0..1, evenly spaced over the sequence's scene frames.
        active: whether the layer is active at each.
        color: of the layer, scene linear.
        playhead: column of the picture; -1 outside.
    """

    relevancy: tuple[float, ...]
    active: tuple[bool, ...]
    color: tuple[float, float, float]
    playhead: int


def curve(shown: Sequence, layer: LayerProperties, scene_frame: float) -> Curve:
    """A layer's curve as its F-curves say, edited or not."""
    first, times = timing.moments(shown.empty)
    frames = first + np.linspace(0, len(times) - 1, min(len(times), MOST_SAMPLES))
    share = (scene_frame - first) / max(len(times) - 1, 1)
    return Curve(
        tuple(curves.values(shown.empty, names.curve_property(layer.layer_id, "relevancy"), frames)),
        tuple(v > 0.5 for v in curves.values(shown.empty, names.curve_property(layer.layer_id, "active"), frames)),
        triple(layer.color),
        round(share * (TILES * TILE - 1)) if 0 <= share <= 1 else -1,
    )


def picture(shown: Curve) -> Array:
    """[TILE, TILES * TILE, 4] float32, sRGB-encoded, bottom row first."""
    width = TILES * TILE
    samples = np.linspace(0, len(shown.relevancy) - 1, width)
    heights = np.interp(samples, np.arange(len(shown.relevancy)), shown.relevancy) * (TILE - 4) + 1
    active = np.array(shown.active)[np.round(samples).astype(int)]
    color = np.array(shown.color, np.float32) ** np.float32(1 / 2.2)
    rows = np.arange(TILE)[:, None]
    brightness = np.where(rows <= heights, np.where(active, FILL, FILL / 2), 0.0)
    before = np.concatenate((heights[:1], heights[:-1]))
    on_line = (rows > np.minimum(before, heights) - 1.5) & (rows < np.maximum(before, heights) + 1.5)
    brightness = np.where(on_line, LINE, brightness)
    pixels = np.ones((TILE, width, 4), np.float32)
    ground = BACKGROUND * np.where(active, 2.0, 1.0)[None, :, None]
    pixels[..., :3] = np.maximum(ground, brightness[..., None] * (0.25 + 0.75 * color))
    if shown.playhead >= 0:
        pixels[:, shown.playhead, :3] = PLAYHEAD
    return pixels


def draw(layout: bpy.types.UILayout, context: bpy.types.Context, shown: Sequence, layer: LayerProperties) -> None:
    """The picture, as wide as the sidebar."""
    wanted = curve(shown, layer, context.scene.frame_current_final)
    icons = _icons(layer.layer_id, wanted)
    width = (context.region.width if context.region else 300) / context.preferences.system.ui_scale - MARGIN_PIXELS
    row = layout.row(align=True)
    row.alignment = "CENTER"
    for icon in icons:
        row.template_icon(icon, scale=max(width / UNIT_PIXELS / TILES, 1.0))
    _draw_buttons(layout, shown, wanted)


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


def _draw_buttons(layout: bpy.types.UILayout, shown: Sequence, found: Curve) -> None:
    """Under the picture, a button for each part of the time, pressed where the layer is active."""
    first, times = timing.moments(shown.empty)
    row = layout.row(align=True)
    row.scale_y = 0.5
    edges = np.linspace(0, len(times), min(len(times), BUTTONS) + 1).astype(int)
    for begin, end in pairwise(edges):
        samples = np.linspace(begin, max(end - 1, begin), 3) / max(len(times) - 1, 1) * (len(found.relevancy) - 1)
        places = np.unique(samples.round().astype(int))
        active = any(found.active[place] for place in places)
        button: Any = row.operator("legs4d.go_to", text="", depress=active)
        button.frame = first + int(begin)
        relevancy = max(found.relevancy[place] for place in places)
        button.says = f"Relevancy {relevancy:.2f}, {'active' if active else 'not active'}"


def unregister() -> None:
    """Free the pictures."""
    global _previews
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
    _previews = None
    _drawn.clear()


def _icons(layer_id: str, wanted: Curve) -> list[int]:
    """The tiles' icons, painted anew only where the picture has changed."""
    global _previews
    if _previews is None:
        _previews = bpy.utils.previews.new()
    tiles = [_tile(_previews, f"{layer_id}:{number}") for number in range(TILES)]
    if _drawn.get(layer_id) != wanted:
        pixels = picture(wanted)
        for number, tile in enumerate(tiles):
            part = np.ascontiguousarray(pixels[:, number * TILE : (number + 1) * TILE])
            tile.icon_size = tile.image_size = (TILE, TILE)
            tile.icon_pixels_float.foreach_set(part.reshape(-1))
            tile.image_pixels_float.foreach_set(part.reshape(-1))
        _drawn[layer_id] = wanted
    return [tile.icon_id for tile in tiles]


CLASSES = (LEGS4D_OT_go_to,)


def _tile(previews: bpy.utils.previews.ImagePreviewCollection, name: str) -> Any:
    return previews[name] if name in previews else previews.new(name)
