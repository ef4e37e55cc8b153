"""Control nodes as empties: where each is, and where it would be if nobody had touched it.

What the capture says of a node stands in the empty's delta transforms; its location and rotation are what is done to
it, by hand, by keys, drivers or constraints. Untouched, a node bends nothing, at whatever time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Euler, Matrix, Quaternion, Vector

from ..layers import curves
from . import hanging
from .hanging import NODE
from .sequence import Sequence

Array = np.ndarray[Any, Any]

NEAR = -1
"""Number of one that is no node of the run, and bends what is near it: see `portable.bending.bound`."""
REST = "legs4d_at_rest"
"""Custom property of such a one: its delta transforms, [7] place and quaternion wxyz."""
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

    @property
    def near(self) -> Poses:
        """Those that bend what is near them."""
        return self.of(self.numbers == NEAR)

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
    hanging.hang(shown, made)
    made.rotation_mode = "QUATERNION"
    made.delta_location, made.delta_rotation_quaternion = place.tolist(), turn.tolist()
    if number == NEAR:
        made[REST] = [*place.tolist(), *turn.tolist()]
    return made


def replace(shown: Sequence, gone: list[bpy.types.Object]) -> bpy.types.Collection:
    """Remove nodes; the collection for those in their place, which is where the sequence is: who takes that to another
    file takes them along."""
    before = {collection for one in gone for collection in one.users_collection}
    for one in gone:
        bpy.data.objects.remove(one)
    for collection in before:
        if not collection.all_objects and not collection.children:
            bpy.data.collections.remove(collection)
    made = bpy.data.collections.new(f"{shown.empty.name} {COLLECTION}")
    shown.empty.users_collection[0].children.link(made)
    return made


def of(shown: Sequence) -> list[bpy.types.Object]:
    """A sequence's nodes that are there; what a person wrote over a number is none."""
    return among(hanging.of(shown))


def among(hung: list[bpy.types.Object]) -> list[bpy.types.Object]:
    """The nodes among what hangs below a sequence."""
    numbered = [(child, child.get(NODE)) for child in hung]
    return [child for child, number in numbered if isinstance(number, int) and number >= NEAR]


def near(shown: Sequence) -> list[bpy.types.Object]:
    """Those of a sequence's nodes that bend what is near them."""
    return [one for one in of(shown) if one[NODE] == NEAR]


def of_run(shown: Sequence) -> list[bpy.types.Object]:
    """Those of a sequence's nodes that are nodes of its run."""
    return [one for one in of(shown) if one[NODE] != NEAR]


def keep_rest(found: list[bpy.types.Object]) -> None:
    """Have nodes of no run be at rest where they were made: Apply clears delta transforms, too."""
    for one in found:
        rest = one.get(REST)
        if rest is None or one.library is not None:
            continue
        place, turn = list(rest)[:3], list(rest)[3:]
        if one.delta_location != Vector(place) or one.delta_rotation_quaternion != Quaternion(turn):
            one.delta_location, one.delta_rotation_quaternion = place, turn


def poses(shown: Sequence, found: list[bpy.types.Object], depsgraph: bpy.types.Depsgraph | None) -> Poses:
    """Where these nodes of a sequence are; where it is scaled to nothing, they bend nothing.

    Args:
        depsgraph: as which they are evaluated, or where they are hidden from it, keyed; None: as they stand.
    """
    empty = shown.empty.original if depsgraph is None else shown.empty.original.evaluated_get(depsgraph)
    to_world = Sequence(empty).to_world
    is_flat = to_world.to_3x3().determinant() == 0
    back = np.eye(4) if is_flat else np.linalg.inv(np.array(to_world, np.float64))
    base, now = np.empty((len(found), 7)), np.empty((len(found), 7))
    worlds, sides = [], []
    for row, original in enumerate(found):
        one = original if depsgraph is None else original.evaluated_get(depsgraph)
        if depsgraph is None or one.is_evaluated:
            place, turn, world = one.delta_location, _captured_turn(one), one.matrix_world
        else:
            place, turn, basis = _as_keyed(original, depsgraph.scene.frame_current_final)
            world = empty.matrix_world @ original.matrix_parent_inverse @ basis
        base[row, :3], base[row, 3:] = place[:], turn[:]
        worlds.append(world)
        sides.append(one.scale[:])
    matrices = back @ np.array(worlds, np.float64).reshape(-1, 4, 4)
    # Mirroring a node is nothing to what hangs on it.
    matrices[:, :3, :3] *= np.copysign(1.0, np.array(sides, np.float64)).reshape(-1, 1, 3)
    now[:, :3] = matrices[:, :3, 3]
    now[:, 3:] = np.reshape([Matrix(matrix).to_quaternion()[:] for matrix in matrices.tolist()], (-1, 4))
    return Poses(np.array([one[NODE] for one in found], np.int64), base, base if is_flat else now)


def _as_keyed(node: bpy.types.Object, frame: float) -> tuple[Vector, Quaternion, Matrix]:
    """Delta location and turn, and the transform of both kinds, that keys give it at a scene frame."""

    def at(path: str) -> list[float]:
        courses = [curves.course(node, path, index) for index in range(len(getattr(node, path)))]
        return [
            float(stands if course is None else course(frame))
            for stands, course in zip(getattr(node, path), courses, strict=True)
        ]

    place, mode = Vector(at("delta_location")), node.rotation_mode
    if mode == "QUATERNION":
        captured = Quaternion(at("delta_rotation_quaternion")).normalized()
        turn = Quaternion(at("rotation_quaternion")).normalized()
    elif mode == "AXIS_ANGLE":
        angle, *axis = at("rotation_axis_angle")
        captured, turn = Quaternion(), Quaternion(axis, angle)
    else:
        captured = Euler(at("delta_rotation_euler"), mode).to_quaternion()
        turn = Euler(at("rotation_euler"), mode).to_quaternion()
    moved = Matrix.Translation((place + Vector(at("location")))[:])
    return place, captured, moved @ (captured @ turn).to_matrix().to_4x4()


def are_used(shown: Sequence, some: list[bpy.types.Object] | None = None) -> bool:
    """Whether anything bends a sequence, at this or another moment: any of its nodes, or of some of them."""
    found = of(shown) if some is None else some
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
