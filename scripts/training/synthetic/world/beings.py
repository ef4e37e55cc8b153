"""Shapes of whoever moves by itself: animals, people and robots, made of primitives that hang on their bones."""

from __future__ import annotations

import numpy as np

from training.synthetic.world.primitives import Kind, Model, Node, Part, Random, Slot, Vector


def dog(rng: Random) -> Model:
    long, thick, leg = rng.uniform(0.6, 0.9), rng.uniform(0.22, 0.34), rng.uniform(0.28, 0.5)
    head = rng.uniform(0.2, 0.28)
    ears = Slot.SECOND if rng.random() < 0.5 else Slot.MAIN
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (long, thick, thick)),
        Part(Kind.ELLIPSOID, (0.05, 0, 0.1), (head, head * 0.9, head), node=Node.HEAD),
        Part(Kind.ELLIPSOID, (head + 0.1, 0, 0.02), (head * 0.75, head * 0.45, head * 0.45), ears, node=Node.HEAD),
        Part(Kind.ELLIPSOID, (head + 0.28, 0, 0.06), (0.05, 0.05, 0.05), Slot.DARK, node=Node.HEAD),
        *(
            Part(Kind.ELLIPSOID, (-0.03, y * head * 0.75, 0.25), (0.06, 0.05, 0.16), ears, (20 * y, 0, 0), Node.HEAD)
            for y in (-1, 1)
        ),
        Part(Kind.FRUSTUM, (-0.15, 0, 0.15), (0.06, 0.06, 0.25), turn=(0, -40, 0), node=Node.TORSO, top=0.5),
    ]
    pivots: dict[Node, Vector] = {
        Node.HEAD: (0.85 * long, 0, 0.8 * thick),
        Node.TORSO: (-0.9 * long, 0, 0.3 * thick),
    }
    nodes = (Node.THIGH_L, Node.SHIN_L, Node.THIGH_R, Node.SHIN_R)
    for node, (x, y) in zip(nodes, ((0.65, 1), (-0.65, 1), (0.65, -1), (-0.65, -1)), strict=True):
        pivots[node] = (x * long, y * 0.6 * thick, -0.3 * thick)
        parts.append(Part(Kind.FRUSTUM, (0, 0, -leg), (0.08, 0.08, leg), node=node))
        parts.append(Part(Kind.ELLIPSOID, (0.03, 0, -2 * leg), (0.12, 0.08, 0.07), ears, node=node))
    axes: dict[Node, Vector] = dict.fromkeys((*nodes, Node.HEAD), (0.0, 1.0, 0.0))
    return Model(parts, pivots, {**axes, Node.TORSO: (0, 0, 1)})


def bird(rng: Random) -> Model:
    long, thick, span = rng.uniform(0.55, 0.8), rng.uniform(0.25, 0.36), rng.uniform(0.5, 0.8)
    wing = Slot.SECOND if rng.random() < 0.4 else Slot.MAIN
    beak = 0.3 * long
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (long, thick, thick)),
        Part(Kind.ELLIPSOID, (0.05, 0, 0.08), (0.22, 0.2, 0.2), node=Node.HEAD),
        Part(Kind.FRUSTUM, (0.3, 0, 0.06), (0.08, 0.08, beak / 2), Slot.WOOD, (0, 90, 0), Node.HEAD, top=0),
        Part(Kind.ELLIPSOID, (0.15, 0.15, 0.14), (0.04, 0.04, 0.04), Slot.DARK, node=Node.HEAD),
        Part(Kind.ELLIPSOID, (0.15, -0.15, 0.14), (0.04, 0.04, 0.04), Slot.DARK, node=Node.HEAD),
        Part(Kind.BOX, (-long - 0.15, 0, 0.05), (0.3, 0.14, 0.03), wing, (0, 10, 0)),
        Part(Kind.ELLIPSOID, (0, span, 0), (0.3, span, 0.05), wing, node=Node.UPPER_ARM_L),
        Part(Kind.ELLIPSOID, (0, -span, 0), (0.3, span, 0.05), wing, node=Node.UPPER_ARM_R),
        *(Part(Kind.FRUSTUM, (0, y * 0.1, -thick - 0.1), (0.03, 0.03, 0.2), Slot.WOOD) for y in (-1, 1)),
    ]
    pivots: dict[Node, Vector] = {
        Node.HEAD: (0.8 * long, 0, 0.7 * thick),
        Node.UPPER_ARM_L: (0.05, 0.8 * thick, 0.4 * thick),
        Node.UPPER_ARM_R: (0.05, -0.8 * thick, 0.4 * thick),
    }
    axes: dict[Node, Vector] = {Node.HEAD: (0, 1, 0), Node.UPPER_ARM_L: (1, 0, 0), Node.UPPER_ARM_R: (-1, 0, 0)}
    return Model(parts, pivots, axes)


def _bones(rng: Random, build: float) -> tuple[float, ...]:
    base = np.array([0.29, 0.27, 0.43, 0.43, 0.52, 0.19 * build, 0.1])
    return tuple(float(value) for value in base * rng.uniform(0.92, 1.08, len(base)))


def _limbs(bones: tuple[float, ...], thick: float, sleeve: Slot, boxy: bool, skirt: bool) -> list[Part]:
    """Arms and legs; of a bone's node, z runs along the bone."""
    upper, fore, thigh, shin = bones[:4]
    rod = Kind.BOX if boxy else Kind.ELLIPSOID
    stretch = 0.5 if boxy else 0.58
    parts = []
    for arm, hand in ((Node.UPPER_ARM_L, Node.FOREARM_L), (Node.UPPER_ARM_R, Node.FOREARM_R)):
        parts += [
            Part(rod, (0, 0, upper / 2), (0.055 * thick, 0.055 * thick, stretch * upper), node=arm),
            Part(rod, (0, 0, fore / 2), (0.045 * thick, 0.045 * thick, stretch * fore), sleeve, node=hand),
            Part(Kind.ELLIPSOID, (0, 0, fore + 0.03), (0.05, 0.05, 0.07), Slot.SKIN, node=hand),
        ]
    leg_slot = Slot.SKIN if skirt else Slot.LEGS
    for leg, foot in ((Node.THIGH_L, Node.SHIN_L), (Node.THIGH_R, Node.SHIN_R)):
        parts += [
            Part(rod, (0, 0, thigh / 2), (0.085 * thick, 0.085 * thick, stretch * thigh), Slot.LEGS, node=leg),
            Part(rod, (0, 0, shin / 2), (0.06 * thick, 0.06 * thick, stretch * shin), leg_slot, node=foot),
            Part(Kind.ELLIPSOID, (0.06, 0, shin), (0.12, 0.05, 0.05), Slot.SHOES, node=foot),
        ]
    return parts


def man(rng: Random) -> Model:
    bones = _bones(rng, rng.uniform(1.0, 1.2))
    torso, shoulders, hips = bones[4:]
    thick = rng.uniform(0.95, 1.35)
    sleeve = Slot.MAIN if rng.random() < 0.65 else Slot.SKIN
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (0.12 * thick, hips * 1.55, 0.13), Slot.LEGS),
        Part(Kind.ELLIPSOID, (0, 0, 0.62 * torso), (0.13 * thick, shoulders * 1.05, 0.46 * torso), node=Node.TORSO),
        Part(Kind.ELLIPSOID, (0, 0, 0.25 * torso), (0.12 * thick, hips * 1.5, 0.35 * torso), node=Node.TORSO),
        Part(Kind.ELLIPSOID, (0.01, 0, 0.17), (0.1, 0.085, 0.125), Slot.SKIN, node=Node.HEAD),
        Part(Kind.FRUSTUM, (0, 0, 0.02), (0.05, 0.05, 0.07), Slot.SKIN, node=Node.HEAD),
    ]
    if rng.random() < 0.85:  # short hair, or none
        cap = rng.uniform(0.07, 0.1)
        parts.append(Part(Kind.ELLIPSOID, (-0.03, 0, 0.235), (0.1, 0.092, cap), Slot.HAIR, node=Node.HEAD))
    return Model(parts + _limbs(bones, thick, sleeve, boxy=False, skirt=False), bones=bones)


def woman(rng: Random) -> Model:
    bones = _bones(rng, rng.uniform(0.82, 0.96))
    torso, shoulders, hips = bones[4:]
    thick = rng.uniform(0.8, 1.05)
    sleeve = Slot.MAIN if rng.random() < 0.5 else Slot.SKIN
    skirt = rng.random() < 0.4
    long = rng.uniform(0.12, 0.28)
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (0.13 * thick, hips * 1.7, 0.14), Slot.LEGS),
        Part(Kind.ELLIPSOID, (0, 0, 0.66 * torso), (0.115 * thick, shoulders * 1.0, 0.38 * torso), node=Node.TORSO),
        Part(Kind.ELLIPSOID, (0, 0, 0.25 * torso), (0.1 * thick, hips * 1.25, 0.35 * torso), node=Node.TORSO),
        Part(Kind.ELLIPSOID, (0.02, 0, 0.17), (0.095, 0.08, 0.12), Slot.SKIN, node=Node.HEAD),
        # long hair, from the crown down to the neck or the shoulders
        Part(Kind.ELLIPSOID, (-0.045, 0, 0.26 - long * 0.7), (0.085, 0.11, long), Slot.HAIR, node=Node.HEAD),
    ]
    if skirt:
        flare = rng.uniform(1.5, 2.4)
        low = rng.uniform(0.2, 0.36)
        size = (0.14 * flare, hips * 1.1 * flare, low)
        parts.append(Part(Kind.FRUSTUM, (0, 0, 0.1 - low), size, Slot.LEGS, top=1 / flare))
    return Model(parts + _limbs(bones, thick, sleeve, boxy=False, skirt=skirt), bones=bones)


def robot(rng: Random) -> Model:
    bones = _bones(rng, rng.uniform(0.9, 1.35))
    torso, shoulders, hips = bones[4:]
    thick = rng.uniform(0.9, 1.6)
    head = rng.uniform(0.1, 0.17)
    shape = Kind.BOX if rng.random() < 0.7 else Kind.FRUSTUM
    parts = [
        Part(Kind.BOX, (0, 0, 0), (0.1 * thick, hips * 1.3, 0.09), Slot.METAL),
        Part(shape, (0, 0, 0.55 * torso), (0.15 * thick, shoulders * 0.9, 0.47 * torso), node=Node.TORSO),
        Part(Kind.BOX, (0.14 * thick, 0, 0.6 * torso), (0.03, 0.5 * shoulders, 0.12), Slot.SECOND, node=Node.TORSO),
        Part(shape, (0, 0, 0.06 + head), (head, head, head), Slot.METAL, node=Node.HEAD),
        Part(Kind.BOX, (head, 0, 0.08 + head), (0.015, 0.8 * head, 0.2 * head), Slot.DARK, node=Node.HEAD),
        Part(Kind.FRUSTUM, (0, 0, 0.1 + 2.2 * head), (0.012, 0.012, 0.09), Slot.DARK, node=Node.HEAD),
    ]
    return Model(parts + _limbs(bones, thick, Slot.METAL, boxy=rng.random() < 0.7, skirt=False), bones=bones)
