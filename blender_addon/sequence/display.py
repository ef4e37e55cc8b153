"""Bringing everything that shows a sequence up to date."""

from __future__ import annotations

import bpy

from .. import look
from . import playback, viewport


def update(empty: bpy.types.Object, moved: bool = False) -> None:
    """After its layers, mode or display changed: point data, node group, viewport.

    Args:
        moved: whether another moment shows as well, so that all of the points' data is written anew.
    """
    playback.refresh(empty, layers_only=not moved)
    look.sync(empty)
    viewport.apply(empty)
