"""A jointed figure for the demo scene: armature, rigidly skinned mesh, and poses from a few hand and hip targets.

Figure space: x forward, y left, z up, metres, feet on z = 0. `bpy` only, nothing of the project.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

UPPER_ARM, FOREARM, THIGH, SHIN = 0.28, 0.27, 0.43, 0.41


@dataclass(frozen=True)
class Pose:
    """One instant of a figure: pelvis displacement, torso lean (radians) forward and to the left, wrist targets."""

    hips: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lean: float = 0.0
    tilt: float = 0.0
    nod: float = 0.0
    left: tuple[float, float, float] = (0.05, 0.27, 0.86)
    right: tuple[float, float, float] = (0.05, -0.27, 0.86)
    step: float = 0.0
    """How far the right foot stands behind the left one."""

    @classmethod
    def reaching(cls, x: float, z: float, side: float, **rest: Any) -> Pose:
        """Both hands around something whose centre is `x` ahead and `z` up, each `side` from the middle."""
        return cls(left=(x, side, z), right=(x, -side, z), **rest)

    @property
    def between_hands(self) -> np.ndarray:
        """[3]."""
        return (np.array(self.left) + np.array(self.right)) / 2

    def mixed(self, other: Pose, share: float) -> Pose:
        """This pose moved towards `other` by `share` (0..1)."""
        mix: dict[str, Any] = {
            name: tuple(np.add(np.multiply(mine, 1 - share), np.multiply(getattr(other, name), share)))
            if isinstance(mine, tuple)
            else mine * (1 - share) + getattr(other, name) * share
            for name, mine in vars(self).items()
        }
        return Pose(**mix)


def smooth(time: float, start: float = 0.0, end: float = 1.0) -> float:
    """0 before `start`, 1 after `end`, and a smooth step between."""
    x = float(np.clip((time - start) / (end - start), 0, 1))
    return x * x * (3 - 2 * x)


def pose_along(keys: list[tuple[float, Pose]], time: float) -> Pose:
    """The pose at a time, smoothly between the two keys around it."""
    if time <= keys[0][0]:
        return keys[0][1]
    for (before, first), (after, second) in itertools.pairwise(keys):
        if time <= after:
            return first.mixed(second, smooth(time, before, after))
    return keys[-1][1]


@dataclass(frozen=True)
class Part:
    """A tapered capsule on a bone: its material slot, and the radii at the bone's head and tail."""

    material: str
    head_radius: float
    tail_radius: float
    flatten: float = 1.0
    """Scale of the figure's x direction: 0.7 makes a torso flatter than wide."""


JOINTS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float], str | None]] = {
    "hips": ((0, 0, 0.92), (0, 0, 1.14), None),
    "chest": ((0, 0, 1.14), (0, 0, 1.40), "hips"),
    "head": ((0.01, 0, 1.52), (0.01, 0, 1.66), "chest"),
    "upper_arm.L": ((0, 0.20, 1.38), (0, 0.23, 1.38 - UPPER_ARM), "chest"),
    "forearm.L": ((0, 0.23, 1.38 - UPPER_ARM), (0, 0.23, 1.38 - UPPER_ARM - FOREARM), "upper_arm.L"),
    "upper_arm.R": ((0, -0.20, 1.38), (0, -0.23, 1.38 - UPPER_ARM), "chest"),
    "forearm.R": ((0, -0.23, 1.38 - UPPER_ARM), (0, -0.23, 1.38 - UPPER_ARM - FOREARM), "upper_arm.R"),
    "thigh.L": ((0, 0.11, 0.90), (0, 0.11, 0.90 - THIGH), "hips"),
    "shin.L": ((0, 0.11, 0.90 - THIGH), (0, 0.11, 0.07), "thigh.L"),
    "thigh.R": ((0, -0.11, 0.90), (0, -0.11, 0.90 - THIGH), "hips"),
    "shin.R": ((0, -0.11, 0.90 - THIGH), (0, -0.11, 0.07), "thigh.R"),
}
"""Bone → (head, tail, parent) at rest."""

PARTS: dict[str, list[Part]] = {
    "hips": [Part("trousers", 0.15, 0.14, 0.75)],
    "chest": [Part("shirt", 0.15, 0.17, 0.72)],
    "head": [Part("skin", 0.105, 0.115)],
    "upper_arm.L": [Part("shirt", 0.075, 0.058)],
    "upper_arm.R": [Part("shirt", 0.075, 0.058)],
    "forearm.L": [Part("skin", 0.052, 0.062)],
    "forearm.R": [Part("skin", 0.052, 0.062)],
    "thigh.L": [Part("trousers", 0.105, 0.078)],
    "thigh.R": [Part("trousers", 0.105, 0.078)],
    "shin.L": [Part("trousers", 0.076, 0.06)],
    "shin.R": [Part("trousers", 0.076, 0.06)],
}


def build_figure(
    name: str, materials: Mapping[str, bpy.types.Material], collection: bpy.types.Collection
) -> bpy.types.Object:
    """The armature object of a new figure, its skinned mesh parented to it.

    Args:
        name: what a caption calls the figure.
        materials: `skin`, `hair`, `shirt`, `trousers`, `shoes`.
        collection: where both objects are linked; it must be in the active view layer.
    """
    armature = bpy.data.objects.new(name, bpy.data.armatures.new(name))
    collection.objects.link(armature)
    _add_bones(armature)
    body = bpy.data.objects.new(f"{name}, body", _skin(name, materials))
    collection.objects.link(body)
    body.parent = armature
    for bone in JOINTS:
        body.vertex_groups.new(name=bone)
    _assign_weights(body)
    body.modifiers.new("Armature", "ARMATURE").object = armature
    return armature


def pose_rotations(armature: bpy.types.Object, pose: Pose) -> dict[str, np.ndarray]:
    """Bone → its local rotation (wxyz) in this pose, and "hips location" → the pelvis displacement in bone space."""
    rest = {bone.name: bone.matrix_local.to_3x3() for bone in armature.data.bones}
    turns = _bone_turns(pose)
    channels: dict[str, np.ndarray] = {}
    for name, (_, _, parent) in JOINTS.items():
        inherited = (turns[parent] if parent else Matrix.Identity(3)) @ rest[name]
        channels[name] = np.array((inherited.inverted() @ turns[name] @ rest[name]).to_quaternion())
    channels["hips location"] = np.array(rest["hips"].inverted() @ Vector(pose.hips))
    return channels


def _bone_turns(pose: Pose) -> dict[str, Matrix]:
    """Bone → rotation from its rest orientation to its posed one, in figure space."""
    hips = Vector(pose.hips)
    torso = Matrix.Rotation(pose.lean, 3, "Y") @ Matrix.Rotation(pose.tilt, 3, "X")
    half = Matrix.Rotation(pose.lean / 2, 3, "Y") @ Matrix.Rotation(pose.tilt / 2, 3, "X")
    turns = {"hips": half, "chest": torso, "head": Matrix.Rotation(pose.nod, 3, "Y")}
    pelvis = Vector(JOINTS["hips"][0]) + hips
    chest = pelvis + half @ (Vector(JOINTS["chest"][0]) - Vector(JOINTS["hips"][0]))
    for side, wrist in (("L", pose.left), ("R", pose.right)):
        shoulder = chest + torso @ (Vector(JOINTS[f"upper_arm.{side}"][0]) - Vector(JOINTS["chest"][0]))
        outwards = Vector((-0.4, 0.7 if side == "L" else -0.7, -0.6))
        turns |= _limb(f"upper_arm.{side}", f"forearm.{side}", shoulder, Vector(wrist), outwards)
        hip = pelvis + half @ (Vector(JOINTS[f"thigh.{side}"][0]) - Vector(JOINTS["hips"][0]))
        foot = Vector(JOINTS[f"shin.{side}"][1]) + Vector((pose.step * (0.5 if side == "L" else -0.5), 0, 0))
        turns |= _limb(f"thigh.{side}", f"shin.{side}", hip, foot, Vector((1, 0, 0)))
    return turns


def _limb(upper: str, lower: str, root: Vector, target: Vector, pole: Vector) -> dict[str, Matrix]:
    """Two-bone inverse kinematics: the limb from `root` reaches for `target`, its joint towards `pole`."""
    lengths = [(Vector(JOINTS[b][1]) - Vector(JOINTS[b][0])).length for b in (upper, lower)]
    reach = target - root
    distance = min(reach.length, sum(lengths) * 0.999)
    axis = reach.normalized()
    along = (lengths[0] ** 2 - lengths[1] ** 2 + distance**2) / (2 * distance)
    aside = max(lengths[0] ** 2 - along**2, 0.0) ** 0.5
    across = (pole - axis * pole.dot(axis)).normalized()
    joint = root + axis * along + across * aside
    end = root + axis * distance
    return {
        bone: _rest_direction(bone).rotation_difference(direction).to_matrix()
        for bone, direction in ((upper, joint - root), (lower, end - joint))
    }


def _rest_direction(bone: str) -> Vector:
    return Vector(JOINTS[bone][1]) - Vector(JOINTS[bone][0])


def _add_bones(armature: bpy.types.Object) -> None:
    view_layer = bpy.context.view_layer
    view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for name, (head, tail, parent) in JOINTS.items():
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail = head, tail
        bone.parent = armature.data.edit_bones[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"


def _skin(name: str, materials: Mapping[str, bpy.types.Material]) -> bpy.types.Mesh:
    """All capsules of the figure as one mesh; each vertex carries its bone's number in the attribute `bone`."""
    slots, bones = list(materials), list(JOINTS)
    points: list[np.ndarray] = []
    faces, face_slots, vertex_bones = [], [], []

    def add(solid: tuple[np.ndarray, list[list[int]]], bone: str, material: str) -> None:
        start = sum(map(len, points))
        points.append(solid[0])
        faces.extend([[i + start for i in face] for face in solid[1]])
        face_slots.extend([slots.index(material)] * len(solid[1]))
        vertex_bones.extend([bones.index(bone)] * len(solid[0]))

    for bone, parts in PARTS.items():
        head, tail = (np.array(p, dtype=float) for p in JOINTS[bone][:2])
        for part in parts:
            add(capsule(head, tail, part.head_radius, part.tail_radius, part.flatten), bone, part.material)
    add(capsule(np.array([-0.03, 0, 1.62]), np.array([-0.02, 0, 1.69]), 0.115, 0.1), "head", "hair")
    add(capsule(np.array([0, 0, 1.38]), np.array([0, 0, 1.48]), 0.055, 0.05), "chest", "skin")
    for side, y in (("L", 0.11), ("R", -0.11)):
        add(capsule(np.array([-0.03, y, 0.05]), np.array([0.13, y, 0.04]), 0.05, 0.042), f"shin.{side}", "shoes")

    mesh = bpy.data.meshes.new(f"{name}, body")
    mesh.from_pydata(np.concatenate(points).tolist(), [], faces)
    for material in materials.values():
        mesh.materials.append(material)
    mesh.polygons.foreach_set("material_index", face_slots)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    mesh.attributes.new("bone", "INT", "POINT").data.foreach_set("value", vertex_bones)
    return mesh


def _assign_weights(body: bpy.types.Object) -> None:
    bone_of = np.empty(len(body.data.vertices), dtype=np.int32)
    body.data.attributes["bone"].data.foreach_get("value", bone_of)
    for number, name in enumerate(JOINTS):
        body.vertex_groups[name].add(np.flatnonzero(bone_of == number).tolist(), 1.0, "REPLACE")


def capsule(
    head: np.ndarray, tail: np.ndarray, head_radius: float, tail_radius: float, flatten: float = 1.0, sides: int = 16
) -> tuple[np.ndarray, list[list[int]]]:
    """Vertices [V, 3] and faces of a tapered capsule around the segment head-tail, `flatten` scaling its x extent."""
    axis = (tail - head) / np.linalg.norm(tail - head)
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 1.0, 0])
    across = np.cross(axis, helper)
    across /= np.linalg.norm(across)
    other = np.cross(axis, across)
    arcs = np.linspace(0.05, np.pi / 2, 6)
    rings = [(head - axis * head_radius * np.cos(a), head_radius * np.sin(a)) for a in arcs]
    rings += [(tail + axis * tail_radius * np.cos(a), tail_radius * np.sin(a)) for a in arcs[::-1]]
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    circle = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * other
    points = np.concatenate([centre + radius * circle for centre, radius in rings])
    points[:, 0] = (points[:, 0] - head[0]) * flatten + head[0]
    faces = [
        [r * sides + s, r * sides + (s + 1) % sides, (r + 1) * sides + (s + 1) % sides, (r + 1) * sides + s]
        for r in range(len(rings) - 1)
        for s in range(sides)
    ]
    faces.append(list(range(sides))[::-1])
    faces.append([(len(rings) - 1) * sides + s for s in range(sides)])
    return points, faces
