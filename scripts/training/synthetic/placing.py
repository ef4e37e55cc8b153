"""Where entities of generated clips are put, and what holds them there: walls, pedestals, seats."""

from __future__ import annotations

import torch
from torch import Tensor

from training.synthetic.cast import ENTITIES, NOTHING
from training.synthetic.constants import constant, is_one_of
from training.synthetic.dice import Dice
from training.synthetic.schema import ACTIONS, CENTER, OBJECTS
from training.synthetic.skeleton import about_z
from training.synthetic.stage import NATURAL, Stage
from training.synthetic.world.primitives import HINGE, Kind
from training.synthetic.world.rooms import FIRST_WALL, Pieces


def place(dice: Dice, stage: Stage) -> None:
    """Puts entities that have nothing to do with the chief one around it, not into each other, some on supports."""
    count = len(stage.object) // ENTITIES
    device = stage.object.device
    paired = _with_partner(stage).view(count, ENTITIES)
    size = stage.size.view(count, ENTITIES)
    high = dice.uniform(count, ENTITIES, low=0.0, high=1.0) * dice.chance(count, ENTITIES, share=0.3)
    shift = torch.zeros(count, ENTITIES, 3, device=device)
    turn = dice.uniform(count, 1, high=2 * torch.pi) + torch.arange(ENTITIES, device=device) * 2 * torch.pi / 3
    turn = turn + dice.uniform(count, ENTITIES, low=-0.7, high=0.7)
    reach = 0.5 * (size + size[:, :1]) * dice.uniform(count, ENTITIES, low=0.75, high=1.7)
    reach = reach + 0.5 * size[:, 1:2] * paired[:, 1:2]
    shift[..., 0], shift[..., 1] = reach * turn.cos(), reach * turn.sin()
    shift = shift * (~paired)[..., None]
    shift[:, 0] = 0
    stays = is_one_of(stage.action[:, CENTER], STAYING, ACTIONS) & ~stage.aloft & ~stage.seated
    shift[..., 2] = high * size * ~paired * stays.view(count, ENTITIES)
    stage.support = shift[..., 2].flatten()
    stage.root[..., 3] += shift.view(-1, 1, 3)


STAYING = (
    *("still", "spin", "open", "close", "appear", "disappear", "shake", "grow", "shrink", "wave", "clap", "bow"),
    *("hold", "throw", "catch"),
)
"""Actions that can be done on a table or a pedestal."""


def _with_partner(stage: Stage) -> Tensor:
    """[N] bool, whether an entity and another have to do with each other at any time."""
    return (stage.other != NOTHING).any(1)


def hang_doors(dice: Dice, room: Pieces, stage: Stage, shapes: dict[str, Tensor]) -> None:
    """Behind most doors that open towards the camera is a wall."""
    count = len(room.kind)
    first = torch.arange(0, len(stage.object), ENTITIES, device=stage.object.device)
    outwards = shapes["axis"][stage.variant[first], HINGE, 2] < 0
    there = (stage.object[first] == OBJECTS.index("door")) & outwards & dice.chance(count, share=0.8)
    root = stage.root[first, CENTER]
    front = torch.nn.functional.normalize(root[..., 0], dim=-1)
    half = stage.half[first]
    turn = torch.stack([torch.stack([-front[:, 1], front[:, 0], 0 * front[:, 0]], -1), -front, root[..., 2]], -1)
    turn[..., 2] = torch.nn.functional.normalize(turn[..., 2], dim=-1)
    size = torch.stack([40 * half[:, 2], 0.01 * half[:, 2], 10 * half[:, 2]], -1)
    middle = root[..., 3] - front * (0.04 * half[:, 2:] + 0.01 * half[:, 2:])
    room.place[:, FIRST_WALL] = torch.where(there[:, None], middle, room.place[:, FIRST_WALL])
    room.size[:, FIRST_WALL] = torch.where(there[:, None], size, room.size[:, FIRST_WALL])
    room.turn[:, FIRST_WALL] = torch.where(there[:, None, None], turn, room.turn[:, FIRST_WALL])
    room.kind[:, FIRST_WALL] = torch.where(there, int(Kind.BOX), room.kind[:, FIRST_WALL])
    room.kind[:, FIRST_WALL + 1 :] = room.kind[:, FIRST_WALL + 1 :].masked_fill(there[:, None], Kind.NONE)


def with_props(dice: Dice, room: Pieces, stage: Stage) -> Pieces:
    """The room, and what things stand on and people sit on: one primitive for each entity."""
    shape = (len(room.kind), ENTITIES)
    present = stage.object.view(shape) != NOTHING
    stands = (stage.support.view(shape) > 0) & present
    sits = stage.seated.view(shape) & present & dice.chance(*shape, share=0.8)
    place, size = _pedestals(dice, stage)
    seat_place, seat_size = _seats(stage)
    place, size = torch.where(sits[..., None], seat_place, place), torch.where(sits[..., None], seat_size, size)
    kind = torch.where(dice.chance(*shape, share=0.6), int(Kind.BOX), int(Kind.FRUSTUM))
    kind = torch.where(stands | sits, kind, int(Kind.NONE))
    turn = about_z(torch.atan2(stage.root[:, CENTER, 1, 0], stage.root[:, CENTER, 0, 0])).view(*shape, 3, 3)
    return Pieces(
        kind=torch.cat([room.kind, kind], 1),
        turn=torch.cat([room.turn, turn], 1),
        place=torch.cat([room.place, place], 1),
        size=torch.cat([room.size, size], 1),
        **{
            name: torch.cat([getattr(room, name), getattr(room, name)[:, -ENTITIES:]], 1)
            for name in ("frustum", "colors", "pattern", "frequency", "grain")
        },
    )


def _pedestals(dice: Dice, stage: Stage) -> tuple[Tensor, Tensor]:
    """[B, K, 3] places and half sizes of what things stand on."""
    shape = (len(stage.object) // ENTITIES, ENTITIES)
    wide = stage.half[:, :2].amax(1).view(shape) * dice.uniform(*shape, low=0.8, high=1.8)
    size = torch.stack([wide, wide, stage.support.view(shape).clamp(min=0.02) / 2], dim=-1)
    below = stage.root[:, CENTER, :2, 3].view(*shape, 2)
    return torch.cat([below, size[..., 2:]], dim=-1), size


SEAT_PLACE, SEAT_SIZE = (-0.4, 0.0, 0.15), (0.2, 0.2, 0.15)
"""Where people's hips will be, and half sizes, metres of a body of natural size."""


def _seats(stage: Stage) -> tuple[Tensor, Tensor]:
    """[B, K, 3] likewise."""
    shape = (len(stage.object) // ENTITIES, ENTITIES, 3)
    root = stage.root[:, CENTER]
    place = root[..., :3] @ constant(SEAT_PLACE, root.device) + root[..., 3]
    scale = (stage.size / NATURAL).view(*shape[:2], 1)
    return place.view(shape), scale * constant(SEAT_SIZE, root.device)
