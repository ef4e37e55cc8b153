"""4-LEGS for Blender: type a prompt, and the action it names lights up in a 4D capture."""

from __future__ import annotations

import atexit

import bpy

from . import capture, effects, engine, export, look
from .layers import strip
from .link import session
from .sequence import playback, viewport
from .splats import handlers as splat_handlers
from .splats import operators as splat_operators
from .ui import operators, panels, preferences, properties

CLASSES = (
    *preferences.CLASSES,
    *properties.CLASSES,
    *operators.CLASSES,
    *splat_operators.CLASSES,
    *look.CLASSES,
    *export.CLASSES,
    *capture.CLASSES,
    *effects.CLASSES,
    *engine.CLASSES,
    *panels.CLASSES,
)
"""Everything that Blender registers, in this order."""

_LISTENERS = (
    (properties.on_look_changed, operators.look_changed),
    (properties.on_timing_changed, operators.timing_changed),
    (properties.on_prompt_changed, operators.prompt_changed),
    (properties.on_prompt_entered, operators.prompt_entered),
)


def _close() -> None:
    """Blender ends without unregistering."""
    engine.disconnect()
    session.current.link.close()


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for item in CLASSES:
        bpy.utils.register_class(item)
    properties.attach()
    export.register()
    capture.register()
    for listeners, listener in _LISTENERS:
        listeners.append(listener)
    playback.register()
    splat_handlers.register()
    viewport.register()
    session.register()
    engine.register()
    atexit.register(_close)


def unregister() -> None:
    """Called by Blender when the extension is disabled: leaves nothing behind."""
    atexit.unregister(_close)
    engine.unregister()
    session.unregister()
    viewport.unregister()
    strip.unregister()
    splat_handlers.unregister()
    playback.unregister()
    for listeners, listener in _LISTENERS:
        listeners.remove(listener)
    capture.unregister()
    export.unregister()
    properties.detach()
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
