"""What is around the entities of generated clips: floors, walls, pictures, furniture, or open country."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.dice import Dice
from training.synthetic.pictures.looks import unnamed
from training.synthetic.pictures.scene import Pattern
from training.synthetic.skeleton import about_z, affine
from training.synthetic.world.primitives import Kind

WALLS, PICTURES, CLUTTER = 2, 4, 10
PIECES = 2 + WALLS + PICTURES + CLUTTER
"""Primitives of a room: floor, rug, walls, what hangs there, and what stands around."""
FIRST_WALL = 2
"""Which of them that is."""


@dataclass
class Pieces:
    """[B, n] primitives that stand still.

    Attributes:
        kind: [B, n] int64; turn: [B, n, 3, 3]; place, size: [B, n, 3], metres, half sizes; frustum: [B, n, 2].
        colors: [B, n, 3, 3]; pattern: [B, n] int64; frequency: [B, n] per metre; grain: [B, n].
    """

    kind: Tensor
    turn: Tensor
    place: Tensor
    size: Tensor
    frustum: Tensor
    colors: Tensor
    pattern: Tensor
    frequency: Tensor
    grain: Tensor

    @property
    def world(self) -> Tensor:
        """[B, n, 3, 4] from primitives' own coordinates to the room's."""
        return affine(self.turn * self.size[..., None, :], self.place)


def rooms(dice: Dice, eye: Tensor, target: Tensor, width: Tensor) -> Pieces:
    """Rooms around targets [B, 3] that cameras at `eye` see; `width` [B] is how much of it a crop spans, metres."""
    count, device = len(width), width.device
    pieces = Pieces(
        kind=torch.full((count, PIECES), Kind.BOX, device=device),
        turn=torch.eye(3, device=device).repeat(count, PIECES, 1, 1),
        place=torch.zeros(count, PIECES, 3, device=device),
        size=torch.ones(count, PIECES, 3, device=device),
        frustum=torch.ones(count, PIECES, 2, device=device) * constant([1.0, 0.0], device=device),
        colors=_tones(dice, count),
        pattern=_patterns(dice, count),
        frequency=dice.log_uniform(count, PIECES, low=0.6, high=9.0) / width[:, None],
        grain=dice.uniform(count, PIECES, high=0.35) ** 2 * 3,
    )
    spread = width.clamp(min=0.3)
    pieces.size[:, 0] = constant([200.0, 200.0, 0.05], device=device)
    pieces.place[:, 0, 2] = -0.05
    back = torch.nn.functional.normalize((target - eye)[:, :2], dim=-1)
    bearing = torch.atan2(back[:, 1], back[:, 0])
    _rug(dice, pieces, target, spread)
    _walls(dice, pieces, target, spread, bearing)
    _clutter(dice, pieces, target, spread, bearing)
    bare = dice.chance(count, share=0.1)  # seen against the sky
    pieces.kind[:, 1:] = pieces.kind[:, 1:].masked_fill(bare[:, None], Kind.NONE)
    return pieces


def _tones(dice: Dice, count: int) -> Tensor:
    """[B, PIECES, 3, 3]: three shades of a colour, or three colours."""
    first = unnamed(dice, count, PIECES)
    shades = first[:, :, None] * dice.log_uniform(count, PIECES, 3, 1, low=0.65, high=1.4)
    several = dice.chance(count, PIECES, share=0.25)[..., None, None]
    return torch.where(several, unnamed(dice, count, PIECES, 3), shades).clamp(0, 1)


def _patterns(dice: Dice, count: int) -> Tensor:
    kinds = constant(
        [Pattern.PLAIN, Pattern.STRIPES, Pattern.BANDS, Pattern.CHECKS, Pattern.RINGS, Pattern.BLOBS, Pattern.PLANKS],
        device=dice.device,
    )
    weights = constant([0.45, 0.08, 0.12, 0.1, 0.03, 0.12, 0.1], device=dice.device)
    pattern = kinds[dice.choose(weights.expand(count * PIECES, -1))].view(count, PIECES)
    rug = constant([Pattern.RINGS, Pattern.CHECKS, Pattern.BANDS, Pattern.BLOBS, Pattern.PLAIN], device=dice.device)
    pattern[:, 1] = rug[dice.integers(count, high=len(rug))]
    pictures = slice(2 + WALLS, 2 + WALLS + PICTURES)
    pattern[:, pictures] = torch.where(
        dice.chance(count, PICTURES, share=0.7), int(Pattern.BLOBS), pattern[:, pictures]
    )
    return pattern


def _rug(dice: Dice, pieces: Pieces, target: Tensor, spread: Tensor) -> None:
    count = len(spread)
    there = dice.chance(count, share=0.35)
    pieces.kind[:, 1] = torch.where(there, int(Kind.FRUSTUM), int(Kind.NONE))
    pieces.kind[:, 1] = torch.where(there & dice.chance(count, share=0.5), int(Kind.BOX), pieces.kind[:, 1])
    pieces.size[:, 1, :2] = spread[:, None] * dice.log_uniform(count, 1, low=0.4, high=2.0)
    pieces.size[:, 1, 2] = 0.004 * spread
    pieces.turn[:, 1] = about_z(dice.uniform(count, high=6.28))
    pieces.place[:, 1, :2] = target[:, :2] + 0.7 * spread[:, None] * dice.normal(count, 2)


def _walls(dice: Dice, pieces: Pieces, target: Tensor, spread: Tensor, bearing: Tensor) -> None:
    """One or two behind the target, seen from the camera, and what hangs there."""
    count = len(spread)
    aside = dice.uniform(count, low=-0.8, high=0.8)
    far = spread * dice.log_uniform(count, low=0.5, high=4.0)
    present = dice.chance(count, share=0.75)
    for index in range(WALLS):
        wall = 2 + index
        angle = bearing + aside - index * torch.pi / 2 * aside.sign()  # neither is between camera and target
        away = far if index == 0 else spread * dice.log_uniform(count, low=0.8, high=4.0)
        front = torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=-1)
        pieces.turn[:, wall] = about_z(angle - torch.pi / 2)  # its y axis points away from the target
        pieces.place[:, wall] = target * constant([1.0, 1, 0], device=far.device) + (away + 0.05)[:, None] * front
        pieces.size[:, wall] = torch.stack([40 * spread, 0 * spread + 0.05, 12 * spread], dim=-1)
        there = present if index == 0 else present & dice.chance(count, share=0.5)
        pieces.kind[:, wall] = torch.where(there, int(Kind.BOX), int(Kind.NONE))
    # A dado, a skirting board or a shelf across the first wall, and pictures or windows on it.
    for index in range(PICTURES):
        piece = 2 + WALLS + index
        along, up = spread * dice.normal(count) * 0.9, target[:, 2] + spread * dice.normal(count) * 0.7
        sizes = spread[:, None] * dice.log_uniform(count, 2, low=0.06, high=0.6)
        band = dice.chance(count, share=0.5) & (index == 0)
        sizes[:, 0] = torch.where(band, 40 * spread, sizes[:, 0])
        thick = torch.full_like(along, 0.02) * spread
        front = pieces.turn[:, 2, :, 1]
        side = pieces.turn[:, 2, :, 0]
        pieces.turn[:, piece] = pieces.turn[:, 2]
        pieces.place[:, piece] = pieces.place[:, 2] - (0.05 + thick)[:, None] * front + along[:, None] * side
        pieces.place[:, piece, 2] = up
        pieces.size[:, piece] = torch.stack([sizes[:, 0], thick, sizes[:, 1]], dim=-1)
        there = present & dice.chance(count, share=0.6)
        pieces.kind[:, piece] = torch.where(there, int(Kind.BOX), int(Kind.NONE))


def _clutter(dice: Dice, pieces: Pieces, target: Tensor, spread: Tensor, bearing: Tensor) -> None:
    """Piles of furniture, plants and stuff, behind and beside, that looks like nothing in particular."""
    count, some = len(spread), CLUTTER
    first = 2 + WALLS + PICTURES
    here = slice(first, first + some)
    kinds = constant([Kind.NONE, Kind.BOX, Kind.ELLIPSOID, Kind.BOX], device=spread.device)
    busy = dice.chance(count, share=0.6)[:, None]
    pieces.kind[:, here] = torch.where(busy, kinds[dice.integers(count, some, high=4)], int(Kind.NONE))
    # Around a few centres, so that pieces overlap and make up something.
    groups = 3
    angle = bearing[:, None] + (dice.normal(count, groups) * 0.9).clamp(-1.4, 1.4)
    away = spread[:, None] * dice.log_uniform(count, groups, low=0.7, high=3.0)
    centers = torch.stack([angle.cos() * away, angle.sin() * away], dim=-1)
    which = dice.integers(count, some, high=groups)[..., None].expand(-1, -1, 2)
    place = target[:, None, :2] + centers.gather(1, which)
    size = spread[:, None, None] * dice.log_uniform(count, some, 3, low=0.05, high=0.45)
    pieces.size[:, here] = size
    pieces.place[:, here, :2] = place + spread[:, None, None] * dice.normal(count, some, 2) * 0.3
    pieces.place[:, here, 2] = size[..., 2] + spread[:, None] * dice.uniform(count, some, high=0.4) ** 2
    pieces.turn[:, here] = about_z(dice.uniform(count, groups, high=6.28).gather(1, which[..., 0]))
