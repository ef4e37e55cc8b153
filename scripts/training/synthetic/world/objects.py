"""Shapes of every kind of object: a library of variants, each a few primitives that hang on the nodes of a skeleton."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.synthetic.schema import OBJECTS
from training.synthetic.words.abilities import PEOPLE
from training.synthetic.world.beings import bird, dog, man, robot, woman
from training.synthetic.world.primitives import (
    HINGE,
    PARTS,
    ROPE,
    Floats,
    Kind,
    Model,
    Node,
    Part,
    Random,
    Slot,
    Vector,
)

VARIANTS = 48
"""Of each kind of object."""


def ball(rng: Random) -> Model:
    return Model([Part(Kind.ELLIPSOID, (0, 0, 0), (1, 1, 1))])


def balloon(rng: Random) -> Model:
    tall = rng.uniform(1.05, 1.35)
    string = rng.uniform(0.0, 1.0)
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (1, 1, tall)),
        Part(Kind.FRUSTUM, (0, 0, -tall - 0.06), (0.12, 0.12, 0.1), top=0.2),
    ]
    if string > 0.4:
        parts.append(Part(Kind.FRUSTUM, (0, 0, -tall - 0.1 - string), (0.02, 0.02, string), Slot.LIGHT))
    return Model(parts)


def box(rng: Random) -> Model:
    x, y, z = rng.uniform(0.6, 1.2), rng.uniform(0.6, 1.2), rng.uniform(0.5, 1.1)
    wall = rng.uniform(0.03, 0.08)
    parts = [
        Part(Kind.BOX, (0, 0, -z + wall), (x, y, wall)),
        *(Part(Kind.BOX, (side * (x - wall), 0, 0), (wall, y, z)) for side in (-1, 1)),
        *(Part(Kind.BOX, (0, side * (y - wall), 0), (x, wall, z)) for side in (-1, 1)),
        Part(Kind.BOX, (x, 0, wall), (x, y, wall), node=HINGE),
    ]
    style = rng.integers(3)
    if style == 1:  # a crate: posts at its edges
        post = rng.uniform(0.06, 0.14)
        for a in (-1, 1):
            parts += [Part(Kind.BOX, (a * x, b * y, 0), (post, post, z * 1.01), Slot.SECOND) for b in (-1, 1)]
    if style == 2:  # a parcel: ribbons
        ribbon = rng.uniform(0.06, 0.16)
        parts += [
            Part(Kind.BOX, (0, 0, 0), (ribbon, y * 1.01, z * 1.005), Slot.SECOND),
            Part(Kind.BOX, (x, 0, wall), (ribbon, y * 1.01, wall * 1.1), Slot.SECOND, node=HINGE),
        ]
        # A ribbon fills the box, which is only seen when that is open.
        parts[-2] = Part(Kind.BOX, (0, y, 0), (ribbon, 0.02, z), Slot.SECOND)
        parts.append(Part(Kind.BOX, (0, -y, 0), (ribbon, 0.02, z), Slot.SECOND))
    return Model(parts, {HINGE: (-x, 0, z)}, {HINGE: (0, -1, 0)})


def cylinder(rng: Random) -> Model:
    return Model([Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, rng.uniform(0.7, 2.2)))])


def cone(rng: Random) -> Model:
    tall = rng.uniform(0.9, 1.7)
    parts = [Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, tall), top=rng.choice([0.0, 0.0, 0.12]))]
    if rng.random() < 0.4:  # as on roads
        parts.append(Part(Kind.BOX, (0, 0, -tall - 0.06), (1.15, 1.15, 0.07)))
        middle = rng.uniform(0.3, 0.5)
        radius = 1 - (1 - parts[0].top) * middle
        band = Part(Kind.FRUSTUM, (0, 0, -tall + 2 * tall * middle), (radius, radius, 0.2), Slot.SECOND, top=0.84)
        parts.append(band)
    return Model(parts)


def ring(rng: Random) -> Model:
    hollow = rng.uniform(0.55, 0.85)
    return Model([Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, rng.uniform(0.1, 0.3)), hollow=hollow)])


def wheel(rng: Random) -> Model:
    width, rim = rng.uniform(0.12, 0.35), rng.uniform(0.6, 0.8)
    parts = [
        Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, width), Slot.MAIN if rng.random() < 0.5 else Slot.DARK, hollow=rim),
        Part(Kind.FRUSTUM, (0, 0, 0), (rim, rim, width * 0.8), hollow=0.85),
        Part(Kind.FRUSTUM, (0, 0, 0), (0.2, 0.2, width * 1.1), Slot.SECOND),
    ]
    count = int(rng.integers(2, 5))
    for spoke in range(count):
        turn = 180 * spoke / count
        parts.append(Part(Kind.BOX, (0, 0, 0), (rim, rng.uniform(0.06, 0.1), width * 0.4), turn=(0, 0, turn)))
    return Model(parts)


def door(rng: Random) -> Model:
    wide, tall, thick, beam = rng.uniform(0.75, 1.1), rng.uniform(1.7, 2.2), rng.uniform(0.05, 0.09), 0.12
    panel_slot = Slot.SECOND if rng.random() < 0.6 else Slot.MAIN
    parts = [
        *(Part(Kind.BOX, (0, side * (wide + beam), 0), (0.12, beam, tall), Slot.LIGHT) for side in (-1, 1)),
        Part(Kind.BOX, (0, 0, tall + beam), (0.12, wide + 2 * beam, beam), Slot.LIGHT),
        Part(Kind.BOX, (0, wide, 0), (thick, wide, tall), node=HINGE),
        Part(Kind.ELLIPSOID, (0.12, 1.8 * wide, rng.uniform(-0.2, 0.1)), (0.1, 0.1, 0.1), Slot.METAL, node=HINGE),
        Part(Kind.ELLIPSOID, (-0.12, 1.8 * wide, 0), (0.1, 0.1, 0.1), Slot.METAL, node=HINGE),
    ]
    rows = int(rng.integers(0, 4))
    for row in range(rows):
        z = tall * ((2 * row + 1) / rows - 1)
        parts.append(
            Part(Kind.BOX, (0, wide, z), (thick + 0.025, 0.7 * wide, 0.75 * tall / rows), panel_slot, node=HINGE)
        )
    side = 1.0
    if rng.random() < 0.7:  # it opens towards us, and behind it is another, darker or brighter room
        slot = Slot.DARK if rng.random() < 0.7 else Slot.LIGHT
        parts.append(Part(Kind.BOX, (-0.1, 0, 0), (0.01, wide + beam, tall + beam), slot))
        side = -1.0
    return Model(parts, {HINGE: (0, -wide, 0)}, {HINGE: (0, 0, side)})


def book(rng: Random) -> Model:
    wide, tall, thick, cover = rng.uniform(0.55, 0.8), 1.0, rng.uniform(0.08, 0.22), 0.03
    return Model(
        [
            Part(Kind.BOX, (0, 0, -thick), (wide, tall, cover)),
            Part(Kind.BOX, (0, 0, -0.45 * thick), (wide * 0.96, tall * 0.95, thick * 0.5), Slot.LIGHT),
            Part(Kind.BOX, (-wide, 0, 0), (cover, tall, thick), Slot.MAIN),
            Part(Kind.BOX, (wide, 0, -cover), (wide, tall, cover), node=HINGE),
            Part(
                Kind.BOX,
                (wide * 0.98, 0, -0.3 * thick),
                (wide * 0.93, tall * 0.95, thick * 0.25),
                Slot.LIGHT,
                node=HINGE,
            ),
            Part(Kind.BOX, (wide, rng.uniform(-0.3, 0.4), 0.005), (0.6 * wide, 0.15, cover), Slot.SECOND, node=HINGE),
        ],
        {HINGE: (-wide, 0, thick)},
        {HINGE: (0, -1, 0)},
    )


def chair(rng: Random) -> Model:
    deep, wide, leg, back = rng.uniform(0.5, 0.65), rng.uniform(0.5, 0.65), rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.8)
    thin = rng.uniform(0.04, 0.08)
    legs = Slot.MAIN if rng.random() < 0.5 else Slot.SECOND
    parts = [Part(Kind.BOX, (0, 0, 0), (deep, wide, 0.07))]
    for x in (-1, 1):
        for y in (-1, 1):
            parts.append(Part(Kind.BOX, (x * (deep - thin), y * (wide - thin), -leg), (thin, thin, leg), legs))
    if rng.random() < 0.5:
        parts.append(Part(Kind.BOX, (-deep, 0, back), (0.05, wide, back)))
    else:
        parts += [Part(Kind.BOX, (-deep, y * (wide - thin), back), (thin, thin, back), legs) for y in (-1, 1)]
        parts += [Part(Kind.BOX, (-deep, 0, back * z), (0.04, wide, 0.13)) for z in (1.0, 1.75)]
    return Model(parts)


def table(rng: Random) -> Model:
    deep, wide, leg = rng.uniform(0.5, 0.9), rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.75)
    legs = Slot.MAIN if rng.random() < 0.6 else Slot.SECOND
    if rng.random() < 0.3:
        return Model(
            [
                Part(Kind.FRUSTUM, (0, 0, leg), (wide, wide, 0.06)),
                Part(Kind.FRUSTUM, (0, 0, 0), (0.1, 0.1, leg), legs),
                Part(Kind.FRUSTUM, (0, 0, -leg), (0.5 * wide, 0.5 * wide, 0.05), legs),
            ]
        )
    parts = [Part(Kind.BOX, (0, 0, leg), (deep, wide, 0.06))]
    thin = rng.uniform(0.05, 0.1)
    for x in (-1, 1):
        for y in (-1, 1):
            parts.append(Part(Kind.BOX, (x * (deep - thin), y * (wide - thin), 0), (thin, thin, leg), legs))
    return Model(parts)


def lamp(rng: Random) -> Model:
    pole, shade = rng.uniform(0.6, 1.6), rng.uniform(0.35, 0.6)
    return Model(
        [
            Part(Kind.FRUSTUM, (0, 0, -pole), (0.4, 0.4, 0.05), Slot.SECOND),
            Part(Kind.FRUSTUM, (0, 0, 0), (0.05, 0.05, pole), Slot.SECOND),
            Part(Kind.FRUSTUM, (0, 0, pole), (shade, shade, shade * 0.8), top=rng.uniform(0.4, 0.9), hollow=0.93),
            Part(Kind.ELLIPSOID, (0, 0, pole), (0.15, 0.15, 0.2), Slot.LIGHT),
        ]
    )


def cup(rng: Random) -> Model:
    tall = rng.uniform(0.8, 1.4)
    return Model(
        [
            Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, tall), turn=(180, 0, 0), top=rng.uniform(0.7, 1.0), hollow=0.88),
            Part(Kind.FRUSTUM, (0, 0, -0.85 * tall), (0.68, 0.68, 0.08)),
            Part(Kind.FRUSTUM, (0, 0, 0.5 * tall), (0.8, 0.8, 0.02), Slot.DARK),
            Part(Kind.FRUSTUM, (1.05, 0, 0), (0.5, 0.6 * tall, 0.12), turn=(90, 0, 0), hollow=0.68),
        ]
    )


def bottle(rng: Random) -> Model:
    tall, neck, slim = rng.uniform(1.3, 2.0), rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.4)
    return Model(
        [
            Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, tall)),
            Part(Kind.FRUSTUM, (0, 0, tall + 0.35), (1, 1, 0.36), top=slim),
            Part(Kind.FRUSTUM, (0, 0, tall + 0.6 + neck), (slim, slim, neck)),
            Part(Kind.FRUSTUM, (0, 0, tall + 0.6 + 2 * neck), (slim * 1.2, slim * 1.2, 0.14), Slot.SECOND),
            Part(Kind.FRUSTUM, (0, 0, rng.uniform(-0.4, 0.3)), (1.02, 1.02, rng.uniform(0.3, 0.6)), Slot.SECOND),
        ]
    )


def plate(rng: Random) -> Model:
    deep = rng.uniform(0.1, 0.18)
    return Model(
        [
            Part(Kind.FRUSTUM, (0, 0, 0), (1, 1, deep), turn=(180, 0, 0), top=0.65, hollow=0.93),
            Part(Kind.FRUSTUM, (0, 0, -0.5 * deep), (0.72, 0.72, 0.03)),
            Part(Kind.FRUSTUM, (0, 0, 0.9 * deep), (1.0, 1.0, 0.03), Slot.SECOND, hollow=rng.uniform(0.86, 0.95)),
        ]
    )


def hammer(rng: Random) -> Model:
    long, head = rng.uniform(1.2, 1.9), rng.uniform(0.45, 0.7)
    thick = rng.uniform(0.18, 0.3)
    shape = Kind.BOX if rng.random() < 0.5 else Kind.FRUSTUM
    return Model(
        [
            Part(Kind.FRUSTUM, (0, 0, 0), (0.11, 0.11, long), Slot.WOOD if rng.random() < 0.4 else Slot.SECOND),
            Part(shape, (0, 0, long), (thick, thick, head), turn=(0, 90, 0)),
        ]
    )


def car(rng: Random) -> Model:
    long, wide, low = rng.uniform(1.2, 1.7), rng.uniform(0.55, 0.75), rng.uniform(0.22, 0.35)
    radius = rng.uniform(0.24, 0.34)
    back, front = rng.uniform(-0.9, -0.5) * long, rng.uniform(0.3, 0.6) * long
    roof = rng.uniform(0.22, 0.4)
    middle, half = (back + front) / 2, (front - back) / 2
    parts = [
        Part(Kind.BOX, (0, 0, 0), (long, wide, low)),
        Part(Kind.BOX, (middle, 0, low + roof), (half, 0.88 * wide, roof), Slot.DARK),
        Part(Kind.BOX, (middle - 0.05, 0, low + 2 * roof), (0.93 * half, 0.9 * wide, 0.06)),
        *(Part(Kind.ELLIPSOID, (long, y * 0.7 * wide, 0.05), (0.06, 0.12, 0.1), Slot.LIGHT) for y in (-1, 1)),
    ]
    pivots: dict[Node, Vector] = {}
    nodes = (Node.THIGH_L, Node.SHIN_L, Node.THIGH_R, Node.SHIN_R)
    for node, (x, y) in zip(nodes, ((0.62, 1), (-0.62, 1), (0.62, -1), (-0.62, -1)), strict=True):
        pivots[node] = (x * long, y * wide, -low)
        parts += [
            Part(Kind.FRUSTUM, (0, 0, 0), (radius, radius, 0.1), Slot.DARK, turn=(90, 0, 0), node=node),
            Part(Kind.BOX, (0, 0, 0), (0.6 * radius, 0.12, 0.3 * radius), Slot.METAL, node=node),
        ]
    return Model(parts, pivots, dict.fromkeys(nodes, (0.0, 1.0, 0.0)))


def plane(rng: Random) -> Model:
    span, sweep = rng.uniform(0.9, 1.4), rng.uniform(0, 25)
    body = rng.uniform(0.12, 0.2)
    wing = Slot.MAIN if rng.random() < 0.5 else Slot.SECOND
    parts = [
        Part(Kind.ELLIPSOID, (0, 0, 0), (1.2, body, body)),
        Part(Kind.BOX, (-1.0, 0, 0.25), (0.14, 0.03, 0.22), wing),
        Part(Kind.BOX, (-1.0, 0, 0.05), (0.14, 0.42, 0.03), wing),
        Part(Kind.ELLIPSOID, (0.7, 0, 0.1), (0.25, 0.09, 0.1), Slot.DARK),
    ]
    for side in (-1, 1):
        turn = (0.0, 0.0, side * sweep)
        parts.append(Part(Kind.BOX, (-0.15, side * span / 2, 0), (0.25, span / 2, 0.03), wing, turn=turn))
    return Model(parts)


def tree(rng: Random) -> Model:
    trunk = rng.uniform(0.5, 1.0)
    parts = [Part(Kind.FRUSTUM, (0, 0, -trunk), (0.17, 0.17, trunk), Slot.WOOD, top=0.6)]
    if rng.random() < 0.4:
        for level in range(3):
            size = 0.8 - 0.18 * level
            parts.append(Part(Kind.FRUSTUM, (0, 0, 0.2 + 0.5 * level), (size, size, 0.45), Slot.LEAF, top=0.05))
    else:
        for _ in range(int(rng.integers(3, 7))):
            x, y, z = rng.normal(0, 0.35, 3)
            sizes = rng.uniform(0.4, 0.75, 3)
            parts.append(Part(Kind.ELLIPSOID, (x, y, 0.5 + z), tuple(sizes), Slot.LEAF))
    return Model(parts)


BUILDERS: dict[str, Callable[[Random], Model]] = {
    **{"man": man, "woman": woman, "robot": robot, "dog": dog, "bird": bird, "ball": ball, "balloon": balloon},
    **{"box": box, "cylinder": cylinder, "cone": cone, "ring": ring, "wheel": wheel, "door": door, "book": book},
    **{"chair": chair, "table": table, "lamp": lamp, "cup": cup, "bottle": bottle, "plate": plate},
    **{"hammer": hammer, "car": car, "plane": plane, "tree": tree},
}

HEIGHT = {
    **{"man": 1.8, "woman": 1.68, "robot": 1.6, "dog": 0.7, "bird": 0.35, "ball": 0.28, "balloon": 0.45, "box": 0.5},
    **{"cylinder": 0.5, "cone": 0.5, "ring": 0.5, "wheel": 0.6, "door": 2.1, "book": 0.35, "chair": 0.95, "table": 1.2},
    **{"lamp": 0.9, "cup": 0.2, "bottle": 0.32, "plate": 0.3, "hammer": 0.4, "car": 1.6, "plane": 0.8, "tree": 2.2},
}
"""Metres that an object usually measures along its longest side."""


@dataclass(frozen=True)
class Library:
    """All variants, object by object, `VARIANTS` of each: V in all.

    Attributes:
        kind, slot, node: [V, PARTS] int64 of `Kind`, `Slot` and `Node`.
        local: [V, PARTS, 3, 4] from a primitive's own coordinates to its node's.
        size: [V, PARTS, 3] half sizes of primitives.
        frustum: [V, PARTS, 2] `top` and `hollow` of frusta.
        pivot, axis: [V, nodes, 3] of things.
        bones: [V, 7] of people, whose parts are in metres; of things, which measure 1 along their longest side, 0.
        half: [V, 3] half of the extents of the thing at rest, whose centre is its origin.
    """

    kind: NDArray[np.int64]
    slot: NDArray[np.int64]
    node: NDArray[np.int64]
    local: Floats
    size: Floats
    frustum: Floats
    pivot: Floats
    axis: Floats
    bones: Floats
    half: Floats


@lru_cache(maxsize=1)
def library() -> Library:
    """The same for everybody: what differs between runs is what is drawn from it."""
    rng = np.random.default_rng(7)
    models = [(name, BUILDERS[name](rng)) for name in OBJECTS for _ in range(VARIANTS)]
    rows = [_normalised(name, model) for name, model in models]
    return Library(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _normalised(name: str, model: Model) -> dict[str, NDArray[np.generic]]:
    """A model's row of the library."""
    assert len(model.parts) <= ROPE, (name, len(model.parts))
    local = np.zeros((PARTS, 3, 4), np.float32)
    numbers = np.zeros((3, PARTS), np.int64)
    size = np.zeros((PARTS, 3), np.float32)
    frustum = np.zeros((PARTS, 2), np.float32)
    pivot, axis = np.zeros((len(Node), 3), np.float32), np.tile(np.array([0, 0, 1], np.float32), (len(Node), 1))
    for node, place in model.pivots.items():
        pivot[node], axis[node] = place, model.axes[node]
    for index, part in enumerate(model.parts):
        turn = _rotation(np.radians(part.turn))
        local[index] = np.concatenate([turn * np.array(part.size), np.array(part.center)[:, None]], axis=1)
        numbers[:, index] = part.kind, part.slot, part.node
        size[index] = part.size
        frustum[index] = part.top, part.hollow
    half = np.array([0.3, 0.3, 0.88], np.float32)
    if name not in PEOPLE:
        extent = np.abs(local[:, :, :3]).sum(axis=2)  # of a box; of what is round, a little more than it has
        there = numbers[0] > 0
        centers = local[:, :, 3] + pivot[numbers[2]]
        low, high = (centers - extent)[there].min(axis=0), (centers + extent)[there].max(axis=0)
        scale = 1 / (high - low).max()
        middle = (low + high) / 2
        local[:, :, 3] -= np.where((numbers[2] == Node.ROOT)[:, None], middle, 0)
        pivot -= middle
        local, size, pivot, half = local * scale, size * scale, pivot * scale, (high - low) / 2 * scale
    bones = np.array(model.bones or [0] * 7, np.float32)
    return {
        **{"kind": numbers[0], "slot": numbers[1], "node": numbers[2], "local": local, "size": size},
        **{"frustum": frustum, "pivot": pivot, "axis": axis, "bones": bones, "half": np.float32(half)},
    }


def _rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] about a vector by its length, radians."""
    angle = float(np.linalg.norm(vector))
    if not angle:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
