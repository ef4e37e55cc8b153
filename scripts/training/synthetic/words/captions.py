"""Captions of generated clips, drawn on the device that trains: a bank of phrases made once, and look-ups.

Every object and action have a page of phrases that are true of them, in which the words of a colour
and of another object are left open. Drawing a caption is picking a row of a page and filling it in.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from legs4d.language.encoders.tiny.sizes import CONTEXT
from legs4d.language.encoders.tiny.words import PAD, UNKNOWN, Words, split
from training.synthetic.schema import (
    ACTIONS,
    ALL_ACTIONS,
    COLORS,
    FALSE,
    OBJECTS,
    UNSURE,
    Claims,
    Facts,
    Shown,
    bits,
    truth,
)
from training.synthetic.words import wordings
from training.synthetic.words.abilities import PAIRS
from training.synthetic.words.holdout import HELD_OUT_ACTIONS, HELD_OUT_COLORS
from training.synthetic.words.wordings import COLOR, OTHER, Noun, Verb

COLOR_ID, OTHER_ID = -1, -2
"""In a row of the bank: a word to be filled in."""
NO_ACTION = len(ACTIONS)
"""Stands for an action where a caption names none."""

NAME_GENERALLY = 0.15
"""Share of captions with a noun that means several objects."""
DECORATE = 0.1
"""Share with an adjective that says nothing."""
TELL = 0.25
"""Share in a sentence that is not a plain one."""
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


# The bank, made of words


def make_bank(words: Words, seed: int, rows: int = 96, *, held_out: bool = False) -> Bank:
    """Phrases of all objects and actions.

    Args:
        words: the vocabulary.
        seed: of the choice of phrases.
        rows: phrases of a page; some may be the same.
        held_out: only with combinations of words that training never has.
    """
    author = _Author(random.Random(seed), held_out)
    table = _Table(author, words, rows)
    table.add_all()
    index = {name: i for i, name in enumerate(OBJECTS)}
    does = torch.zeros(len(OBJECTS), len(ACTIONS))
    for name, action in PAIRS - HELD_OUT_ACTIONS:
        does[index[name], ACTIONS.index(action)] = 1
    may = torch.ones_like(does)
    for name, action in HELD_OUT_ACTIONS:
        may[index[name], ACTIONS.index(action)] = 0
    has_color = torch.ones(len(OBJECTS), len(COLORS))
    for name, color in HELD_OUT_COLORS:
        has_color[index[name], COLORS.index(color)] = 0
    return Bank(
        rows=torch.from_numpy(np.array(table.rows, np.int16)),
        objects=torch.tensor(table.objects),
        maybe_objects=torch.tensor(table.maybe_objects),
        actions=torch.tensor(table.actions),
        maybe_actions=torch.tensor(table.maybe_actions),
        page=table.page,
        does=does,
        may=may,
        has_color=has_color,
        color_words=_word_table(words, [wordings.COLOR_WORDS[color] for color in COLORS]),
        other_words=_word_table(words, [wordings.OTHER_WORDS[name] for name in OBJECTS]),
        nothing=torch.from_numpy(words.encode(list(wordings.NOTHING)).astype(np.int16)),
    )


def _word_table(words: Words, lists: list[tuple[str, ...]]) -> Tensor:
    """[len(lists), n] int16 ids; shorter lists are repeated, so that each word is as likely as it stands there."""
    size = int(np.lcm.reduce([len(names) for names in lists]))
    ids = [[words.index(name) for name in names] * (size // len(names)) for names in lists]
    return torch.tensor(ids, dtype=torch.int16)


class _Table:
    """The pages of a bank as they are written."""

    def __init__(self, author: _Author, words: Words, size: int) -> None:
        self._author, self._size = author, size
        self._ids = cache(lambda piece: _piece_ids(piece, words))
        self._end = words.end
        self.rows: list[list[list[int]]] = []
        self.objects: list[list[int]] = []
        self.maybe_objects: list[list[int]] = []
        self.actions: list[list[int]] = []
        self.maybe_actions: list[list[int]] = []
        self.page = torch.full((len(OBJECTS), len(ACTIONS) + 1, 2, 2), -1)

    def _encode(self, text: str) -> list[int]:
        """A phrase in which `COLOR` and `OTHER` stand open: [CONTEXT] ids."""
        ids = [i for piece in text.split() for i in self._ids(piece)]
        ids = [*ids[: CONTEXT - 1], self._end]
        return ids + [PAD] * (CONTEXT - len(ids))

    def add_all(self) -> None:
        for o, name in enumerate(OBJECTS):
            for a, action in enumerate((*ACTIONS, None)):
                for colored in (False, True):
                    self._add_page(o, a, name, action, colored)

    def _add_page(self, o: int, a: int, name: str, action: str | None, colored: bool) -> None:
        page = self.page[o, a, int(colored)]
        if self._author.can_write(name, action, with_other=False):
            page[:] = len(self.rows)
            self._write(name, action, colored, with_other=False)
        if self._author.can_write(name, action, with_other=True):
            page[1] = len(self.rows)
            self._write(name, action, colored, with_other=True)

    def _write(self, name: str, action: str | None, colored: bool, with_other: bool) -> None:
        phrases = [self._author.write(name, action, colored, with_other) for _ in range(self._size)]
        self.rows.append([self._encode(phrase.text) for phrase in phrases])
        self.objects.append([bits(phrase.noun.objects, OBJECTS) for phrase in phrases])
        self.maybe_objects.append([bits(phrase.noun.maybe, OBJECTS) for phrase in phrases])
        self.actions.append([bits(p.verb.actions, ACTIONS) if p.verb else ALL_ACTIONS for p in phrases])
        self.maybe_actions.append([bits(p.verb.maybe, ACTIONS) if p.verb else ALL_ACTIONS for p in phrases])


def _piece_ids(piece: str, words: Words) -> list[int]:
    """Of what stands between spaces: a word, an article, two words with a hyphen, or an open place."""
    if piece in (COLOR, OTHER):
        return [COLOR_ID if piece == COLOR else OTHER_ID]
    return [words.index(word) for word in split(piece)]


@dataclass(frozen=True)
class _Phrase:
    text: str
    noun: Noun
    verb: Verb | None


class _Author:
    """Writes phrases that are true of an object and what it does."""

    def __init__(self, random: random.Random, held_out: bool) -> None:
        self._random, self._held_out = random, held_out
        self._verbs: dict[tuple[str, str, bool], list[tuple[Verb, str]]] = {}
        self._plain = {name: [n for n in wordings.NOUNS if n.objects == (name,)] for name in OBJECTS}
        self._general = {
            name: [n for n in wordings.NOUNS if name in n.objects and len(n.objects) > 1] for name in OBJECTS
        }

    def can_write(self, name: str, action: str | None, with_other: bool) -> bool:
        """Whether there is any combination of words for this."""
        if action is None:
            return not with_other
        words = [word for noun in (*self._plain[name], *self._general[name]) for word in noun.words]
        return any(
            wordings.is_held_out(word, forms) == self._held_out
            for _, forms in self._told(name, action, with_other)
            for word in words
        )

    def write(self, name: str, action: str | None, colored: bool, with_other: bool) -> _Phrase:
        if action is None:
            noun, word = self._noun(name)
            if self._held_out:  # without a verb there is no combination of words
                noun = self._plain[name][0]
                word = noun.words[0]
            text = self._random.choice(wordings.NAMED).format(n=self._noun_phrase(name, noun, word, colored))
            return _Phrase(_open(text), noun, None)
        while True:
            noun, word = self._noun(name)
            verb, forms = self._verb(name, action, with_other)
            if wordings.is_held_out(word, forms) == self._held_out:
                break
        phrase = self._noun_phrase(name, noun, word, colored)
        return _Phrase(_open(self._sentence(phrase, verb, forms, with_other)), noun, verb)

    def _noun(self, name: str) -> tuple[Noun, str]:
        general = self._general[name]
        nouns = general if general and self._random.random() < NAME_GENERALLY else self._plain[name]
        noun = self._random.choice(nouns)
        # The plain name is what most people type.
        return noun, noun.words[0] if self._random.random() < 0.25 else self._random.choice(noun.words)

    def _verb(self, name: str, action: str, with_other: bool) -> tuple[Verb, str]:
        return self._random.choice(self._told(name, action, with_other))

    def _told(self, name: str, action: str, with_other: bool) -> list[tuple[Verb, str]]:
        """All that there is to say of an object that does this."""
        key = name, action, with_other
        if key not in self._verbs:
            told = [
                (verb, forms)
                for verb in wordings.VERBS
                if action in verb.actions
                for forms in verb.words
                if (OTHER in forms) == with_other
            ]
            # A car that throws is nothing that clips show, only a wrong caption.
            self._verbs[key] = [(verb, forms) for verb, forms in told if name in verb.objects] or told
        return self._verbs[key]

    def _noun_phrase(self, name: str, noun: Noun, word: str, colored: bool) -> str:
        human = set(noun.objects) <= set(wordings.HUMANS)
        if self._random.random() < DECORATE and word not in ("someone", "somebody", "something", "anything"):
            fitting = [a for things, all_ in wordings.DECORATIONS.items() if name in things for a in all_]
            word = f"{self._random.choice(fitting)} {word}"
        if not colored:
            return word
        if human:
            return f"{word} {self._random.choice(wordings.CLOTHES_OF.get(name, wordings.CLOTHES))}"
        if word in ("something", "anything"):
            return f"{word} {COLOR}"
        return self._random.choice(wordings.COLORED).replace("{n}", word)

    def _sentence(self, noun: str, verb: Verb, forms: str, with_other: bool) -> str:
        ing, s, past = _forms(forms)
        if with_other and verb.passive and self._random.random() < 0.15:
            template = self._random.choice(wordings.PASSIVE).replace("{p}", self._random.choice(verb.passive))
            return template.replace("{n}", noun)
        told = self._random.random() < TELL
        template = self._random.choice(wordings.TOLD if told else wordings.PLAIN)
        if template.startswith("{ing}") and " " in ing:
            template = "{n} {ing}"
        text = template.replace("{n}", noun).replace("{ing}", ing).replace("{s}", s).replace("{past}", past)
        return f"{text} {self._random.choice(wordings.ADVERBS)}" if self._random.random() < 0.04 else text


def _forms(forms: str) -> tuple[str, str, str]:
    """(while, as, after) of `Verb.words`."""
    if forms.startswith("="):
        return forms[1:], f"is {forms[1:]}", f"was {forms[1:]}"
    ing, s, past = (*forms.split("|"), "")[:3]
    return ing, s, past or s


def _open(text: str) -> str:
    """With the open places as words of their own."""
    return text.replace(COLOR, f" {COLOR} ").replace(OTHER, f" {OTHER} ")


def all_words() -> list[str]:
    """Every word that captions are made of, in order of the alphabet."""
    texts: list[str] = [*wordings.ADVERBS, *wordings.NOTHING]
    texts += [word for noun in wordings.NOUNS for word in noun.words]
    texts += [word for names in wordings.COLOR_WORDS.values() for word in names]
    texts += [word for names in wordings.DECORATIONS.values() for word in names]
    texts += [form for verb in wordings.VERBS for words in verb.words for form in _forms(words)]
    texts += [word for verb in wordings.VERBS for word in verb.passive]
    templates = (*wordings.CLOTHES, *(text for texts in wordings.CLOTHES_OF.values() for text in texts))
    templates += (*wordings.COLORED, *wordings.PLAIN, *wordings.TOLD, *wordings.PASSIVE, *wordings.NAMED)
    for name in ("{n}", "{ing}", "{s}", "{past}", "{p}", COLOR, OTHER):
        texts = [text.replace(name, " ") for text in texts]
        templates = tuple(text.replace(name, " ") for text in templates)
    return sorted({word for text in (*texts, *templates) for word in split(text)})
