"""How well each state of a story fits a prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.language.encoders.actions.names import fits
from legs4d.language.encoders.actions.proper_names import means
from legs4d.language.encoders.actions.reading import Reading, read
from legs4d.language.encoders.actions.story import Story
from legs4d.language.encoders.actions.wordings import ROLES

LEAST_FIT = 0.5
"""Of a state: less is no answer. Names and actions fit by degrees, and what fits half as well is something else."""


NEXT_BEST = 0.7
"""Of an action that a prompt may mean, against the one that it means most likely: less is not asked for."""
FALL_BACK = 0.5
"""Of an action that happens, against one that a prompt more likely means but that does not."""
COLOR_LIKELY = 0.2
"""Probability, as `tiny` was trained to tell it, from which an object may have a colour."""

Origin = Literal["name", "tiny", "motion"]


@dataclass(frozen=True)
class Actor:
    """An object as words may mean it.

    Attributes:
        name: what it is called; "" where nothing tells.
        by: who told: "name" (its user, or who found it in the footage), "tiny" or "motion".
        colors: words of colours → 0..1, how much it looks so.
    """

    name: str
    by: Origin
    colors: dict[str, float]

    def fit(self, word: str) -> float:
        """0..1, whether a noun may mean it."""
        return fits(word, self.name)

    def answers_to(self, word: str, reading: Reading) -> float:
        """0..1, whether a noun or a name of a prompt may mean it; only its own name is a name of its own."""
        return float(means(word, self.name)) if word in reading.names else self.fit(word)

    def may_be(self, words: tuple[str, ...], reading: Reading) -> bool:
        """Whether any of these may mean it."""
        return any(self.answers_to(word, reading) > 0 for word in words)

    def looks(self, words: tuple[str, ...]) -> float:
        """0..1, whether it has the colours among these words; of words that are none, 1."""
        told = [self.colors[word] for word in words if word in self.colors]
        return float(min(told, default=1.0) >= COLOR_LIKELY)


def score(story: Story, cast: list[Actor], prompt: str) -> NDArray[np.float32]:
    """[states] 0..1."""
    reading = read(prompt)
    if reading.actions:
        reading = replace(reading, actions=_likely(reading, story, cast))
    return np.array([_fit(reading, story, cast, which) for which in range(len(story.states))], np.float32)


def _likely(reading: Reading, story: Story, cast: list[Actor]) -> dict[str, float]:
    """Of the actions that may be meant, those that whoever is meant does, unless another is meant far more likely."""
    meant = [not reading.subjects or actor.may_be(reading.subjects, reading) for actor in cast]
    done = {deed.action for state in story.states if meant[state.row] for deed in state.deeds}
    found = {action: well for action, well in reading.actions.items() if done & {*_roles(reading, action)}}
    most = max(found.values(), default=0.0)
    return found if most >= FALL_BACK * max(reading.actions.values()) else {}


def _roles(reading: Reading, action: str) -> tuple[str, ...]:
    return ROLES[action][-1 if reading.passive else 0 :]


def _fit(reading: Reading, story: Story, cast: list[Actor], which: int) -> float:
    state = story.states[which]
    actor = cast[state.row]
    subject = max((actor.answers_to(word, reading) for word in reading.subjects), default=1.0) * actor.looks(
        reading.words
    )
    if not reading.says:
        return subject if subject >= LEAST_FIT else 0.0
    most = max(reading.actions.values(), default=0.0)
    best = 0.0
    for action, well in reading.actions.items():
        for deed in state.deeds:
            if deed.action in _roles(reading, action) and well >= NEXT_BEST * most:
                with_it = min((_takes_part(word, deed.other, reading, cast) for word in reading.others), default=1.0)
                best = max(best, well * with_it * (0.5 + 0.5 * deed.sure))
    fit = subject * best
    return fit if fit >= LEAST_FIT * LEAST_FIT else 0.0


def _takes_part(word: str, other: int, reading: Reading, cast: list[Actor]) -> float:
    """Whether a noun may mean the other one, or at least anybody who is there; whoever is called by name, that one."""
    if other >= 0 and (fit := cast[other].answers_to(word, reading)) > 0:
        return fit
    if word in reading.names and other >= 0:
        return 0.0
    return 0.7 if any(actor.may_be((word,), reading) for actor in cast) else 0.0


def remarks(story: Story, cast: list[Actor], prompt: str) -> list[str]:
    """Why a prompt finds nothing, where that is plain: a sentence each."""
    reading, told = read(prompt), []
    for word in dict.fromkeys((*reading.subjects, *reading.others)):
        if not any(actor.may_be((word,), reading) for actor in cast):
            called = (
                ", ".join(dict.fromkeys(actor.name for actor in cast if actor.name)) or "unknown (see `legs4d name`)"
            )
            told.append(
                f"Nothing in this run is called '{reading.names.get(word, word)}'; its objects are: {called}."
                + (" `legs4d name` says which of them it is." if word in reading.names else "")
            )
    told += [f"Nothing tells what '{name}' means, so any may be meant." for name in reading.whose]
    if reading.says and not reading.actions:
        told.append(
            "What the prompt says happens is nothing that motion tells; `--encoder tiny` looks at the pictures."
        )
    return told


def origins(story: Story, cast: list[Actor], prompt: str) -> dict[str, str]:
    """Where an answer comes from: "action", "name" and "color" of what the prompt says → "motion", "name" or "tiny"."""
    reading, told = read(prompt), {}
    if reading.actions:
        told["action"] = "motion"
    fitting = [actor for actor in cast if actor.may_be(reading.subjects, reading)]
    if fitting:
        told["name"] = fitting[0].by
    if any(word in actor.colors for actor in fitting for word in reading.words):
        told["color"] = "tiny"
    return told
