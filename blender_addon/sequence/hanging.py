"""What stands below a sequence's empty in the run's axes: nodes, the run's objects, the cameras that filmed it.

Apply, Set Origin and parenting leave part of a transform in the parent inverse of each child, and what keys say would
then be meant in other axes: so all of these hang as the clouds do, always.
"""

from __future__ import annotations

import bpy
from mathutils import Matrix

from .sequence import Sequence

NODE = "legs4d_node"
"""Custom property of a node's empty: the number of the run's node that it is, or `nodes.NEAR`."""
OBJECT = "legs4d_object"
"""Custom property of the empty of a thing in the run: its place there."""
CAMERA = "legs4d_filmed"
"""Custom property of a camera that filmed the run: its number."""


def of(shown: Sequence) -> list[bpy.types.Object]:
    """All that hangs below a sequence."""
    below = shown.empty.original.children
    return [child for child in below if any(child.get(name) is not None for name in (NODE, OBJECT, CAMERA))]


def inner(shown: Sequence) -> Matrix:
    """From the run's axes to those of the sequence's empty."""
    for child in shown.objects:
        return child.matrix_parent_inverse @ child.matrix_basis
    return Matrix()


def hang(shown: Sequence, made: bpy.types.Object) -> None:
    """Put a new object below a sequence."""
    made.parent, made.matrix_parent_inverse = shown.empty, inner(shown)


def hold(shown: Sequence, found: list[bpy.types.Object]) -> None:
    """Have these, of a sequence, hang as its clouds do, where they are."""
    if shown.locked:
        return
    hung = inner(shown)
    for one in found:
        if one.matrix_parent_inverse != hung:
            local = (shown.empty.matrix_world @ hung).inverted_safe() @ one.matrix_world
            one.matrix_parent_inverse = hung
            one.matrix_basis = local  # less the delta transforms: Blender takes them off
