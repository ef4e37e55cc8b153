"""Who does what in generated clips, and when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from training.synthetic.constants import constant
from training.synthetic.dice import Dice
from training.synthetic.schema import ACTIONS, CENTER, FRAMES, OBJECTS
from training.synthetic.words.abilities import PAIRS, PEOPLE
from training.synthetic.words.holdout import HELD_OUT_ACTIONS
from training.synthetic.world.people import GRASP, RELEASE

ENTITIES = 4
"""Most in a clip: the chief one, perhaps a partner, and others that have nothing to do with them."""
NOTHING = -1

HANDLING = ("throw", "catch", "pick up", "put down", "hold", "carry", "kick")
"""What people do with a thing."""
HANDLED = {"held": "hold", "carried": "carry"}
"""What happens to a thing, and what somebody does meanwhile."""
AFTER_HANDS = {
    **{"throw": ("held", "fly"), "catch": ("held", "fly"), "kick": ("still", "fly"), "pick up": ("still", "held")},
    **{"put down": ("still", "held"), "hold": ("held",), "carry": ("carried",)},
}
"""What happens to the thing in each kind of handling."""
WITH_ANOTHER = ("orbit", "collide")
ONCE = (*("topple", "open", "close", "throw", "catch", "pick up", "put down", "kick", "sit down", "stand up", "bow"),)
"""Actions with an end of their own; others go on. People fall once, too."""
STEADY = ("fly", "fall", "rise", "bounce", "swing", "orbit", "held", "carried", "hold", "carry", "appear", "disappear")
"""Actions that nothing begins or ends within a clip, unless gravity does."""

CHIEF_WEIGHT = {
    **dict.fromkeys(("still", "fly", "spin", "open", "close", "throw", "catch", "hold", "held", "fall", "rise"), 1.6),
    **dict.fromkeys(("appear", "disappear", "shake", "slide", "carried"), 0.8),
}
"""How often actions are chosen, 1 where it is not said."""
COMMON = {"man": 1.6, "woman": 1.6, "ball": 1.5, "box": 1.3, "door": 1.3}
STILL_SHARE = 0.45
"""Of the others."""


@dataclass(frozen=True)
class Cast:
    """B clips of `ENTITIES`.

    Attributes:
        object: [B, K] int64, `NOTHING` where nobody is.
        action: [B, K] int64; what the chief one (the first) does, its partner meanwhile, and others.
        partner: [B] bool, whether the second has to do with the first.
        actor: [B] int64, the one of both who acts: people who handle a thing, what orbits or hits the other.
    """

    object: Tensor
    action: Tensor
    partner: Tensor
    actor: Tensor


@lru_cache(maxsize=16)
def _table(pairs: frozenset[tuple[str, str]], device: torch.device) -> Tensor:
    """[objects, actions] of 0 and 1; shared."""
    table = torch.zeros(len(OBJECTS), len(ACTIONS))
    for thing, action in pairs:
        table[OBJECTS.index(thing), ACTIONS.index(action)] = 1
    return table.to(device)


def _members(names: tuple[str, ...], of: tuple[str, ...], device: torch.device) -> Tensor:
    """[len(of)] bool."""
    return constant([name in names for name in of], device=device)


def draw(dice: Dice, count: int, held_out: bool, only: tuple[str, ...] = ACTIONS) -> Cast:
    """Of clips whose chief entities do what they never do in training (`held_out`), or never that.

    Args:
        only: the actions that chief ones do.
    """
    device = dice.device
    known = _table(PAIRS - HELD_OUT_ACTIONS, device)
    chief = _chief(dice, count, held_out, only)
    thing, action = chief // len(ACTIONS), chief % len(ACTIONS)
    objects = torch.full((count, ENTITIES), NOTHING, device=device)
    actions = torch.zeros_like(objects)
    objects[:, 0], actions[:, 0] = thing, action

    others = dice.choose(constant([[0.3, 0.32, 0.24, 0.14]], device=device).expand(count, -1))
    alone = constant([name not in (*HANDLING, *HANDLED, *WITH_ANOTHER) for name in ACTIONS], device=device)
    weights = known * alone
    share = STILL_SHARE / (1 - STILL_SHARE) * (weights.sum(1) - 1).clamp(min=1)
    weights[:, ACTIONS.index("still")] = share  # whatever there is stands still somewhere
    weights = weights / weights.sum(1, keepdim=True) * _common(device)[:, None]
    for slot in range(1, ENTITIES):
        drawn = dice.choose(weights.flatten().expand(count, -1))
        there = others >= slot
        objects[:, slot] = torch.where(there, drawn // len(ACTIONS), NOTHING)
        actions[:, slot] = drawn % len(ACTIONS)
    return _with_partners(dice, objects, actions, known)


def _common(device: torch.device) -> Tensor:
    return constant([COMMON.get(name, 1.0) for name in OBJECTS], device=device)


def _chief(dice: Dice, count: int, held_out: bool, only: tuple[str, ...]) -> Tensor:
    """[B] pairs, as object · number of actions + action."""
    device = dice.device
    allowed = _table(HELD_OUT_ACTIONS if held_out else PAIRS - HELD_OUT_ACTIONS, device) * _common(device)[:, None]
    allowed = allowed * _members(only, ACTIONS, device)
    if not held_out:  # every action as often as its weight says, whoever does it
        often = constant([CHIEF_WEIGHT.get(name, 1.0) for name in ACTIONS], device=device)
        allowed = allowed / allowed.sum(0).clamp(min=1e-9) * often
    return dice.choose(allowed.flatten().expand(count, -1))


def _with_partners(dice: Dice, objects: Tensor, actions: Tensor, known: Tensor) -> Cast:
    """Gives the chief ones somebody who handles them, something to handle, or something to orbit or hit."""
    device = objects.device
    count = len(objects)
    action = actions[:, 0]
    people = _members(PEOPLE, OBJECTS, device)
    partner_weights = torch.zeros(count, len(OBJECTS), device=device)
    partner_action = torch.full_like(action, ACTIONS.index("still"))
    for name in HANDLING:
        here = action == ACTIONS.index(name)
        fits = torch.stack([known[:, ACTIONS.index(what)] for what in AFTER_HANDS[name]]).amin(0) * ~people
        fits = fits * _table(PAIRS, device)[:, ACTIONS.index("held")]
        partner_weights = torch.where(here[:, None], fits, partner_weights)
        partner_action = partner_action.masked_fill(here, ACTIONS.index(AFTER_HANDS[name][0]))
    for name, doing in HANDLED.items():
        here = action == ACTIONS.index(name)
        partner_weights = torch.where(here[:, None], known[:, ACTIONS.index(doing)] * people, partner_weights)
        partner_action = partner_action.masked_fill(here, ACTIONS.index(doing))
    orbits, collides = (action == ACTIONS.index(name) for name in WITH_ANOTHER)
    center = known[:, ACTIONS.index("still")] * ~_members(("door",), OBJECTS, device)
    partner_weights = torch.where(orbits[:, None], center, partner_weights)
    partner_weights = torch.where(collides[:, None], known[:, ACTIONS.index("collide")], partner_weights)
    partner_action = partner_action.masked_fill(collides, ACTIONS.index("collide"))
    partner = partner_weights.sum(1) > 0
    drawn = dice.choose(partner_weights * _common(device) + ~partner[:, None])
    objects[:, 1] = torch.where(partner, drawn, objects[:, 1])
    actions[:, 1] = torch.where(partner, partner_action, actions[:, 1])
    handled = torch.isin(action, constant([ACTIONS.index(name) for name in HANDLED], device=device))
    return Cast(objects, actions, partner, handled.long())


@dataclass(frozen=True)
class Times:
    """[N, T] of when things happen; the first eight times are the clip's frames, the last one is the event's.

    Attributes:
        now: frames since the clip's timestep.
        since: frames since the action began: 0 before, `length` after its end.
        progress: share of it that is over.
        length: [N, 1] frames.
    """

    now: Tensor
    since: Tensor
    progress: Tensor
    length: Tensor


def times(dice: Dice, objects: Tensor, actions: Tensor) -> Times:
    """Of [N] entities; the event is when a thing leaves the hands or comes into them, or is kicked."""
    count = len(objects)
    person = torch.isin(objects, _indices(PEOPLE, OBJECTS, objects.device))
    once = torch.isin(actions, _indices(ONCE, ACTIONS, actions.device))
    once = once | (person & (actions == ACTIONS.index("fall")))
    steady = torch.isin(actions, _indices(STEADY, ACTIONS, actions.device)) & ~once
    short = dice.log_uniform(count, low=5, high=24)
    begins = -short * dice.uniform(count, low=-0.05, high=1.05)
    # Those that go on: mostly through the whole clip, else from or until somewhere in it.
    kind = dice.uniform(count)
    border = dice.uniform(count, low=-3.5, high=3.5)
    start = torch.where((kind < 0.15) & ~steady, border, -dice.uniform(count, low=8, high=60))
    end = torch.where((kind > 0.85) & ~steady, border, 60.0)
    start, length = torch.where(once, begins, start)[:, None], torch.where(once, short, end - start)[:, None]
    frames = torch.arange(FRAMES, device=objects.device) - float(CENTER)
    grasping = torch.isin(actions, _indices(("pick up", "put down"), ACTIONS, actions.device))[:, None]
    event = start + torch.where(grasping, GRASP, RELEASE) * length
    now = torch.cat([frames.expand(count, -1), event], dim=1)
    since = torch.minimum((now - start).clamp(min=0), length)
    return Times(now, since, since / length, length)


def _indices(names: tuple[str, ...], of: tuple[str, ...], device: torch.device) -> Tensor:
    return constant([of.index(name) for name in names], device=device)
