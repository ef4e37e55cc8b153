"""Undo steps for what happens outside operators."""

from typing import Any

import bpy


def remember(label: str) -> None:
    """A step for what just arrived: else undoing the next thing that a person does would undo this one too."""
    push: Any = bpy.ops.ed.undo_push  # the stub has not its `poll`
    if push.poll():
        push(message=f"4-LEGS: {label}")
