"""When sequences are looked after: whenever a person changed the scene, and around saving and loading."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..sequence import handlers, playback, sequence
from . import copies, libraries, parts

_busy = False


def register() -> None:
    """Add the handlers."""
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Remove the handlers, found by name."""
    handlers.remove(_HANDLERS)
    parts.forget()


def look_after(scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer) -> None:
    """Mend what took a sequence apart, and let all of it follow what was done to a part."""
    parts.rejoin(scene)
    found = [shown for shown in sequence.find(scene) if shown.empty.name in scene.objects]
    for shown, original in copies.settle(found):
        playback.show_copy(scene, shown, original)
    for shown in found:
        parts.follow(shown, view_layer)
        playback.check(shown)
        parts.hold_together(shown)


@persistent
def _legs4d_whole_update(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph | None = None, *_: Any) -> None:
    global _busy
    if _busy or depsgraph is None or depsgraph.mode == "RENDER" or playback.is_rendering():
        return
    _busy = True
    try:
        look_after(scene, scene.view_layers[depsgraph.view_layer.name])
    finally:
        _busy = False


@persistent
def _legs4d_whole_load(*_: Any) -> None:
    parts.forget()
    libraries.forget()


@persistent
def _legs4d_whole_save(*_: Any) -> None:
    libraries.give_back()


@persistent
def _legs4d_whole_saved(*_: Any) -> None:
    playback.refresh_all()


_HANDLERS = (
    ("depsgraph_update_post", _legs4d_whole_update),
    ("load_post", _legs4d_whole_load),
    ("save_pre", _legs4d_whole_save),
    ("save_post", _legs4d_whole_saved),
)
