"""What words mean, out of WordNet: which of them name things, and which names may mean the same thing."""

from __future__ import annotations

from bisect import bisect_left
from enum import IntFlag
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("lexicon.npz")
"""Written by scripts/training/actions/lexicon.py; the licence is beside it."""

ACT, ANIMAL, ARTIFACT, BODY, FOOD, OBJECT, PERSON, PLANT, TIME = 4, 5, 6, 8, 13, 17, 18, 20, 28
"""WordNet's lexicographer files, that say what kind of thing a noun names."""
SOLID = (ANIMAL, ARTIFACT, FOOD, OBJECT, PERSON, PLANT)
"""What a prompt may be about. Other nouns say where, when and how: "the air", "the moment", "his grip"."""

PLURALS = {
    "men": "man", "women": "woman", "people": "person", "persons": "person", "children": "child", "feet": "foot",
    "mice": "mouse", "geese": "goose", "teeth": "tooth", "knives": "knife", "wolves": "wolf", "shelves": "shelf",
}  # fmt: skip
"""That no rule makes."""

IRREGULAR = {
    "threw": "throw", "thrown": "throw", "flung": "fling", "slung": "sling", "caught": "catch", "took": "take",
    "taken": "take", "got": "get", "gotten": "get", "held": "hold", "clung": "cling", "hung": "hang", "flew": "fly",
    "flown": "fly", "fell": "fall", "fallen": "fall", "rose": "rise", "risen": "rise", "spun": "spin", "swung": "swing",
    "slid": "slide", "shook": "shake", "shaken": "shake", "shut": "shut", "put": "put", "ran": "run", "leapt": "leap",
    "kept": "keep", "left": "leave", "sent": "send", "shot": "shoot", "bore": "bear", "borne": "bear",
}  # fmt: skip
"""Of verbs that tell an action: forms that no rule makes."""


class Part(IntFlag):
    """What a word may be beside a noun."""

    VERB = 1
    MOSTLY_VERB = 2
    OTHER = 4
    """More often an adjective or adverb than a noun."""


class Lexicon:
    """Nouns and verbs of WordNet."""

    def __init__(self) -> None:
        with np.load(FILE, allow_pickle=False) as file:
            self._words = file["words"].tobytes().decode().split("\n")
            self._senses: NDArray[np.int32] = file["senses"]
            self._parts: NDArray[np.uint8] = file["verbal"]
            self._parents: NDArray[np.int32] = file["parents"]
            self._files: NDArray[np.uint8] = file["files"]
            lines = file["verbs"].tobytes().decode().split("\n")
        self._verbs = {verb: tuple(told.split(", ")) for verb, told in (line.split(": ") for line in lines)}

    def noun(self, word: str) -> str | None:
        """The noun as it stands in the lexicon, singular; None where it is none."""
        return next((form for form in _singulars(word) if len(self.senses(form))), None)

    def part(self, word: str) -> Part:
        """Of a word as it stands there; nothing for one that is not there."""
        row = self._row(word)
        return Part(0) if row is None else Part(int(self._parts[row]))

    def verb(self, word: str) -> Part:
        """Of a word in any regular form: whether it may be a verb, and mostly is."""
        found = Part(0)
        for form in _stems(word):
            found |= self.part(form)
        return found & (Part.VERB | Part.MOSTLY_VERB)

    def actions(self, word: str) -> set[str]:
        """Of a verb in any regular form, with a particle or without: the actions (`wordings.SENTENCES`) that it may
        tell."""
        verb, _, particle = word.partition(" ")
        forms = (f"{form} {particle}".strip() for form in _stems(IRREGULAR.get(verb, verb)))
        return {action for form in forms for action in self._verbs.get(form, ())}

    def senses(self, noun: str) -> list[int]:
        """Its synsets, the most common first; none for what is no noun."""
        row = self._row(noun)
        return [] if row is None else [int(sense) for sense in self._senses[row] if sense >= 0]

    def above(self, sense: int) -> set[int]:
        """A synset and all that it is a kind of."""
        found, waiting = set(), [sense]
        while waiting:
            now = waiting.pop()
            if now not in found:
                found.add(now)
                waiting += [int(parent) for parent in self._parents[now] if parent >= 0]
        return found

    def parents(self, sense: int) -> set[int]:
        """What a synset is a kind of, next to it."""
        return {int(parent) for parent in self._parents[sense] if parent >= 0}

    def file(self, sense: int) -> int:
        """The lexicographer file that a synset is in."""
        return int(self._files[sense])

    def _row(self, word: str) -> int | None:
        at = bisect_left(self._words, word)
        return at if at < len(self._words) and self._words[at] == word else None


@cache
def lexicon() -> Lexicon:
    """The package's."""
    return Lexicon()


def _singulars(word: str) -> list[str]:
    """What a noun may be the plural of, after itself."""
    first, _, last = word.rpartition(" ")
    head = f"{first} " if first else ""
    found = [word]
    if last in PLURALS:
        found.append(head + PLURALS[last])
    if last.endswith("ies"):
        found.append(head + last[:-3] + "y")
    if last.endswith(("ses", "xes", "zes", "ches", "shes")):
        found.append(head + last[:-2])
    if last.endswith("s") and not last.endswith("ss"):
        found.append(head + last[:-1])
    return found


def _stems(word: str) -> list[str]:
    """What a verb's form may come from."""
    found = [word]
    for ending in ("s", "es", "ed", "d", "ing"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            stem = word[: -len(ending)]
            found += [stem, stem + "e"] if ending in ("ing", "ed") else [stem]
            if ending in ("ing", "ed") and stem[-1] == stem[-2]:
                found.append(stem[:-1])
    return found + ([word[:-3] + "y"] if word.endswith("ies") else [])
