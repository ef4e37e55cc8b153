"""Sequences of splat files when a file is opened or saved, and for renders without a window."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..link import session
from ..sequence import playback
from ..sequence.sequence import everywhere
from . import imports, operators


def register() -> None:
    """After the classes are registered."""
    unregister()
    bpy.types.TOPBAR_MT_file_import.append(operators.draw_menu)
    playback.provide_files = imports.provide
    for event, handler in _HANDLERS:
        getattr(bpy.app.handlers, event).append(handler)


def unregister() -> None:
    """Before the classes are unregistered; handlers are found by name."""
    bpy.types.TOPBAR_MT_file_import.remove(operators.draw_menu)
    playback.provide_files = None
    for event, handler in _HANDLERS:
        installed = getattr(bpy.app.handlers, event)
        for old in [h for h in installed if (h.__module__, h.__name__) == (handler.__module__, handler.__name__)]:
            installed.remove(old)


@persistent
def _legs4d_splats_load(*_: Any) -> None:
    session.current.imports.close()
    if not bpy.app.background:
        session.current.imports.resume()


@persistent
def _legs4d_splats_save(file: Any = "", *_: Any) -> None:
    for _, shown in everywhere():
        imports.remember_place(shown.empty, file if isinstance(file, str) and file else bpy.data.filepath)


_HANDLERS = (("load_post", _legs4d_splats_load), ("save_pre", _legs4d_splats_save))
