"""Where cameras stand, and what their crops span."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.synthetic.cast import ENTITIES, NOTHING
from training.synthetic.constants import constant, is_one_of
from training.synthetic.dice import Dice
from training.synthetic.pictures import crops
from training.synthetic.schema import ACTIONS, CENTER, OBJECTS
from training.synthetic.skeleton import affine, compose
from training.synthetic.stage import Stage
from training.synthetic.words.abilities import PEOPLE
from training.synthetic.words.holdout import HELD_OUT_ELEVATIONS
from training.synthetic.world.primitives import Node

ELEVATIONS = (1.0, 62.0)
"""Degrees above the horizon."""
ASPECT = 4 / 3
FOV = (35.0, 75.0)
"""Degrees from a picture's top to its bottom."""
SWEEPING = ("fly", "fall", "rise", "bounce", "swing", "orbit", "collide", "topple", "jump", "throw", "catch", "kick")
"""Actions that need room."""


@dataclass(frozen=True)
class Cameras:
    """Of B clips, and the crops of their pictures.

    Attributes:
        eye, forward, right, up, window: as `render.Scene`.
        share: [B] how much of the picture's height a crop is high.
        width: [B] metres that a crop spans where it is aimed at.
    """

    eye: Tensor
    forward: Tensor
    right: Tensor
    up: Tensor
    window: Tensor
    share: Tensor
    width: Tensor


def cameras(dice: Dice, stage: Stage, held_out: bool) -> Cameras:
    """Somewhere around the chief ones, so that a crop spans between an eighth of one and all that is around it.

    Args:
        held_out: whether they stand at heights that training never has, or never at these.
    """
    first = torch.arange(0, len(stage.object), ENTITIES, device=dice.device)
    count = len(first)
    share = crops.shares(dice, count)
    tangent = (dice.uniform(count, low=FOV[0], high=FOV[1]) * torch.pi / 360).tan()
    half = share * tangent
    width = _spans(dice, stage, first)
    back = _directions(dice, stage, first, held_out)
    eye = _aims(dice, stage) + (width / (2 * half))[:, None] * back
    forward, right, up = _turned(dice, -back, share, tangent)
    # Crops' middles are near what is aimed at, and within the picture.
    offset = (0.33 * dice.normal(count, 2)).clamp(-1.1, 1.1)
    offset = torch.where(dice.chance(count, 1, share=0.05), 2 * dice.normal(count, 2), offset) * half[:, None]
    depth, wide = (-back * forward).sum(-1), ASPECT * tangent
    x = ((-back * right).sum(-1) / depth - offset[:, 0]).clamp(-wide, wide)
    y = ((-back * up).sum(-1) / depth - offset[:, 1]).clamp(-tangent, tangent)
    window = torch.stack([-wide - x, wide - x, y - tangent, y + tangent], dim=1) / half[:, None]
    ahead = forward + x[:, None] * right + y[:, None] * up
    return Cameras(eye, ahead, half[:, None] * right, half[:, None] * up, window, share, width)


def _spans(dice: Dice, stage: Stage, first: Tensor) -> Tensor:
    """[B] metres that a crop is wide."""
    count = len(first)
    part = (-0.22 + 0.42 * dice.normal(count)).clamp(-2.0, 0.8).exp()  # of its width, that the chief one fills
    part = part * torch.where(dice.chance(count, share=0.3), 0.55, 1.0)  # several in view
    sweeps = is_one_of(stage.action[first, CENTER], SWEEPING, ACTIONS)
    return stage.size[first] / (part * torch.where(sweeps, 0.65, 1.0))


def _aims(dice: Dice, stage: Stage) -> Tensor:
    """[B, 3] the chief one, or between it and what it has to do with."""
    spot = middles(stage)[:, CENTER].view(-1, ENTITIES, 3)
    paired = stage.other[::ENTITIES, CENTER] != NOTHING
    share = dice.uniform(len(spot), 1, low=-0.2, high=0.8).clamp(min=0) * paired[:, None]
    return spot[:, 0] + share * (spot[:, 1] - spot[:, 0])


def _directions(dice: Dice, stage: Stage, first: Tensor, held_out: bool) -> Tensor:
    """[B, 3] unit, towards cameras; doors are seen from their front."""
    count = len(first)
    elevation = elevations(dice, count, held_out) * torch.pi / 180
    turn = dice.uniform(count, high=2 * torch.pi)
    front = stage.root[first, CENTER, :2, 0]
    facing = torch.atan2(front[:, 1], front[:, 0]) + dice.uniform(count, low=-1.2, high=1.2)
    turn = torch.where(stage.object[first] == OBJECTS.index("door"), facing, turn)
    return torch.stack([elevation.cos() * turn.cos(), elevation.cos() * turn.sin(), elevation.sin()], dim=-1)


def _turned(dice: Dice, ahead: Tensor, share: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Forward, right and up [B, 3] of cameras in whose pictures what lies `ahead` is anywhere."""
    count = len(ahead)
    inner = torch.where(dice.chance(count, share=0.8), 1 - share, 1.0)  # mostly, the crop is within the picture
    x = dice.uniform(count, low=-1.0, high=1.0) * tangent * (ASPECT - 1 + inner)
    y = dice.uniform(count, low=-1.0, high=1.0) * tangent * inner
    right, up = _level(ahead)
    forward = torch.nn.functional.normalize(ahead - x[:, None] * right - y[:, None] * up, dim=-1)
    right, up = _level(forward)
    roll = (0.04 * dice.normal(count))[:, None]
    return forward, roll.cos() * right + roll.sin() * up, roll.cos() * up - roll.sin() * right


def elevations(dice: Dice, count: int, held_out: bool) -> Tensor:
    """[B] degrees, inside or outside of the bands that are held out."""
    step = 0.25
    start = torch.arange(ELEVATIONS[0], ELEVATIONS[1], step, device=dice.device)
    fits = torch.full_like(start, not held_out, dtype=torch.bool)
    for low, high in HELD_OUT_ELEVATIONS:
        if held_out:
            fits |= (start >= low) & (start + step <= high)
        else:
            fits &= (start + step <= low) | (start >= high)
    likely = fits * (1.2 - start / 90)
    return start[dice.choose(likely.expand(count, -1))] + dice.uniform(count, high=step)


def middles(stage: Stage) -> Tensor:
    """[N, T, 3] about where everybody's middle is."""
    person = stage.nodes[:, :, Node.TORSO, :, 3]
    middle = compose(stage.root, affine(torch.eye(3, device=person.device).expand(*person.shape, 3), person))[..., 3]
    return torch.where(is_person(stage)[:, None, None], middle, stage.root[..., 3])


def is_person(stage: Stage) -> Tensor:
    """[N] bool."""
    return is_one_of(stage.object, PEOPLE, OBJECTS)


def _level(forward: Tensor) -> tuple[Tensor, Tensor]:
    """[B, 3] right and up of level cameras that look along unit vectors."""
    up = constant([0.0, 0.0, 1.0], device=forward.device).expand_as(forward)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    return right, torch.linalg.cross(right, forward)
