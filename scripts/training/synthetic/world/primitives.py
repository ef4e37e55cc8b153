"""What shapes are told by: primitives, the colours and nodes they belong to, parts and models of objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Vector = tuple[float, float, float]


class Kind(IntEnum):
    """Primitives, in coordinates of their own."""

    NONE = 0
    ELLIPSOID = 1
    """The unit ball."""
    BOX = 2
    """|x|, |y|, |z| ≤ 1."""
    FRUSTUM = 3
    """|z| ≤ 1, from radius 1 below to radius `top` above: cylinders, cones; hollow ones are tubes, cups and rings."""


class Slot(IntEnum):
    """What gives a part its colour."""

    MAIN = 0
    SECOND = 1
    DARK = 2
    LIGHT = 3
    SKIN = 4
    HAIR = 5
    LEGS = 6
    SHOES = 7
    WOOD = 8
    LEAF = 9
    METAL = 10


class Node(IntEnum):
    """Joints. A thing's hinge is its `UPPER_ARM_L`, and a car's wheels are where other bodies have legs."""

    ROOT = 0
    TORSO = 1
    HEAD = 2
    UPPER_ARM_L = 3
    FOREARM_L = 4
    UPPER_ARM_R = 5
    FOREARM_R = 6
    THIGH_L = 7
    SHIN_L = 8
    THIGH_R = 9
    SHIN_R = 10


HINGE = Node.UPPER_ARM_L
PARTS = 19
"""Most primitives of an object, the last of which is kept for the `ROPE` that things hang on when they swing."""
ROPE = PARTS - 1


@dataclass(frozen=True)
class Part:
    """A primitive in its node's coordinates.

    Attributes:
        kind: which.
        center, size: where it is; half of how large it is along its own axes.
        slot: its colour.
        turn: rotation vector, degrees.
        node: what it hangs on.
        top, hollow: of a frustum, the upper radius and the radius of what is missing inside, shares of the lower radius
            and of the outer one.
    """

    kind: Kind
    center: Vector
    size: Vector
    slot: Slot = Slot.MAIN
    turn: Vector = (0.0, 0.0, 0.0)
    node: Node = Node.ROOT
    top: float = 1.0
    hollow: float = 0.0


@dataclass
class Model:
    """One variant of an object.

    Attributes:
        parts: what it is made of.
        pivots: where nodes other than the root are, in object coordinates; nothing for bodies, which `bones` describes.
        axes: what these nodes turn about.
        bones: of bodies: upper arm, forearm, thigh, shin, torso, half the shoulders' and the hips' width, in metres.
    """

    parts: list[Part]
    pivots: dict[Node, Vector] = field(default_factory=dict)
    axes: dict[Node, Vector] = field(default_factory=dict)
    bones: tuple[float, ...] = ()


Random = np.random.Generator
