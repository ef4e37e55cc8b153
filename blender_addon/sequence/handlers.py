"""Blender's application handlers: added in the place of those that an earlier load of their module left."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import bpy

Handlers = Iterable[tuple[str, Callable[..., None]]]
"""(list in `bpy.app.handlers`, `@persistent` function) of each."""


def add(handlers: Handlers) -> None:
    """Add them."""
    remove(handlers)
    for event, handler in handlers:
        getattr(bpy.app.handlers, event).append(handler)


def remove(handlers: Handlers) -> None:
    """Remove them, found by name."""
    for event, handler in handlers:
        installed: list[Any] = getattr(bpy.app.handlers, event)
        for old in [h for h in installed if (h.__module__, h.__name__) == (handler.__module__, handler.__name__)]:
            installed.remove(old)
