"""What the generator's scenes are made of, and when a phrase is true of a clip: what scenes and captions agree on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import torch
from torch import Tensor

FRAMES = 8
"""Of a clip, as `language.pyramid.WINDOW`; the timestep itself is the one at `CENTER`."""
CENTER = 4

OBJECTS = (
    *("man", "woman", "robot", "dog", "bird"),
    *("ball", "balloon", "box", "cylinder", "cone", "ring", "wheel", "door", "book", "chair", "table", "lamp", "cup"),
    *("bottle", "plate", "hammer", "car", "plane", "tree"),
)
"""A person's colour is that of what they wear on top."""

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white")

ACTIONS = (
    "still",  # nothing happens to it; people stand
    *("fly", "fall", "rise", "bounce", "roll", "spin", "slide", "swing", "shake", "grow", "shrink"),
    *("appear", "disappear", "orbit", "collide", "topple", "open", "close", "held", "carried"),
    *("walk", "run", "jump", "wave", "throw", "catch", "pick up", "put down", "hold", "carry", "kick"),
    *("sit down", "stand up", "bow", "clap"),
)
"""What an entity does at a time. "held" and "carried" happen to a thing, "hold" and "carry" are what somebody does."""

BACKWARDS = {
    "fall": "rise",
    "grow": "shrink",
    "appear": "disappear",
    "open": "close",
    "throw": "catch",
    "pick up": "put down",
    "sit down": "stand up",
}
"""What each action is when the clip is played backwards, and the other way round."""


class Shown(IntEnum):
    """How much of an entity a clip shows."""

    NO = 0
    PARTLY = 1
    """Too little to be asked for, too much for it to be a mistake."""
    YES = 2


@dataclass(frozen=True)
class Facts:
    """What is true of B clips with up to K entities each.

    Attributes:
        object: [B, K] int64 into `OBJECTS`; -1 where there is no entity.
        colors: [B, K] int64, a bit for each of `COLORS` that a good share of it has.
        action: [B, K] int64 into `ACTIONS`: what it does at the clip's timestep, `CENTER`.
        other: [B, K] int64 into `OBJECTS`: what it does that with (thrown, held, hit, orbited); -1 for nothing.
        shown: [B, K] int64, `Shown`.
        clear: [B, K] bool, whether the clip shows what it does: it does the same in the frames around the timestep, and
            enough of what moves is in view.
    """

    object: Tensor
    colors: Tensor
    action: Tensor
    other: Tensor
    shown: Tensor
    clear: Tensor


@dataclass(frozen=True)
class Clips:
    """Crops as the pyramid cuts them.

    Attributes:
        frames: [B, 8, 3, S, S] uint8, RGB.
        facts: what they show.
    """

    frames: Tensor
    facts: Facts


@dataclass(frozen=True)
class Claims:
    """What C phrases say, as sets: a phrase holds of an entity that is in all four.

    Attributes:
        objects: [C] int64, a bit for each of `OBJECTS` that the phrase may mean; all bits for "something".
        colors: [C] int64, a bit for each of `COLORS` that it names, all of which the entity has to have; 0 for none.
        actions: [C] int64, a bit for each of `ACTIONS` that it may mean; all bits where it names none.
        others: [C] int64, a bit for each of `OBJECTS` that the action may be done with; 0 where that is not said.
        nothing: [C] bool: says that nothing is to be seen but background; the sets are ignored.
    """

    objects: Tensor
    colors: Tensor
    actions: Tensor
    others: Tensor
    nothing: Tensor


ALL_OBJECTS = (1 << len(OBJECTS)) - 1
ALL_ACTIONS = (1 << len(ACTIONS)) - 1

FALSE, UNSURE, TRUE = 0, 1, 2


def truth(facts: Facts, claims: Claims) -> Tensor:
    """[B, C] int64, whether each phrase is `TRUE` of each clip, `FALSE`, or cannot be told (`UNSURE`)."""
    entity = {name: value[:, :, None] for name, value in vars(facts).items()}  # [B, K, 1] against [C]
    there = entity["object"] >= 0
    named = there & _has(claims.objects, entity["object"]) & ((entity["colors"] & claims.colors) == claims.colors)
    does = (claims.actions == ALL_ACTIONS) | (entity["clear"] & _has(claims.actions, entity["action"]))
    may_do = does | ~entity["clear"]
    with_it = (claims.others == 0) | ((entity["other"] >= 0) & _has(claims.others, entity["other"]))
    certain = (named & does & with_it & (entity["shown"] == Shown.YES.value)).any(dim=1)
    possible = (named & may_do & with_it & (entity["shown"] >= Shown.PARTLY.value)).any(dim=1)
    value = torch.where(certain, TRUE, torch.where(possible, UNSURE, FALSE))
    most = torch.where(facts.object >= 0, facts.shown, 0).amax(dim=1)[:, None]
    nothing = torch.where(most == Shown.NO.value, TRUE, torch.where(most == Shown.PARTLY.value, UNSURE, FALSE))
    return torch.where(claims.nothing, nothing, value)


def _has(sets: Tensor, member: Tensor) -> Tensor:
    """Whether bit sets [C] have a member [..., 1]; of what is not there (-1), no matter what."""
    return (sets >> member.clamp(min=0)) & 1 == 1


@cache
def bits(names: tuple[str, ...], of: tuple[str, ...]) -> int:
    """The bit set of some of these names."""
    return sum(1 << of.index(name) for name in names)
