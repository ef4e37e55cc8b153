"""Undo steps for what happens outside operators."""

import bpy


def remember(label: str) -> None:
    """A step for what just arrived: else undoing the next thing that a person does would undo this one too."""
    if bpy.ops.ed.undo_push.poll():
        bpy.ops.ed.undo_push(message=f"4-LEGS: {label}")
