"""Vehicles on wheels, groups of plain shapes on a plate, and balls with buds: what grows and shrinks."""

from __future__ import annotations

import torch

from training.synthetic.dice import Dice
from training.synthetic.world.primitives import Kind
from training.tiny4d.rig import TURN, Rig

SHAPES = 12
"""Most shapes of a group."""
BUDS = 6
"""Pairs of buds on a ball, at most."""


def vehicles(dice: Dice, count: int) -> Rig:
    """Cars, vans, lorries and carts: boxes, windows and lamps on two to four axles."""
    rig = Rig(dice, count)
    long, wide, high = rig.uniform(0.5, 1.0), rig.uniform(0.2, 0.42), rig.uniform(0.06, 0.22)
    wheel = rig.uniform(0.07, 0.18)
    bump = rig.wave(0.01)
    body = rig.joint(rig.origin, (0.0, 0.0, 0.0), (1, rig.wave(0.02)))
    body[..., 2, 3] += bump
    floor = 0.5 * wheel
    rig.part(body, rig.kinds(0.1, 0.9, 0), (0.0, 0.0, floor + high), (long, wide, high), 0)
    # The cabin: anywhere along it, as long as all of it where it is a van.
    share, at = rig.uniform(0.25, 1.0), rig.uniform(-1, 1)
    cabin, roof = share * long, rig.uniform(0.08, 0.4)
    middle, base = at * (long - cabin), floor + 2 * high
    narrow = rig.uniform(0.8, 1.0) * wide
    rig.part(
        body,
        rig.kinds(0.15, 0.85, 0),
        (middle, 0.0, base + 0.9 * roof),
        (cabin, narrow, roof),
        torch.where(rig.chance(0.6), 0, 1),
    )
    glass, top = rig.chance(0.85), base + roof
    rig.part(body, Kind.BOX, (middle, 0.0, top), (1.01 * cabin, 0.85 * narrow, 0.5 * roof), 5, glass)
    panes = cabin * rig.uniform(0.3, 0.9)
    rig.part(
        body,
        Kind.BOX,
        (middle + rig.uniform(-0.1, 0.9) * (cabin - panes), 0.0, top),
        (panes, 1.02 * narrow, 0.5 * roof),
        5,
        glass,
    )
    load, behind = rig.chance(0.4), rig.uniform(0.3, 0.65) * long
    rig.part(
        body,
        rig.kinds(0.1, 0.7, 0.2),
        (-long + behind, 0.0, base + 0.8 * roof),
        (behind, wide, roof * rig.uniform(0.8, 1.6)),
        2,
        load,
    )
    mark = roof * rig.uniform(0.3, 0.7)
    rig.part(
        body,
        rig.kinds(0.6, 0.4, 0),
        (rig.uniform(-0.6, 0.3) * long, 0.0, top),
        (mark, 1.03 * wide, mark),
        4,
        rig.chance(0.35),
    )
    for end in (1, -1):
        rig.part(
            body,
            Kind.BOX,
            (end * long, 0.0, floor + 0.4 * high),
            (0.05 * long, 1.02 * wide, 0.3 * high),
            3,
            rig.chance(0.6),
        )
        lamps = rig.chance(0.7)
        for side in (1, -1):
            lamp = 0.3 * high
            rig.part(
                body,
                rig.kinds(0.6, 0.4, 0),
                (end * long, side * 0.75 * wide, floor + 1.3 * high),
                (lamp, lamp, lamp),
                4 if end < 0 else 1,
                lamps,
            )
    turned = (rig.phase * rig.moves).T
    axles = (0.68, -0.68, -0.3)
    third = rig.chance(0.15)
    for number, axle in enumerate(axles):
        for side in (1, -1):
            hub = rig.joint(
                rig.origin, (axle * long, side * (wide - 0.02), wheel * 0.5), (1, turned), (0, 0.5 * torch.pi)
            )
            there = None if number < 2 else third
            rig.part(hub, Kind.FRUSTUM, (0.0, 0.0, 0.0), (wheel, wheel, 0.3 * wheel + 0.03), 5, there)
            rig.part(hub, Kind.BOX, (0.0, 0.0, 0.0), (0.5 * wheel, 0.15 * wheel, 0.3 * wheel + 0.04), 3, there)
    return rig


def groups(dice: Dice, count: int) -> Rig:
    """Up to `SHAPES` balls, boxes and cones in a row, a grid, a ring or a pile, mostly on a plate."""
    rig = Rig(dice, count)
    device = dice.device
    number = dice.integers(count, high=SHAPES - 1) + 2
    index = torch.arange(SHAPES, device=device).expand(count, -1)
    centred = index - (number[:, None] - 1) / 2
    columns = dice.integers(count, 1, high=3) + 2
    grid_x, grid_y = index % columns - (columns - 1) / 2, index // columns - (number[:, None] - 1) // columns / 2
    angle = TURN * index / number[:, None]
    radius = number[:, None] / TURN + 0.3
    places = torch.stack(
        [
            torch.stack([torch.zeros_like(centred), centred], -1),
            torch.stack([centred, torch.zeros_like(centred)], -1),
            torch.stack([grid_x, grid_y], -1),
            torch.stack([radius * angle.cos(), radius * angle.sin()], -1),
            0.7 * dice.normal(count, SHAPES, 2),
        ],
        1,
    )
    lay = places[torch.arange(count, device=device), dice.integers(count, high=5)]
    plate = rig.chance(0.65)
    flat = rig.uniform(0.05, 0.25)
    there = index < number[:, None]
    reach = (lay.abs() * there[..., None]).amax(1) + 0.6
    rig.part(rig.origin, Kind.BOX, (0.0, 0.0, -flat), (reach[:, 0], reach[:, 1], flat), 3, plate)
    alike, kind = rig.chance(0.6), rig.kinds(0.3, 0.5, 0.2)
    width, high = rig.uniform(0.2, 0.5), rig.log_uniform(0.2, 2.0)
    for shape in range(SHAPES):
        own = torch.where(alike, kind, rig.kinds(0.35, 0.4, 0.25))
        size = torch.where(alike, width, rig.uniform(0.2, 0.6))
        tall = torch.where(rig.chance(0.5), high, high * rig.log_uniform(0.4, 2.0))
        # Some grow upwards, some all over, and waves run through rows.
        grow = (rig.wave(rig.uniform(0, 0.75), torch.where(alike, TURN * shape / SHAPES, rig.uniform(0, TURN)))).exp()
        up = torch.stack([torch.ones_like(grow), torch.ones_like(grow), grow], -1)
        swell = torch.where(rig.chance(0.75)[:, None, None], up, grow[..., None])
        frame = rig.joint(rig.origin, (lay[:, shape, 0], lay[:, shape, 1], 0.0))
        frame[..., 2, 3] += tall[:, None] * swell[..., 2]
        turn = rig.joint(frame, (0.0, 0.0, 0.0), (2, rig.wave(rig.uniform(0, 1.5) * rig.chance(0.3))))
        tone = torch.where(rig.chance(0.8), shape % 5, dice.integers(count, high=5))
        rig.part(turn, own, (0.0, 0.0, 0.0), (size, size, tall), tone, there[:, shape], rig.uniform(0, 1.2), swell)
    return rig


def budding(dice: Dice, count: int) -> Rig:
    """One ball, flat or long, out of which horns, plates and lumps grow, mostly on both sides alike."""
    rig = Rig(dice, count)
    size = [rig.log_uniform(0.25, 1.0) for _ in range(3)]
    swell = 1 + rig.wave(rig.uniform(0, 0.3))[..., None] * dice.normal(count, 1, 3).clamp(-1, 1)
    body = rig.joint(rig.origin, (0.0, 0.0, 0.0), (2, rig.wave(0.4 * rig.chance(0.3))), (1, rig.uniform(-0.4, 0.4)))
    rig.part(body, Kind.ELLIPSOID, (0.0, 0.0, 0.0), tuple(size), 0, swell=swell)
    number, alike = dice.integers(count, high=BUDS + 1), rig.chance(0.7)
    for bud in range(BUDS):
        out, up = rig.uniform(-1.57, 1.57), rig.uniform(-1.3, 1.3)
        long, thick = rig.log_uniform(0.1, 0.9), rig.log_uniform(0.05, 0.35)
        kind, narrow, flat = rig.kinds(0.5, 0, 0.5), rig.uniform(0, 0.5), rig.log_uniform(0.3, 1.0)
        grow = rig.wave(rig.uniform(0, 0.9))
        way = up.cos() * (1.57 + out).cos(), up.cos() * (1.57 + out).sin(), up.sin()
        far = torch.stack([(along / half) ** 2 for along, half in zip(way, size, strict=True)]).sum(0).rsqrt()
        tone = torch.where(rig.chance(0.75), 0, 1 + bud % 3)
        for side in (1, -1):
            # From the ball's left side, forwards or backwards and upwards, and the mirror of it.
            frame = rig.joint(body, (0.0, 0.0, 0.0), (2, side * (1.57 + out)), (1, 1.57 - up))
            stretch = torch.stack([torch.ones_like(grow), torch.ones_like(grow), grow.exp()], -1)
            place = rig.joint(frame, (0.0, 0.0, 0.85 * far))
            place[..., 3] += place[..., 2] * (long[:, None] * stretch[..., 2])[..., None]
            there = (bud < number) & (alike | rig.chance(0.5))
            rig.part(place, kind, (0.0, 0.0, 0.0), (thick, flat * thick, long), tone, there, narrow, stretch)
    return rig
