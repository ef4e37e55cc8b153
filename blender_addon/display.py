"""Bringing everything that shows a sequence up to date."""

from __future__ import annotations

import bpy

from . import look, playback, viewport


def update(empty: bpy.types.Object) -> None:
    """After its layers, mode or display changed: point data, node group, viewport."""
    playback.refresh(empty)
    look.sync(empty)
    viewport.apply(empty)
