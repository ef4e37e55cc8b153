"""Capture a Blender scene as a multi-view dataset: cameras all around, masks, captions, first points."""

from __future__ import annotations

from . import operators, panel, properties
from .panel import draw

__all__ = ["CLASSES", "draw"]

CLASSES = (*properties.CLASSES, *operators.CLASSES, *panel.CLASSES)
