"""How well each state of a story fits a prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.language.encoders.actions.names import fits
from legs4d.language.encoders.actions.reading import Reading, read
from legs4d.language.encoders.actions.story import Story
from legs4d.language.encoders.actions.wordings import ROLES

LEAST_FIT = 0.5
"""Of a state: less is no answer. Names and actions fit by degrees, and what fits half as well is something else."""


@dataclass(frozen=True)
class Person:
    """An object as words may mean it.

    Attributes:
        names: what it is called, the first by whoever named it, others by what its pictures look like; may be empty.
        colors: words of colours → 0..1, how much it looks so.
    """

    names: tuple[str, ...]
    colors: dict[str, float]

    def fit(self, word: str) -> float:
        """0..1, whether a noun may mean it."""
        return max((fits(word, name) for name in self.names or ("",)), default=0.0)

    def looks(self, words: tuple[str, ...]) -> float:
        """0..1, whether it has the colours among these words; of words that are none, 1."""
        told = [self.colors[word] for word in words if word in self.colors]
        return min(told, default=1.0)


def score(story: Story, cast: list[Person], prompt: str) -> NDArray[np.float32]:
    """[states] 0..1."""
    reading = read(prompt)
    return np.array([_fit(reading, story, cast, which) for which in range(len(story.states))], np.float32)


def _fit(reading: Reading, story: Story, cast: list[Person], which: int) -> float:
    state = story.states[which]
    person = cast[state.row]
    subject = max((person.fit(word) for word in reading.subjects), default=1.0) * person.looks(reading.words)
    if not reading.says:
        return subject if subject >= LEAST_FIT else 0.0
    most = max(reading.actions.values(), default=0.0)
    best = 0.0
    for action, well in reading.actions.items():
        for deed in state.deeds:
            if deed.action in ROLES[action][-1 if reading.passive else 0 :] and well >= LEAST_FIT * most:
                with_it = min((_takes_part(word, deed.other, state.row, cast) for word in reading.others), default=1.0)
                best = max(best, well * with_it * (0.5 + 0.5 * deed.sure))
    fit = subject * best
    return fit if fit >= LEAST_FIT * LEAST_FIT else 0.0


def _takes_part(word: str, other: int, row: int, cast: list[Person]) -> float:
    """Whether a noun may mean the other one, or at least anybody who is there."""
    if other >= 0 and cast[other].fit(word) > 0:
        return cast[other].fit(word)
    return 0.7 if any(person.fit(word) > 0 for person in cast) else 0.0


def remarks(story: Story, cast: list[Person], prompt: str) -> list[str]:
    """Why a prompt finds nothing, where that is plain: a sentence each."""
    reading, told = read(prompt), []
    for word in dict.fromkeys((*reading.subjects, *reading.others)):
        if not any(person.fit(word) > 0 for person in cast):
            called = ", ".join(f"'{person.names[0]}'" for person in cast if person.names) or "no names yet"
            told.append(f"Nothing in this run is called '{word}': its objects have {called}.")
    if reading.says and not reading.actions:
        told.append(
            "What the prompt says happens is nothing that motion tells; `--encoder tiny` looks at the pictures."
        )
    return told
