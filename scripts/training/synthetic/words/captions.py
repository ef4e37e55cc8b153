"""Captions of generated clips, drawn on the device that trains: a bank of phrases made once, and look-ups.

Every object and action have a page of phrases that are true of them, in which the words of a colour
and of another object are left open. Drawing a caption is picking a row of a page and filling it in.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from legs4d.language.encoders.tiny.words import PAD, UNKNOWN, Words
from training.synthetic.schema import (
    ACTIONS,
    COLORS,
    FALSE,
    OBJECTS,
    UNSURE,
    Claims,
    Facts,
    Shown,
    truth,
)

COLOR_ID, OTHER_ID = -1, -2
"""In a row of the bank: a word to be filled in."""
NO_ACTION = len(ACTIONS)
"""Stands for an action where a caption names none."""

NOTHING_EVERY = 64
"""Of so many captions, one more says that there is nothing: it is true of many clips at once."""
ABSURD = 0.2
"""Share of twisted actions that are any at all, so that what no clip shows is not thought of any."""
INVENTED_COLOR = 0.35
"""Share of invented captions that name a colour."""


@dataclass(frozen=True)
class Captions:
    """C phrases.

    Attributes:
        tokens: [C, CONTEXT] int16 ids.
        claims: what they surely say.
        loosely: what they may be said of: a clip of which only this is true is no mistake, nor an example.
    """

    tokens: Tensor
    claims: Claims
    loosely: Claims

    def __len__(self) -> int:
        return len(self.tokens)


def labels(facts: Facts, captions: Captions) -> Tensor:
    """[B, C] int64 `TRUE`, `FALSE` or `UNSURE`."""
    surely = truth(facts, captions.claims)
    perhaps = truth(facts, captions.loosely)
    return torch.where((surely == FALSE) & (perhaps != FALSE), UNSURE, surely)


def join(captions: list[Captions]) -> Captions:
    """One after the other."""
    return Captions(
        torch.cat([part.tokens for part in captions]),
        _join_claims([part.claims for part in captions]),
        _join_claims([part.loosely for part in captions]),
    )


def _join_claims(parts: list[Claims]) -> Claims:
    return Claims(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Claims)})


@dataclass(frozen=True)
class Asked:
    """What captions are to say, [N] each: objects, actions or `NO_ACTION`, colours or -1, others or -1."""

    object: Tensor
    action: Tensor
    color: Tensor
    other: Tensor


@dataclass(frozen=True)
class Bank:
    """Phrases by what they are true of, as tensors; `make_bank` makes one.

    Attributes:
        rows: [G, R, CONTEXT] int16, R phrases of each of G pages.
        objects, maybe_objects, actions, maybe_actions: [G, R] int64, bit sets.
        page: [objects, actions + 1, 2, 2] int64, by whether a colour is named and whether another object is; a
            page without what it was asked for where there is none with it, -1 where there are no such phrases at all.
        does: [objects, actions] float32, 1 where training's clips have both together.
        may: [objects, actions] float32, 1 where its captions may: what does not go together is wrong of all clips.
        has_color: [objects, colours] float32, the same.
        color_words: [colours, n] int16.
        other_words: [objects, n] int16.
        nothing: [n, CONTEXT] int16, phrases that say that there is nothing.
    """

    rows: Tensor
    objects: Tensor
    maybe_objects: Tensor
    actions: Tensor
    maybe_actions: Tensor
    page: Tensor
    does: Tensor
    may: Tensor
    has_color: Tensor
    color_words: Tensor
    other_words: Tensor
    nothing: Tensor

    def to(self, device: torch.device | str) -> Bank:
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def page_of(self, asked: Asked) -> Tensor:
        """[N] int64 the pages for what is asked, -1 where there is none."""
        return self.page[asked.object, asked.action, (asked.color >= 0).long(), (asked.other >= 0).long()]

    def write(self, asked: Asked, random: torch.Generator) -> Captions:
        """A phrase for each of what is asked; colours and others that its sentence has no place for are left out."""
        device, count = self.rows.device, len(asked.object)
        with_color, with_other = asked.color >= 0, asked.other >= 0
        page = self.page_of(asked)
        row = torch.randint(self.rows.shape[1], (count,), generator=random, device=device)
        tokens = self.rows[page, row]
        color, other = asked.color.clamp(min=0), asked.other.clamp(min=0)
        tokens = _fill(tokens, COLOR_ID, self.color_words[color], random)
        # Where nothing stood open, nothing was said of it.
        says_color = with_color & (self.rows[page, row] == COLOR_ID).any(dim=1)
        says_other = with_other & (self.rows[page, row] == OTHER_ID).any(dim=1)
        tokens = _fill(tokens, OTHER_ID, self.other_words[other], random)
        colors = torch.where(says_color, 1 << color, 0)
        others = torch.where(says_other, 1 << other, 0)
        nothing = torch.zeros(count, dtype=torch.bool, device=device)
        objects, actions = self.objects[page, row], self.actions[page, row]
        return Captions(
            tokens,
            Claims(objects, colors, actions, others, nothing),
            Claims(
                objects | self.maybe_objects[page, row],
                colors,
                actions | self.maybe_actions[page, row],
                others,
                nothing,
            ),
        )

    def write_nothing(self, count: int, random: torch.Generator) -> Captions:
        """Phrases that say that nothing is to be seen."""
        device = self.rows.device
        row = torch.randint(len(self.nothing), (count,), generator=random, device=device)
        zero = torch.zeros(count, dtype=torch.int64, device=device)
        claims = Claims(zero, zero, zero, zero, torch.ones(count, dtype=torch.bool, device=device))
        return Captions(self.nothing[row], claims, claims)


def _fill(tokens: Tensor, place: int, words: Tensor, random: torch.Generator) -> Tensor:
    """Rows [N, L] with one of their words [N, n] in the places that stand open."""
    which = torch.randint(words.shape[1], (len(tokens), 1), generator=random, device=tokens.device)
    return torch.where(tokens == place, words.gather(1, which), tokens)


@dataclass(frozen=True)
class Habits:
    """How captions are drawn for clips.

    Attributes:
        action, color, other: shares of captions that name the action, a colour, what the action is done with, where
            the clip shows one.
    """

    action: float = 0.8
    color: float = 0.35
    other: float = 0.6


def choose(facts: Facts, each: int, habits: Habits, random: torch.Generator) -> tuple[Asked, Tensor]:
    """What to say of clips: `each` times for each of B, of one of the entities that it shows.

    Returns:
        ([B · each] each, [B · each] bool, whether there is anything to say: the clip shows an entity).
    """
    entity, shown = choose_entity(facts, torch.ones_like(facts.clear), each, random)
    asked = spread(facts, entity, habits.color, habits.other, random)
    clear = facts.clear.gather(1, entity).flatten()
    chance = torch.rand(len(clear), generator=random, device=clear.device)
    action = torch.where(clear & (chance < habits.action), asked.action, NO_ACTION)
    return replace(asked, action=action), shown.flatten()


def choose_entity(facts: Facts, chosen: Tensor, each: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """One of the entities [B, K] that are chosen and shown, `each` times: [B, each], and [B, each] if there is one."""
    shown = (facts.object >= 0) & (facts.shown == Shown.YES) & chosen
    entity = torch.stack([choose_column(shown + 1e-6, random) for _ in range(each)], dim=1)
    return entity, shown.gather(1, entity)


def spread(facts: Facts, entity: Tensor, color: float, other: float, random: torch.Generator) -> Asked:
    """All that is true of entities [B, each]; a colour and what something is done with in these shares of them."""

    def of_entity(values: Tensor) -> Tensor:
        return values.gather(1, entity).flatten()

    with_ = of_entity(facts.other)
    chance = torch.rand((2, len(with_)), generator=random, device=with_.device)
    one_color = torch.where(chance[0] < color, _one_of(of_entity(facts.colors), random), -1)
    with_ = torch.where(chance[1] < other, with_, -1)
    return Asked(of_entity(facts.object).clamp(min=0), of_entity(facts.action).clamp(min=0), one_color, with_)


def choose_column(weights: Tensor, random: torch.Generator) -> Tensor:
    """[N] columns of [N, M] weights, as likely as these say; `torch.multinomial` waits for the device to check them."""
    return (weights / torch.empty_like(weights, dtype=torch.float32).exponential_(generator=random)).argmax(dim=1)


def _one_of(sets: Tensor, random: torch.Generator) -> Tensor:
    """A member of each bit set of colours [N], at random; -1 of an empty one."""
    has = (sets[:, None] >> torch.arange(len(COLORS), device=sets.device)) & 1
    chosen = choose_column(has + 1e-6, random)
    return torch.where(sets > 0, chosen, -1)


def twist(asked: Asked, bank: Bank, random: torch.Generator) -> Asked:
    """The same with another action, object or colour: mostly wrong, in one respect. Nothing that is held out."""
    device, count = asked.object.device, len(asked.object)
    kind = torch.rand(count, generator=random, device=device)
    acts = asked.action < NO_ACTION
    # With an action named that is mostly what is changed: what moves how is harder than what it is.
    changes_action = acts & (kind < 0.6)
    changes_color = (asked.color >= 0) & ~changes_action & (kind < 0.8)
    changes_object = ~changes_action & ~changes_color
    absurd = torch.rand((count, 1), generator=random, device=device) < ABSURD
    action = choose_column(torch.where(absurd, bank.may[asked.object], bank.does[asked.object]), random)
    object_ = choose_column(bank.does.T[asked.action.clamp(max=NO_ACTION - 1)], random)
    anything = torch.randint(len(OBJECTS), (count,), generator=random, device=device)
    object_ = torch.where(changes_object, torch.where(acts, object_, anything), asked.object)
    color = choose_column(bank.has_color[object_], random)
    allowed = bank.has_color[object_, asked.color.clamp(min=0)] > 0
    color = torch.where(changes_color | ((asked.color >= 0) & ~allowed), color, asked.color)
    return Asked(object_, torch.where(changes_action, action, asked.action), color, asked.other)


def draw(
    bank: Bank, facts: Facts, habits: Habits, random: torch.Generator, true: int = 2, twisted: int = 1
) -> Captions:
    """Captions of B clips: `true` and `twisted` ones of each, and some that say that there is nothing.

    Of a clip that shows nothing, invented ones take the place of true ones.
    """
    asked, anything = choose(facts, true, habits, random)
    seen = bank.write(_where(anything, asked, invent(bank, len(anything), random)), random)
    parts = [seen, bank.write_nothing(max(1, len(seen) // NOTHING_EVERY), random)]
    if twisted:
        again, _ = choose(facts, twisted, habits, random)
        parts.append(bank.write(twist(again, bank, random), random))
    return join(parts)


def invent(bank: Bank, count: int, random: torch.Generator) -> Asked:
    """Anything that there is in training."""
    device = bank.does.device
    pair = choose_column(bank.does.flatten().expand(count, -1), random)
    object_, action = pair // len(ACTIONS), pair % len(ACTIONS)
    color = choose_column(bank.has_color[object_], random)
    named = torch.rand(count, generator=random, device=device) < INVENTED_COLOR
    nothing = torch.full_like(color, -1)
    return Asked(object_, action, torch.where(named, color, nothing), nothing)


def _where(condition: Tensor, yes: Asked, no: Asked) -> Asked:
    return Asked(**{f.name: torch.where(condition, getattr(yes, f.name), getattr(no, f.name)) for f in fields(Asked)})


def drop_words(tokens: Tensor, share: float, words: Words, random: torch.Generator) -> Tensor:
    """Phrases with some words replaced by `UNKNOWN`, as a prompt may have them."""
    dropped = torch.rand(tokens.shape, generator=random, device=tokens.device) < share
    return torch.where(dropped & (tokens > PAD) & (tokens < words.end), UNKNOWN, tokens)
