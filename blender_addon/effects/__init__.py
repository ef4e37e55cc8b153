"""Effects as Blender animation: cameras, keys, markers and strips that stay editable, made from the layers' answers."""

from . import operators, panel

CLASSES = operators.CLASSES
PANELS = panel.CLASSES
"""Registered among the other panels, whose order is the sidebar's."""
