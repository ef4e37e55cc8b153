"""Colours, patterns and light of generated scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.dice import Dice
from training.synthetic.pictures.scene import NO_COLOR, Pattern
from training.synthetic.schema import COLORS, OBJECTS
from training.synthetic.words.abilities import PEOPLE
from training.synthetic.words.holdout import HELD_OUT_COLORS
from training.synthetic.world.primitives import Slot

RANGES = {
    # hue, in turns; saturation; value
    "red": ((-0.025, 0.025), (0.7, 1.0), (0.5, 0.95)),
    "orange": ((0.055, 0.095), (0.75, 1.0), (0.8, 1.0)),
    "yellow": ((0.13, 0.17), (0.6, 1.0), (0.8, 1.0)),
    "green": ((0.25, 0.42), (0.45, 1.0), (0.3, 0.85)),
    "blue": ((0.54, 0.67), (0.5, 1.0), (0.4, 0.95)),
    "purple": ((0.73, 0.81), (0.4, 0.9), (0.4, 0.8)),
    "pink": ((0.88, 0.96), (0.28, 0.6), (0.88, 1.0)),
    "brown": ((0.04, 0.085), (0.45, 0.75), (0.25, 0.5)),
    "black": ((0.0, 1.0), (0.0, 0.3), (0.03, 0.13)),
    "gray": ((0.0, 1.0), (0.0, 0.1), (0.35, 0.65)),
    "white": ((0.0, 1.0), (0.0, 0.07), (0.9, 1.0)),
}
"""Of named colours, on a screen. What lies between the ranges has no name and is not drawn for things."""

SLOT_NAMES = {Slot.DARK: "black", Slot.LIGHT: "white", Slot.WOOD: "brown", Slot.LEAF: "green", Slot.METAL: "gray"}
LEGS_WORN = ("blue", "black", "gray", "brown", "white", "green", "red")


def named(dice: Dice, names: Tensor) -> Tensor:
    """[..., 3] colours, in light's proportion, of names [...]."""
    ranges = constant([RANGES[name] for name in COLORS], device=names.device)[names]
    low, high = ranges[..., 0], ranges[..., 1]
    return linear(rgb(low + (high - low) * dice.uniform(*low.shape)))


def unnamed(dice: Dice, *shape: int) -> Tensor:
    """[..., 3] any colours, mostly dull ones, as rooms have."""
    hue = dice.uniform(*shape)
    saturation = dice.uniform(*shape) ** 3 * 0.9
    return linear(rgb(torch.stack([hue, saturation, dice.uniform(*shape, low=0.15, high=1.0)], dim=-1)))


def rgb(hsv: Tensor) -> Tensor:
    """Of hue (turns), saturation and value."""
    hue, saturation, value = hsv.unbind(-1)
    shift = constant([5.0, 3.0, 1.0], device=hsv.device)
    k = (shift + 6 * hue[..., None]) % 6
    return value[..., None] * (1 - saturation[..., None] * torch.minimum(k, 4 - k).clamp(0, 1))


def linear(color: Tensor) -> Tensor:
    """What a screen's colour is in light."""
    return color.clamp(min=0) ** 2.2


@dataclass(frozen=True)
class Paint:
    """Of N entities.

    Attributes:
        main: [N] int64 into `COLORS`, the chief colour's name.
        colors: [N, slots, 3, 3] three colours of each slot; codes: [N, slots, 3] their names, or `NO_COLOR`.
        pattern, frequency: [N, slots]; frequency in periods across the entity, or around it.
        grain: [N].
    """

    main: Tensor
    colors: Tensor
    codes: Tensor
    pattern: Tensor
    frequency: Tensor
    grain: Tensor


def main_colors(dice: Dice, objects: Tensor, held_out: Tensor) -> Tensor:
    """[N] int64 names; of those that training never sees [N] objects have where `held_out`, else of others."""
    never, likely = (table[objects] for table in _color_tables(objects.device))
    return dice.choose(torch.where(held_out[:, None], never, likely * (1 - never)))


def _any_colors(dice: Dice, objects: Tensor, count: int) -> Tensor:
    """[N, count] int64 names, none of which training never sees the [N] objects have."""
    allowed = 1 - _color_tables(objects.device)[0][objects]
    return dice.choose(allowed.repeat_interleave(count, 0)).view(len(objects), count)


@lru_cache(maxsize=4)
def _color_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """[objects, colours]: 1 for what training never sees, and how likely each is otherwise."""
    never = torch.zeros(len(OBJECTS), len(COLORS))
    for thing, color in HELD_OUT_COLORS:
        never[OBJECTS.index(thing), COLORS.index(color)] = 1
    likely = torch.ones(len(OBJECTS), len(COLORS))
    for thing, color, weight in USUAL:
        likely[OBJECTS.index(thing), COLORS.index(color)] = weight
    return never.to(device), likely.to(device)


USUAL = (
    *(("tree", "green", 12), ("table", "brown", 5), ("chair", "brown", 3), ("box", "brown", 3)),
    *(("dog", "brown", 4), ("door", "brown", 3), ("plate", "white", 3)),
)
"""Colours that objects have more often than others."""


def paint(dice: Dice, objects: Tensor, main: Tensor, marked: Tensor) -> Paint:
    """Of [N] objects with chief colours `main`; the `marked` have a pattern that shows how they turn, mostly."""
    count = len(objects)
    person = torch.isin(objects, constant([OBJECTS.index(name) for name in PEOPLE], device=objects.device))
    names = _any_colors(dice, objects, len(Slot))
    for slot, name in SLOT_NAMES.items():
        names[:, slot] = COLORS.index(name)
    names[:, Slot.MAIN] = main
    names[:, Slot.LEAF] = torch.where(objects == OBJECTS.index("tree"), main, names[:, Slot.LEAF])
    alike = dice.chance(count, share=0.4)
    names[:, Slot.SECOND] = torch.where(alike, main, names[:, Slot.SECOND])
    worn = constant([COLORS.index(name) for name in LEGS_WORN], device=objects.device)
    names[:, Slot.LEGS] = worn[dice.integers(count, high=len(worn))]
    first = named(dice, names)
    tone = torch.stack(
        [
            dice.uniform(count, low=0.045, high=0.08),
            dice.uniform(count, low=0.25, high=0.6),
            dice.uniform(count, low=0.35),
        ],
        dim=-1,
    )
    robot = (objects == OBJECTS.index("robot"))[:, None]
    first[:, Slot.SKIN] = torch.where(robot, first[:, Slot.METAL], linear(rgb(tone)))
    hair = torch.stack(
        [tone[:, 0], dice.uniform(count, low=0.2, high=0.7), dice.log_uniform(count, low=0.05, high=0.8)], -1
    )
    first[:, Slot.HAIR] = linear(rgb(hair))
    first[:, Slot.SHOES] = first[:, Slot.SHOES] * dice.uniform(count, 1, low=0.05, high=0.6)
    return _patterned(dice, objects, person, names, first, marked)


def _patterned(dice: Dice, objects: Tensor, person: Tensor, names: Tensor, first: Tensor, marked: Tensor) -> Paint:
    count, slots = names.shape
    others = _any_colors(dice, objects, 2 * slots).view(count, slots, 2)
    shade = dice.chance(count, share=0.45)[:, None, None]  # patterns of a colour and a darker or lighter one
    darker = first[:, :, None] * dice.uniform(count, 1, 2, 1, low=0.35, high=0.75)
    names3 = torch.cat([names[..., None], torch.where(shade, names[..., None], others)], dim=-1)
    more = torch.where(shade[..., None], darker, named(dice, others))
    colors = torch.cat([first[:, :, None], more], dim=2)
    patterned = torch.where(marked, dice.chance(count, share=0.85), dice.chance(count, share=0.45))
    kinds = constant(
        [Pattern.STRIPES, Pattern.BANDS, Pattern.CHECKS, Pattern.SECTORS, Pattern.BLOBS, Pattern.FACES, Pattern.HALVES],
        device=objects.device,
    )
    box = (objects == OBJECTS.index("box"))[:, None]
    weights = constant([1.0, 1, 1, 1, 1, 0, 0.7], device=objects.device).expand(count, -1)
    weights = torch.where(box, constant([0.7, 0.7, 1, 0, 0.7, 3, 0.5], device=objects.device), weights)
    shirts = constant([2.0, 0.7, 0.7, 0, 0.7, 0, 0], device=objects.device)
    kind = kinds[dice.choose(torch.where(person[:, None], shirts, weights))]
    pattern = torch.zeros_like(names)
    # What a person wears is one thing, what else is painted may have a pattern in its chief colour only.
    pattern[:, Slot.MAIN] = torch.where(patterned & ~(person & dice.chance(count, share=0.4)), kind, Pattern.PLAIN)
    pattern[:, Slot.LEAF] = torch.where(dice.chance(count, share=0.7), Pattern.BLOBS, Pattern.PLAIN)
    colors[:, Slot.LEAF, 1:], names3[:, Slot.LEAF, 1:] = darker[:, Slot.LEAF], names[:, Slot.LEAF, None]
    across = dice.log_uniform(count, slots, low=2.0, high=9.0)
    around = 2.0 * (1 + dice.integers(count, slots, high=4))
    frequency = torch.where(pattern == Pattern.SECTORS, around, across)
    counts = torch.ones(count, slots, dtype=torch.bool, device=objects.device)
    only_main = torch.zeros(slots, dtype=torch.bool, device=objects.device)
    only_main[Slot.MAIN] = True
    counts = torch.where(person[:, None], only_main, counts)
    codes = torch.where(counts[..., None], names3, NO_COLOR)
    return Paint(names[:, Slot.MAIN], colors, codes, pattern, frequency, dice.uniform(count, high=0.12))


@dataclass(frozen=True)
class Light:
    """As `render.Scene` has it."""

    sun: Tensor
    sun_color: Tensor
    sky_color: Tensor
    horizon: Tensor
    zenith: Tensor


def lights(dice: Dice, count: int) -> Light:
    """From soft daylight to one hard lamp."""
    height = dice.uniform(count, low=0.35, high=1.45)
    turn = dice.uniform(count, high=2 * torch.pi)
    sun = torch.stack([height.cos() * turn.cos(), height.cos() * turn.sin(), height.sin()], dim=-1)
    hard = dice.uniform(count, 1, low=0.15, high=0.75)
    level = dice.log_uniform(count, 1, low=0.95, high=1.35)
    warm = 1 + dice.normal(count, 1) * constant([0.12, 0.0, -0.12], device=dice.device)
    cool = 1 + dice.normal(count, 1) * constant([0.08, 0.0, -0.08], device=dice.device)
    sky = level * (1 - hard) * cool
    horizon, zenith = unnamed(dice, count), unnamed(dice, count)
    return Light(sun, 1.5 * level * hard * warm.clamp(min=0.5), sky.clamp(min=0.02), horizon, zenith)
