"""Sequences of splat files when a file is opened or saved, and for renders without a window."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..link import session
from ..sequence import handlers, playback
from ..sequence.sequence import everywhere
from . import imports, operators


def register() -> None:
    """After the classes are registered."""
    _menu().append(operators.draw_menu)
    playback.provide_files = imports.provide
    handlers.add(_HANDLERS)


def unregister() -> None:
    """Before the classes are unregistered."""
    _menu().remove(operators.draw_menu)
    playback.provide_files = None
    handlers.remove(_HANDLERS)


def _menu() -> Any:
    return bpy.types.TOPBAR_MT_file_import


@persistent
def _legs4d_splats_load(*_: Any) -> None:
    session.current.imports.close()
    if not bpy.app.background:
        session.current.imports.resume()


@persistent
def _legs4d_splats_save(file: Any = "", *rest: Any) -> None:
    for _, shown in everywhere():
        imports.remember_place(shown.empty, file if isinstance(file, str) and file else bpy.data.filepath)


_HANDLERS = (("load_post", _legs4d_splats_load), ("save_pre", _legs4d_splats_save))
