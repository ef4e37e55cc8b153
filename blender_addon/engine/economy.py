"""While "4-LEGS splats" renders, the sequences' node groups rest: Blender would build ellipsoids for nobody to see."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from .. import look
from ..sequence import handlers, sequence
from .engine import ENGINE

_MARK = "legs4d:resting"
"""Custom property of a cloud's object whose node group rests until the render is over."""


def register() -> None:
    """Add the handlers."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handlers, found by name."""
    handlers.remove(_HANDLERS)


def _clouds(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    return [child for shown in sequence.find(scene) for child in shown.objects]


@persistent
def _legs4d_engine_begins(scene: bpy.types.Scene, *_: Any) -> None:
    if scene.render.engine != ENGINE:
        return
    for layer in scene.view_layers:
        layer.update_render_passes()  # prompts may have come or gone, and each has a pass
    for child in _clouds(scene):
        modifier: Any = child.modifiers.get(look.MODIFIER)
        if modifier is not None and modifier.show_render:
            modifier.show_render = False
            child[_MARK] = True


@persistent
def _legs4d_engine_ends(scene: bpy.types.Scene, *_: Any) -> None:
    """Also after a file was loaded that was saved meanwhile."""
    for item in bpy.data.objects:
        if item.pop(_MARK, False) and look.MODIFIER in item.modifiers:
            item.modifiers[look.MODIFIER].show_render = True


_HANDLERS = (
    ("render_init", _legs4d_engine_begins),
    ("render_complete", _legs4d_engine_ends),
    ("render_cancel", _legs4d_engine_ends),
    ("load_post", _legs4d_engine_ends),
)
