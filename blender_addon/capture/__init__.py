"""Capture a Blender scene as a multi-view dataset: cameras all around, masks, captions, first points."""

from __future__ import annotations

import bpy

from . import operators, panel, properties
from .panel import draw

__all__ = ["CLASSES", "draw", "register", "unregister"]

CLASSES = (*properties.CLASSES, *operators.CLASSES, *panel.CLASSES)


def register() -> None:
    """After the classes are registered."""
    bpy.types.Scene.legs4d_capture = bpy.props.PointerProperty(type=properties.CaptureSettings)


def unregister() -> None:
    """Before the classes are unregistered."""
    del bpy.types.Scene.legs4d_capture
