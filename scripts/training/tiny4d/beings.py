"""Characters as games have them: bipeds of any proportions, from dolls to robots, and animals on four legs."""

from __future__ import annotations

import torch
from torch import Tensor

from training.synthetic.dice import Dice
from training.synthetic.world.primitives import Kind
from training.tiny4d.rig import Rig

FACE, WORN, LIMB, MARK, DARK, HAIR = range(1, 7)
"""Tones beside the chief one, 0."""


def bipeds(dice: Dice, count: int) -> Rig:
    """On two legs: some tall, some with heads as large as the rest of them."""
    rig = Rig(dice, count)
    small = rig.chance(0.5)  # short legs and large heads
    torso = rig.uniform(0.3, 0.6)
    wide = torso * torch.where(small, rig.uniform(0.3, 0.75), rig.uniform(0.22, 0.45))
    deep = wide * rig.uniform(0.5, 1.0)
    legs = torso * torch.where(small, rig.uniform(0.25, 1.1), rig.uniform(1.1, 2.0))
    arms = torso * torch.where(small, rig.uniform(0.5, 1.2), rig.uniform(1.0, 1.7))
    thick = wide * rig.uniform(0.2, 0.5)
    walks = rig.chance(0.6)

    swing = rig.uniform(0.2, 1.1) * walks
    bob = rig.wave(0.05 * torso, times=2)
    sway = rig.wave(rig.uniform(0, 0.25) * ~walks)
    turn = rig.wave(rig.uniform(0, 0.5) * ~walks)
    pelvis = rig.joint(rig.origin, (0.0, 0.0, 0.0), (2, turn), (0, sway))
    pelvis[..., 2, 3] += bob
    back = rig.joint(pelvis, (0.0, 0.0, 0.05 * torso), (1, rig.uniform(-0.05, 0.3)[:, None] + rig.wave(0.12)))
    trunk = rig.kinds(0.4, 0.35, 0.25)
    rig.part(back, trunk, (0.0, 0.0, 0.5 * torso), (deep, wide, 0.55 * torso), WORN, top=rig.uniform(0.6, 1.3))
    hips = rig.uniform(0.7, 1.05)
    rig.part(pelvis, rig.kinds(0.5, 0.4, 0.1), (0.0, 0.0, 0.0), (hips * deep, hips * wide, 0.22 * torso), LIMB)
    rig.part(
        back, Kind.FRUSTUM, (0.0, 0.0, 0.1 * torso), (1.06 * deep, 1.06 * wide, 0.06 * torso), MARK, rig.chance(0.2)
    )
    skirt = rig.chance(0.12)
    rig.part(pelvis, Kind.FRUSTUM, (0.0, 0.0, -0.2 * legs), (1.4 * wide, 1.5 * wide, 0.3 * legs), WORN, skirt, top=0.6)
    _pack(rig, back, torso, wide, deep)
    _head(rig, back, small, torso, wide)
    for side in (1, -1):
        shift = 0.0 if side > 0 else torch.pi
        arm = _limb_motion(rig, walks, swing, shift + torch.pi)
        _arm(rig, back, side, arm, torso, wide, arms, thick)
        leg = _limb_motion(rig, walks, swing, shift, most=0.4)
        knee = (rig.uniform(0.3, 1.4)[:, None] * (torch.sin(rig.phase.T + shift + 2.0) + 0.6).clamp(min=0)) * 0.6
        knee = torch.where(walks[:, None], knee, rig.uniform(0, 0.5)[:, None])
        _leg(rig, pelvis, side, leg, knee, wide, legs, thick)
    return rig


def _limb_motion(rig: Rig, walks: Tensor, swing: Tensor, shift: float, most: float = 1.2) -> Tensor:
    """[B, T] pitch of a limb: in step, or any."""
    walking = rig.wave(swing, shift)
    other = rig.uniform(-most, 0.3)[:, None] + rig.wave(rig.uniform(0, most))
    return torch.where(walks[:, None], walking, other)


def _head(rig: Rig, back: Tensor, small: Tensor, torso: Tensor, wide: Tensor) -> None:
    tall = torso * torch.where(small, rig.uniform(0.35, 1.1), rig.uniform(0.18, 0.35))
    across, deep = tall * rig.log_uniform(0.65, 1.6), tall * rig.log_uniform(0.7, 1.3)
    neck = torso * rig.uniform(0.0, 0.2)
    rig.part(back, Kind.FRUSTUM, (0.0, 0.0, torso + 0.3 * neck), (0.3 * wide, 0.3 * wide, neck + 0.1 * torso), FACE)
    turns = (2, rig.wave(0.25)), (1, rig.uniform(-0.15, 0.2)[:, None] + rig.wave(0.15)), (0, rig.wave(0.12))
    head = rig.joint(back, (0.0, 0.0, torso + neck), *turns)
    kind = rig.kinds(0.5, 0.35, 0.15)
    tone = torch.where(rig.chance(0.5), FACE, 0)
    rig.part(head, kind, (0.0, 0.0, tall), (deep, across, tall), tone, top=rig.uniform(0.6, 1.2))
    # Hair, a hood or a helmet: from the brow over the crown down the back.
    low, covers = rig.uniform(0.0, 0.5), rig.chance(0.5)
    rig.part(
        head,
        torch.where(kind == Kind.BOX, int(Kind.BOX), int(Kind.ELLIPSOID)),
        (-0.18 * deep, 0.0, (1.15 - 0.25 * low) * tall),
        (0.95 * deep, 1.07 * across, (0.95 + 0.25 * low) * tall),
        torch.where(rig.chance(0.6), HAIR, torch.where(rig.chance(0.5), MARK, tone)),
        covers,
    )
    rig.part(
        head,
        rig.kinds(0.4, 0.6, 0),
        (0.86 * deep, 0.0, 0.95 * tall),
        (0.2 * deep, 0.75 * across, 0.65 * tall),
        FACE,
        rig.chance(0.25),
    )
    front = torch.where(kind == Kind.BOX, 1.0, 0.9) * deep
    shape, apart, height = rig.kinds(0.6, 0.3, 0.1), rig.uniform(0.25, 0.5), rig.uniform(0.85, 1.3)
    eye, eyes = rig.uniform(0.08, 0.3), rig.chance(0.8)
    for side in (1, -1):
        place = front, side * apart * across, height * tall
        rig.part(head, shape, place, (0.12 * deep, eye * across, eye * tall), DARK, eyes)
    rig.part(head, Kind.BOX, (front, 0.0, 0.5 * tall), (0.08 * deep, 0.3 * across, 0.06 * tall), DARK, rig.chance(0.35))
    band = rig.uniform(0.1, 0.25)
    rig.part(
        head, Kind.BOX, (0.55 * deep, 0.0, 1.1 * tall), (0.5 * deep, 0.9 * across, band * tall), DARK, rig.chance(0.15)
    )
    rig.part(
        head,
        rig.kinds(0.7, 0, 0.3),
        (0.95 * deep, 0.0, 0.8 * tall),
        (0.3 * deep, 0.12 * across, 0.12 * tall),
        FACE,
        rig.chance(0.3),
    )
    ears, long = rig.chance(0.35), rig.uniform(0.15, 0.6)
    pointed = rig.chance(0.4)
    for side in (1, -1):
        ear = rig.joint(
            head, (0.0, side * 0.9 * across, (1.0 + 0.8 * pointed) * tall), (0, -side * torch.where(pointed, 0.4, 1.57))
        )
        rig.part(
            ear,
            rig.kinds(0.4, 0.1, 0.5),
            (0.0, 0.0, 0.4 * long * tall),
            (0.3 * deep, 0.3 * across, long * tall),
            MARK,
            ears,
            top=0.5,
        )
    up, on_top = rig.uniform(0.15, 0.6), rig.chance(0.22)
    rig.part(head, Kind.FRUSTUM, (0.0, 0.0, (2 + up) * tall), (0.12 * deep, 0.12 * deep, up * tall), DARK, on_top)
    rig.part(
        head,
        rig.kinds(0.6, 0.4, 0),
        (0.0, 0.0, (2 + 2 * up) * tall),
        (0.25 * deep, 0.25 * across, 0.25 * tall),
        MARK,
        on_top,
    )
    hat = rig.chance(0.15)
    rig.part(head, Kind.FRUSTUM, (0.0, 0.0, 1.9 * tall), (deep, across, 0.5 * tall), MARK, hat, top=rig.uniform(0, 1.0))
    rig.part(
        head,
        Kind.FRUSTUM,
        (0.0, 0.0, 1.55 * tall),
        (1.5 * deep, 1.5 * across, 0.06 * tall),
        MARK,
        hat & rig.chance(0.6),
    )


def _arm(
    rig: Rig, back: Tensor, side: int, swing: Tensor, torso: Tensor, wide: Tensor, arms: Tensor, thick: Tensor
) -> None:
    spread = rig.log_uniform(0.05, 1.4)
    shoulder = rig.joint(back, (0.0, side * (wide + 0.5 * thick), 0.85 * torso), (0, side * spread), (1, swing))
    kind, slim = rig.kinds(0.4, 0.3, 0.3), rig.uniform(0.6, 1.2)
    upper, fore = 0.5 * arms, 0.45 * arms
    width = slim * thick
    rig.part(
        shoulder, kind, (0.0, 0.0, -0.5 * upper), (width, width, 0.58 * upper), torch.where(rig.chance(0.6), WORN, LIMB)
    )
    rig.part(
        shoulder,
        rig.kinds(0.6, 0.4, 0),
        (0.0, 0.0, 0.0),
        (1.6 * width, 1.6 * width, 1.3 * width),
        MARK,
        rig.chance(0.2),
    )
    bend = rig.uniform(0, 1.4)[:, None] + rig.wave(0.3)
    elbow = rig.joint(shoulder, (0.0, 0.0, -upper), (1, -bend.clamp(min=0)))
    rig.part(
        elbow,
        kind,
        (0.0, 0.0, -0.5 * fore),
        (0.9 * width, 0.9 * width, 0.58 * fore),
        torch.where(rig.chance(0.5), LIMB, FACE),
    )
    fist = rig.uniform(1.0, 1.9) * width
    rig.part(
        elbow,
        rig.kinds(0.6, 0.4, 0),
        (0.0, 0.0, -fore),
        (fist, fist, 1.1 * fist),
        torch.where(rig.chance(0.5), FACE, LIMB),
    )
    if side < 0:
        tool, long = rig.chance(0.3), torso * rig.uniform(0.5, 1.8)
        held = rig.joint(elbow, (0.0, 0.0, -fore), (2, rig.uniform(-0.5, 0.5)), (1, rig.uniform(-0.6, 0.6)))
        thin = torso * rig.uniform(0.03, 0.08)
        rig.part(held, rig.kinds(0, 0.6, 0.2), (0.4 * long, 0.0, 0.0), (0.5 * long, 0.4 * thin, thin), MARK, tool)
        rig.part(
            held,
            rig.kinds(0.3, 0.7, 0),
            (0.75 * long * rig.uniform(0.1, 1.2), 0.0, 0.0),
            (2 * thin, thin, 3.5 * thin),
            DARK,
            tool,
        )
    else:
        shield, size = rig.chance(0.15), torso * rig.uniform(0.3, 0.6)
        rig.part(elbow, rig.kinds(0.4, 0.6, 0), (0.0, 2 * width, -0.5 * fore), (size, 0.06 * torso, size), MARK, shield)


def _leg(
    rig: Rig, pelvis: Tensor, side: int, swing: Tensor, knee: Tensor, wide: Tensor, legs: Tensor, thick: Tensor
) -> None:
    hip = rig.joint(pelvis, (0.0, side * 0.55 * wide, -0.03), (0, side * rig.uniform(-0.02, 0.2)), (1, swing))
    kind, slim = rig.kinds(0.4, 0.3, 0.3), rig.uniform(0.8, 1.4)
    half, width = 0.5 * legs, slim * thick
    rig.part(hip, kind, (0.0, 0.0, -0.5 * half), (width, width, 0.58 * half), LIMB)
    lower = rig.joint(hip, (0.0, 0.0, -half), (1, knee))
    rig.part(lower, kind, (0.0, 0.0, -0.5 * half), (0.85 * width, 0.85 * width, 0.58 * half), LIMB)
    foot, flat = rig.uniform(1.2, 2.2) * width, rig.uniform(0.5, 1.0) * width
    ankle = rig.joint(lower, (0.0, 0.0, -half), (1, rig.uniform(-0.2, 0.4)))
    rig.part(
        ankle,
        rig.kinds(0.5, 0.5, 0),
        (0.4 * foot, 0.0, 0.0),
        (foot, 1.1 * width, flat),
        torch.where(rig.chance(0.5), DARK, MARK),
    )


def _pack(rig: Rig, back: Tensor, torso: Tensor, wide: Tensor, deep: Tensor) -> None:
    """What hangs on the back, and on the breast."""
    pack = rig.chance(0.2)
    rig.part(
        back,
        rig.kinds(0.3, 0.7, 0),
        (-1.4 * deep, 0.0, 0.55 * torso),
        (0.5 * deep, 0.75 * wide, 0.4 * torso),
        MARK,
        pack,
    )
    long = torso * rig.uniform(0.4, 0.8)
    cloth = rig.joint(back, (-1.1 * deep, 0.0, 0.95 * torso), (1, rig.uniform(0.0, 0.5)[:, None] + rig.wave(0.2)))
    rig.part(cloth, Kind.BOX, (0.0, 0.0, -long), (0.08 * deep, 1.1 * wide, long), MARK, ~pack & rig.chance(0.2))
    tail = rig.joint(back, (-deep, 0.0, 0.05 * torso), (2, rig.wave(0.5)), (1, rig.uniform(-1.2, 0.3)))
    rig.part(
        tail,
        rig.kinds(0.6, 0, 0.4),
        (-0.4 * torso, 0.0, 0.0),
        (0.45 * torso, 0.25 * wide, 0.25 * wide),
        0,
        rig.chance(0.12),
    )
    sign = rig.chance(0.25)
    rig.part(
        back, rig.kinds(0.4, 0.6, 0), (0.9 * deep, 0.0, 0.6 * torso), (0.2 * deep, 0.4 * wide, 0.2 * torso), MARK, sign
    )


def quadrupeds(dice: Dice, count: int) -> Rig:
    """On four legs, and long from snout to tail."""
    rig = Rig(dice, count)
    long, wide = rig.uniform(0.3, 0.75), rig.uniform(0.09, 0.26)
    tall, legs = wide * rig.uniform(0.9, 1.5), rig.uniform(0.2, 0.65)
    thick = wide * rig.uniform(0.2, 0.42)
    runs, trunk = rig.chance(0.5), rig.kinds(0.65, 0.25, 0.1)
    trunk = torch.where(trunk == Kind.FRUSTUM, int(Kind.ELLIPSOID), trunk)
    body = rig.joint(rig.origin, (0.0, 0.0, 0.0), (1, rig.wave(0.15 * runs)), (2, rig.wave(0.05)))
    body[..., 2, 3] += rig.wave(0.1 * legs)
    rig.part(body, trunk, (0.0, 0.0, 0.0), (1.05 * long, wide, tall), 0)
    rig.part(body, trunk, (0.55 * long, 0.0, 0.0), (0.5 * long, wide * rig.uniform(0.9, 1.25), 1.15 * tall), 0)
    rig.part(body, trunk, (-0.6 * long, 0.0, 0.0), (0.45 * long, wide * rig.uniform(0.85, 1.2), 1.1 * tall), 0)
    rig.part(
        body, Kind.ELLIPSOID, (0.0, 0.0, -0.25 * tall), (0.9 * long, 0.85 * wide, 0.85 * tall), WORN, rig.chance(0.4)
    )
    rig.part(
        body,
        rig.kinds(0.5, 0.5, 0),
        (0.0, 0.0, 0.5 * tall),
        (0.4 * long, 1.05 * wide, 0.6 * tall),
        MARK,
        rig.chance(0.12),
    )
    raise_ = rig.uniform(-0.2, 1.3)
    neck_long = long * rig.uniform(0.2, 0.9)
    neck = rig.joint(body, (0.9 * long, 0.0, 0.4 * tall), (2, rig.wave(0.2)), (1, -raise_[:, None] + rig.wave(0.2)))
    slim = rig.uniform(0.45, 0.8)
    rig.part(neck, Kind.ELLIPSOID, (0.5 * neck_long, 0.0, 0.0), (0.75 * neck_long, slim * wide, slim * tall), 0)
    size = wide * rig.uniform(0.6, 1.5)
    head = rig.joint(
        neck, (neck_long, 0.0, 0.0), (1, raise_[:, None] + rig.uniform(-0.1, 0.5)[:, None] + rig.wave(0.15))
    )
    skull = rig.kinds(0.7, 0.3, 0)
    rig.part(
        head,
        skull,
        (0.3 * size, 0.0, 0.2 * size),
        (size, 0.85 * size, 0.85 * size),
        torch.where(rig.chance(0.7), 0, WORN),
    )
    snout, thin = size * rig.uniform(0.3, 1.3), size * rig.uniform(0.3, 0.6)
    rig.part(
        head,
        rig.kinds(0.6, 0.3, 0.1),
        (1.0 * size + 0.4 * snout, 0.0, -0.05 * size),
        (snout, thin, 0.8 * thin),
        torch.where(rig.chance(0.5), WORN, 0),
    )
    rig.part(
        head,
        Kind.ELLIPSOID,
        (size + 1.3 * snout, 0.0, 0.1 * size),
        (0.3 * thin, 0.35 * thin, 0.3 * thin),
        DARK,
        rig.chance(0.7),
    )
    ears, high, kind = rig.chance(0.85), size * rig.uniform(0.25, 0.9), rig.kinds(0.5, 0.1, 0.4)
    tilt, tone = rig.uniform(-0.2, 1.0), torch.where(rig.chance(0.5), 0, torch.where(rig.chance(0.5), WORN, DARK))
    for side in (1, -1):
        ear = rig.joint(head, (0.0, side * 0.55 * size, 0.85 * size), (0, -side * tilt))
        rig.part(ear, kind, (0.0, 0.0, 0.7 * high), (0.2 * size, 0.3 * size, high), tone, ears, top=0.2)
        rig.part(
            head,
            Kind.ELLIPSOID,
            (1.0 * size, side * 0.5 * size, 0.45 * size),
            (0.15 * size, 0.14 * size, 0.15 * size),
            DARK,
            rig.chance(0.8),
        )
    tail_long, fat = long * rig.uniform(0.2, 0.8), wide * rig.uniform(0.15, 0.65)
    tail = rig.joint(
        body, (-long, 0.0, 0.3 * tall), (2, rig.wave(0.4)), (1, rig.uniform(-0.9, 0.8)[:, None] + rig.wave(0.3))
    )
    tailed = rig.chance(0.85)
    rig.part(tail, rig.kinds(0.7, 0.1, 0.2), (-0.4 * tail_long, 0.0, 0.0), (0.55 * tail_long, fat, fat), 0, tailed)
    tip = rig.joint(tail, (-0.85 * tail_long, 0.0, 0.0), (2, rig.wave(0.4)), (1, rig.uniform(-0.5, 0.5)))
    rig.part(
        tip,
        Kind.ELLIPSOID,
        (-0.3 * tail_long, 0.0, 0.0),
        (0.45 * tail_long, 0.85 * fat, 0.85 * fat),
        torch.where(rig.chance(0.5), WORN, 0),
        tailed,
    )
    swing, shape = rig.uniform(0.15, 1.0), rig.kinds(0.4, 0.25, 0.35)
    socks = torch.where(rig.chance(0.5), DARK, torch.where(rig.chance(0.5), WORN, 0))
    for front in (1, -1):
        for side in (1, -1):
            # A trot's diagonal pairs, or a gallop's front and hind ones.
            shift = torch.where(runs, 1.2 * front + 0.4 * side, torch.pi * (front * side > 0))
            hip = rig.joint(body, (front * 0.7 * long, side * 0.6 * wide, -0.3 * tall), (1, rig.wave(swing, shift)))
            rig.part(hip, shape, (0.0, 0.0, -0.25 * legs), (1.2 * thick, thick, 0.32 * legs), 0)
            bend = -front * (0.25 + rig.wave(0.5 * swing, shift + 1.5)).clamp(min=0)
            lower = rig.joint(hip, (0.0, 0.0, -0.5 * legs), (1, -bend))
            rig.part(lower, shape, (0.0, 0.0, -0.25 * legs), (0.8 * thick, 0.8 * thick, 0.32 * legs), socks)
            rig.part(
                lower,
                rig.kinds(0.7, 0.3, 0),
                (0.3 * thick, 0.0, -0.52 * legs),
                (1.3 * thick, thick, 0.5 * thick),
                socks,
            )
    return rig
