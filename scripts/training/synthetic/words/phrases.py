"""The bank that captions are drawn from, made of words: what is true of each object and action, in many phrasings."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from legs4d.language.encoders.tiny.sizes import CONTEXT
from legs4d.language.encoders.tiny.words import PAD, Words, split
from training.synthetic.schema import (
    ACTIONS,
    ALL_ACTIONS,
    COLORS,
    OBJECTS,
    bits,
)
from training.synthetic.words import wordings
from training.synthetic.words.abilities import PAIRS
from training.synthetic.words.captions import COLOR_ID, OTHER_ID, Bank
from training.synthetic.words.holdout import HELD_OUT_ACTIONS, HELD_OUT_COLORS
from training.synthetic.words.wordings import COLOR, OTHER, Noun, Verb

NAME_GENERALLY = 0.15
"""Share of captions with a noun that means several objects."""
DECORATE = 0.1
"""Share with an adjective that says nothing."""
TELL = 0.25
"""Share in a sentence that is not a plain one."""


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
