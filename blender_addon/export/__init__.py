"""Export for compositing: PNG, multilayer EXR with mattes, PLY with highlight, JSON of the intervals."""

from __future__ import annotations

import bpy

from . import operators, properties
from .operators import draw

__all__ = ["CLASSES", "draw", "register", "unregister"]

CLASSES = (*properties.CLASSES, *operators.CLASSES)


def register() -> None:
    """After the classes are registered."""
    bpy.types.Scene.legs4d_export = bpy.props.PointerProperty(type=properties.ExportSettings)


def unregister() -> None:
    """Before the classes are unregistered."""
    del bpy.types.Scene.legs4d_export
