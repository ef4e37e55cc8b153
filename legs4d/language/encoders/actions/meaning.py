"""Which action a sentence means: it is compared with those of `wordings.py`, by a sentence encoder."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.language import minilm
from legs4d.language.encoders.actions.lexicon import lexicon
from legs4d.language.encoders.actions.wordings import OTHERS, SENTENCES

SENTENCES_FILE = Path(__file__).with_name("sentences.npz")
"""Embeddings of the sentences, written by scripts/training/actions/sentences.py."""

NEAREST = 2
"""Sentences of an action whose mean counts: single ones are near by chance."""
COMPLETE, LIKELY, MARGIN = 0.73, 0.48, 0.12
"""Cosines of sentences: from which a sentence means an action for sure; under which it means none; and how much less
than the nearest one another action may have, to be meant as well."""
DOUBT = 0.02
"""By how much a sentence may be nearer to something that motion knows nothing of."""

TOLD = 0.1
"""By how much an action is nearer of which WordNet knows that a word of the sentence may tell it."""

PUT = (("someone", "something"), ("a person", "an object"), ("a man", "a ball"), ("he", "it"))
"""How who and what are put before sentences are compared, in the mean over all: what one choice of words has by chance
evens out."""
NEARLY = {"carry": "hold"}
"""Action → what is meant as well where that does not happen."""
FALLS_SHORT = 0.4
"""By how much of MARGIN."""

OPPOSITE = {"throw": "hold", "hold": "fly", "catch": "fly", "open": "close", "close": "open"}
"""Of an action, what goes on instead where a sentence says that it does not; of others nobody knows."""
_NEGATION = re.compile(r"\b(no longer|not|never|nobody|no one|yet to)\b")
_CLAUSES = re.compile(r"\b(?:and|but|while|who|that|which)\b")

_SOMEONE, _SOMETHING = re.compile(r"\bsomeone\b"), re.compile(r"\bsomething\b")

ALONE = frozenset(("fly", "fall", "rise", "still", "walk", "run", "jump"))
"""What is not done with anything."""


@lru_cache(maxsize=1024)
def meant(sentence: str, acts_on: bool = False) -> tuple[tuple[str, float], ...]:
    """(action, 0..1) of what a sentence without names may mean; nothing where it means something else.

    A sentence encoder hears little of a "not". What a clause says without it is turned into its `OPPOSITE`: who has not
    let go holds.

    Args:
        acts_on: whether somebody does something with a thing in it: then nobody flies or walks, whatever it says of
            the air or the floor.
    """
    if not _NEGATION.search(sentence):
        return _near(sentence, acts_on)
    found: dict[str, float] = {}
    for clause in _CLAUSES.split(sentence):
        positive = " ".join(_NEGATION.sub(_somebody, clause).split()).removesuffix(" yet")
        if len(positive.split()) < 2:
            continue
        denied = _NEGATION.search(clause) is not None
        for action, well in _near(positive, acts_on):
            told = OPPOSITE.get(action) if denied else action
            if told is not None:
                found[told] = max(found.get(told, 0.0), well)
    return tuple(sorted(found.items(), key=lambda item: -item[1]))


def _somebody(found: re.Match[str]) -> str:
    return "someone" if found[1] in ("nobody", "no one") else ""


def _near(sentence: str, acts_on: bool) -> tuple[tuple[str, float], ...]:
    """See `meant`; of a sentence that denies nothing."""
    names, vectors = _known()
    likeness = np.einsum("psd,pd->s", vectors, minilm.embed(put(sentence))) / len(PUT)
    words = sentence.split()
    pairs = [f"{verb} {particle}" for verb, particle in pairwise(words)]
    told = {action for word in (*words, *pairs) for action in lexicon().actions(word)}
    values: dict[str, list[float]] = {}
    for name, value in zip(names, likeness, strict=True):
        values.setdefault(name, []).append(float(value))
    best = {name: float(np.mean(sorted(some)[-NEAREST:])) for name, some in values.items()}
    elsewhere = best.pop("")
    if acts_on:
        best = {name: value for name, value in best.items() if name not in ALONE}
    best = {name: value + (TOLD if name in told else 0) for name, value in best.items()}
    for name, other in NEARLY.items():
        best[other] = max(best[other], best[name] - FALLS_SHORT * MARGIN)
    most = max(best.values())
    if most < LIKELY or elsewhere > most + DOUBT:
        return ()
    sure = min(1.0, (most - LIKELY) / (COMPLETE - LIKELY) * 0.5 + 0.5)
    close = {name: sure * (1 - (most - value) / MARGIN) for name, value in best.items() if most - value < MARGIN}
    return tuple(sorted(close.items(), key=lambda item: -item[1]))


def put(sentence: str) -> list[str]:
    """A sentence about someone and something in each way of PUT."""
    return [_SOMEONE.sub(who, _SOMETHING.sub(what, sentence)) for who, what in PUT]


@cache
def _known() -> tuple[list[str], NDArray[np.float32]]:
    """(action of each of S sentences, "" for what motion knows nothing of; [P, S, D] embeddings, put as in PUT)."""
    pairs = [(action, text) for action, texts in SENTENCES.items() for text in texts] + [("", text) for text in OTHERS]
    with np.load(SENTENCES_FILE, allow_pickle=False) as file:
        texts, vectors = file["texts"].tobytes().decode().split("\n"), file["vectors"].astype(np.float32)
    row = {text: i for i, text in enumerate(texts)}
    return [action for action, _ in pairs], vectors[:, [row[text] for _, text in pairs]]
