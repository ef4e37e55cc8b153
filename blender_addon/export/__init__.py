"""Export for compositing: pictures and their passes, points, movies, cut lists, and files that need no add-on."""

from __future__ import annotations

from typing import Any

import bpy

from . import files, operators, properties, usd
from .operators import draw

__all__ = ["CLASSES", "draw", "register", "unregister"]

CLASSES = (*properties.CLASSES, *operators.CLASSES, *files.CLASSES, *usd.CLASSES)

_commands: list[object] = []


def register() -> None:
    """After the classes are registered."""
    _menu().append(files.draw_menu)
    _commands.append(bpy.utils.register_cli_command(files.COMMAND, files.run_command))


def unregister() -> None:
    """Before the classes are unregistered."""
    while _commands:
        bpy.utils.unregister_cli_command(_commands.pop())
    _menu().remove(files.draw_menu)


def _menu() -> Any:
    return bpy.types.TOPBAR_MT_file_export
