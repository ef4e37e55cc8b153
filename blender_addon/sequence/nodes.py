"""Control nodes as empties: where each is, and where it would be if nobody had touched it.

What the capture says of a node stands in the empty's delta transforms; its location and rotation are what is done to
it, by hand, by keys, drivers or constraints. Untouched, a node bends nothing, at whatever time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from ..layers import curves
from .sequence import Sequence

Array = np.ndarray[Any, Any]

NODE = "legs4d_node"
"""Custom property of an empty below a sequence's: the number of the run's node that it is, or NEAR."""
NEAR = -1
"""It is no node of the run, and bends what is near it: see `portable.bending.bound`."""
SAME = 1e-5
"""Difference of two poses that is none, Blender's matrices being float32: of places in shares of how far nodes are from
the origin, and of quaternions."""
MOVING = ("location", "rotation_quaternion", "rotation_euler", "rotation_axis_angle")
COLLECTION = "nodes"


@dataclass(frozen=True)
class Poses:
    """The nodes of a sequence at a moment, in the run's axes.

    Attributes:
        numbers: [H] of the run's nodes, or NEAR.
        base: [H, 7] position and quaternion wxyz where they bend nothing.
        now: [H, 7] where they are.
    """

    numbers: Array
    base: Array
    now: Array

    def same_as(self, other: Poses | None) -> bool:
        """Whether they bend alike."""
        if other is None or not np.array_equal(self.numbers, other.numbers):
            return False
        return not (changed(self.base, other.base) | changed(self.now, other.now)).any()

    @property
    def are_moved(self) -> bool:
        """Whether they bend anything."""
        return bool(changed(self.base, self.now).any())

    def of(self, chosen: Array) -> Poses:
        """Some of them, by a mask [H]."""
        return Poses(self.numbers[chosen], self.base[chosen], self.now[chosen])


def add(
    shown: Sequence, collection: bpy.types.Collection, number: int, place: Array, turn: Array, size: float
) -> bpy.types.Object:
    """A node that bends nothing yet.

    Args:
        number: of the run's node, or NEAR.
        place, turn: [3] and [4] wxyz where it is at rest, in the run's axes.
        size: that it is shown in, scene units.
    """
    made = bpy.data.objects.new(f"{shown.empty.name} node", None)
    made.empty_display_type, made.empty_display_size = "ARROWS", size
    made[NODE] = number
    collection.objects.link(made)
    made.parent, made.matrix_parent_inverse, made.rotation_mode = shown.empty, inner(shown), "QUATERNION"
    made.delta_location, made.delta_rotation_quaternion = place.tolist(), turn.tolist()
    return made


def new_collection(scene: bpy.types.Scene, shown: Sequence) -> bpy.types.Collection:
    """For a sequence's nodes."""
    made = bpy.data.collections.new(f"{shown.empty.name} {COLLECTION}")
    scene.collection.children.link(made)
    return made


def of(shown: Sequence) -> list[bpy.types.Object]:
    """A sequence's nodes that are there."""
    return [child for child in shown.empty.original.children if child.get(NODE) is not None]


def inner(shown: Sequence) -> Matrix:
    """From the run's axes to those of the sequence's empty."""
    for child in shown.objects:
        return child.matrix_parent_inverse @ child.matrix_basis
    return Matrix()


def hold(shown: Sequence, found: list[bpy.types.Object]) -> None:
    """Have nodes hang as the sequence's clouds do, where they are: Apply and Set Origin let each hang otherwise, and
    what keys say would be meant in other axes."""
    if shown.locked:
        return
    hung = inner(shown)
    for one in found:
        if one.matrix_parent_inverse != hung:
            local = (shown.empty.matrix_world @ hung).inverted_safe() @ one.matrix_world
            one.matrix_parent_inverse = hung
            one.matrix_basis = local  # less the delta transforms: Blender takes them off


def poses(shown: Sequence, found: list[bpy.types.Object], depsgraph: bpy.types.Depsgraph | None) -> Poses:
    """Where these nodes of a sequence are.

    Args:
        depsgraph: as which they are evaluated; None: as they stand.
    """
    seen = [one if depsgraph is None else one.evaluated_get(depsgraph) for one in found]
    empty = shown.empty.original if depsgraph is None else shown.empty.original.evaluated_get(depsgraph)
    back = np.linalg.inv(np.array(Sequence(empty).to_world, np.float64))
    base, now = np.empty((len(seen), 7)), np.empty((len(seen), 7))
    matrices = np.array([one.matrix_world for one in seen], np.float64).reshape(-1, 4, 4)
    for row, (one, matrix) in enumerate(zip(seen, back @ matrices, strict=True)):
        base[row, :3], base[row, 3:] = one.delta_location[:], _captured_turn(one)[:]
        now[row, :3], now[row, 3:] = matrix[:3, 3], Matrix(matrix.tolist()).to_quaternion()[:]
    return Poses(np.array([int(one[NODE]) for one in found], np.int64), base, now)


def are_used(shown: Sequence) -> bool:
    """Whether anything bends a sequence, at this or another moment."""
    found = of(shown)
    if any(one.constraints or any(curves.animated_paths(one, path) for path in MOVING) for one in found):
        return True
    return bool(found) and poses(shown, found, None).are_moved


def _captured_turn(node: bpy.types.Object) -> Quaternion:
    if node.rotation_mode == "QUATERNION":
        return node.delta_rotation_quaternion.normalized()
    if node.rotation_mode == "AXIS_ANGLE":
        return Quaternion()
    return node.delta_rotation_euler.to_quaternion()


def changed(one: Array, other: Array) -> Array:
    """[H] which of poses [H, 7] are not the same: of a turn two quaternions are."""
    far = SAME * max(float(np.abs(one[:, :3]).max(initial=0)), 1e-3)
    side = np.where(np.einsum("hc,hc->h", one[:, 3:], other[:, 3:]) < 0, -1.0, 1.0)[:, None]
    turned = np.abs(one[:, 3:] - side * other[:, 3:]).max(axis=1, initial=0) > SAME
    return turned | (np.abs(one[:, :3] - other[:, :3]).max(axis=1, initial=0) > far)
