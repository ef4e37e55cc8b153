"""4-LEGS for Blender: type a prompt, and the action it names lights up in a 4D capture."""

from __future__ import annotations

import atexit

import bpy

from . import capture, declare, effects, engine, export, look
from .capture.properties import CaptureSettings
from .engine.properties import RenderSettings
from .export.properties import ExportSettings
from .layers import operators as layer_operators
from .layers import strip
from .link import first_run, session
from .link import operators as link_operators
from .selection import edit_mode, gestures
from .selection import operators as selection_operators
from .sequence import playback, viewport
from .sequence import properties as sequence_properties
from .splats import handlers as splat_handlers
from .splats import operators as splat_operators
from .splats import sample
from .things import kept_operators, making, motion_operators, video
from .things import operators as thing_operators
from .ui import menus, panels, preferences, properties
from .whole import clicking
from .whole import handlers as whole_handlers
from .whole import operators as whole_operators

CLASSES = (
    *preferences.CLASSES,
    *sequence_properties.CLASSES,
    *properties.CLASSES,
    *link_operators.CLASSES,
    *layer_operators.CLASSES,
    *strip.CLASSES,
    *splat_operators.CLASSES,
    *first_run.CLASSES,
    *sample.CLASSES,
    *selection_operators.CLASSES,
    *gestures.CLASSES,
    *thing_operators.CLASSES,
    *kept_operators.CLASSES,
    *motion_operators.CLASSES,
    *making.CLASSES,
    *video.CLASSES,
    *whole_operators.CLASSES,
    *clicking.CLASSES,
    *edit_mode.CLASSES,
    *look.CLASSES,
    *export.CLASSES,
    *capture.CLASSES,
    *effects.CLASSES,
    *engine.CLASSES,
    *panels.CLASSES,
    *menus.CLASSES,
)
"""Everything that Blender registers, in this order."""

_HOMES = (
    (bpy.types.Object, "legs4d", sequence_properties.SequenceProperties),
    (bpy.types.WindowManager, "legs4d", properties.WindowProperties),
    (bpy.types.Scene, "legs4d_export", ExportSettings),
    (bpy.types.Scene, "legs4d_capture", CaptureSettings),
    (bpy.types.Scene, "legs4d_render", RenderSettings),
)
"""Which of Blender's own types has which property group under which name."""

_PARTS = (
    export,
    layer_operators,
    playback,
    edit_mode,
    thing_operators,
    whole_handlers,
    clicking,
    splat_handlers,
    viewport,
    session,
    engine,
    menus,
)
"""What has a `register` and an `unregister` of its own, in this order."""


def _close() -> None:
    """Blender ends without unregistering."""
    engine.disconnect()
    session.current.link.close()


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for item in CLASSES:
        declare.register(item)
    for owner, name, kind in _HOMES:
        setattr(owner, name, declare.pointer(kind))
    for part in _PARTS:
        part.register()
    atexit.register(_close)


def unregister() -> None:
    """Called by Blender when the extension is disabled: leaves nothing behind."""
    atexit.unregister(_close)
    for part in reversed(_PARTS):
        part.unregister()
    for owner, name, _ in _HOMES:
        delattr(owner, name)
    for item in reversed(CLASSES):
        bpy.utils.unregister_class(item)
