"""Whether a word may mean an object of that name."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from legs4d.language import minilm
from legs4d.language.encoders.actions.lexicon import ANIMAL, ARTIFACT, BODY, PERSON, SOLID, TIME, lexicon
from legs4d.language.encoders.tiny.encoder import WEIGHTS
from legs4d.language.encoders.tiny.text_half import read_text_half
from legs4d.priors.boxes.coco_names import COCO_NAMES

ANYBODY = frozenset(
    [
        "someone",
        "somebody",
        "anyone",
        "anybody",
        "he",
        "she",
        "they",
        "who",
        "person",
        "people",
        "human",
        "him",
        "figure",
    ]
)
ANYTHING = frozenset(["something", "anything", "it", "thing", "object", "item", "entity"])
FEMALE, MALE = frozenset(("she", "her", "hers", "herself")), frozenset(("he", "him", "his", "himself"))

SAME, KIND, SOMEHOW, LIKE = 1.0, 0.95, 0.8, 0.6
"""How well a word fits a name: it is that, one is a kind of the other, both are people, or they are near."""
TAUGHT = 0.95
"""Cosine of two words in `tiny`, which has 1 for what it was taught to be the same and less than 0.8 for the rest."""
NEAR, NEXT = 0.65, 0.5
"""Cosines of the sentence encoder from which two words are near, and from which two kinds of one thing are."""
IMAGINARY = 99
"""A class beside WordNet's files, which has unicorns and ghosts among people: nobody who is there is one."""
BEINGS = (PERSON, ANIMAL, IMAGINARY)
AS_PEOPLE = 2
"""How many of a noun's senses may be a person: "love" is one in its third."""


def is_being(name: str) -> bool | None:
    """Whether a name is that of a person or animal; None where it says nothing."""
    word = name.strip().lower()
    if not word or word in ANYTHING or not (_senses(word) or word in ANYBODY):
        return None
    return _class(word) in BEINGS


def is_person(word: str) -> bool:
    """Whether a word is mostly that of a person."""
    return _class(word) == PERSON


def is_solid(word: str, place: Literal["subject", "object", "elsewhere"] = "elsewhere") -> bool:
    """Whether a noun names what one may see move, and not where, when or how; what nobody knows does.

    Args:
        place: in the sentence. What stands first means a thing if it may; after a preposition, only if it mostly does.
    """
    senses = [lexicon().file(sense) for sense in _senses(word)]
    if not senses or word in COCO_NAMES:
        return True
    if senses[0] in (BODY, TIME) or BODY in [lexicon().file(sense) for sense in _senses(word.removesuffix("s"))[:1]]:
        return False  # "arms" are weapons as well
    if place == "elsewhere":
        return senses[0] in SOLID and not any(_is_place(sense) for sense in _senses(word))
    if place == "object" and _is_under(next((s for s in _senses(word) if lexicon().file(s) in SOLID), -1), _grounds()):
        return False  # "it crosses the room"
    return any(file in SOLID for file in senses[: SENSES_OF[place]])


SENSES_OF = {"subject": 4, "object": 2}
"""How many of a noun's senses may be meant, by where it stands."""


@lru_cache(maxsize=4096)
def _class(word: str) -> int:
    """PERSON, ANIMAL, IMAGINARY, or another file of what one may see; -1 for what names nothing."""
    if word in ANYBODY:
        return PERSON
    found = _class_by_senses(_senses(word))
    named = word if word in COCO_NAMES else lexicon().noun(word)
    return ARTIFACT if found == PERSON and named in COCO_NAMES and named != "person" else found


def _class_by_senses(senses: tuple[int, ...]) -> int:
    """Of the most common sense that one may see; of those among people, whoever is no kind of person is imaginary."""
    person = lexicon().senses("person")[0]  # which WordNet has among no kind of thing
    kinds = [PERSON if sense == person else lexicon().file(sense) for sense in senses]
    seen = [(place, kind) for place, kind in enumerate(kinds) if kind in SOLID]
    if not seen or seen[0][1] != PERSON:
        return seen[0][1] if seen else -1
    unreal = [
        kind == PERSON and person not in lexicon().above(sense) for sense, kind in zip(senses, kinds, strict=True)
    ]
    first = seen[0][0]
    if unreal[first] or (first > 0 and any(unreal)):  # "ghost": something imagined, a writer, a spirit
        return IMAGINARY
    return PERSON if first < AS_PEOPLE else next((kind for _, kind in seen if kind != PERSON), -1)


@lru_cache(maxsize=4096)
def fits(word: str, name: str) -> float:
    """0..1, whether a word of a prompt may mean an object of that name; "" is the name of what has none."""
    word, name = word.lower().strip(), name.lower().strip()
    if word == name and word:
        return SAME
    if word in ANYTHING:
        return SOMEHOW if name and is_being(name) else KIND
    asked, told = _senses(word), _senses(name)
    if word in ANYBODY and name and not told:
        return 0.0
    if not name or (word in COCO_NAMES and name in COCO_NAMES):  # who finds both tells them apart
        return 0.0
    if (_class(word) in BEINGS or _class(name) in BEINGS) and _class(word) != _class(name):
        return 0.0
    if is_person(word) and is_person(name):
        return _people(word, name, asked, told)
    related = _related(asked, told)
    if related:
        return related
    likeness = _trained_likeness(word, name)
    if likeness is not None:
        return KIND if likeness else 0.0
    near = float(minilm.embed([word])[0] @ minilm.embed([name])[0])
    siblings = any(lexicon().parents(a) & lexicon().parents(b) for a in asked for b in told)
    return LIKE if near >= (NEXT if siblings else NEAR) else 0.0


def _trained_likeness(word: str, name: str) -> bool | None:
    """Whether the encoder `tiny` was taught that two words name one thing; None where it does not know both."""
    half = read_text_half(WEIGHTS)
    if not all(part in half.words for text in (word, name) for part in text.split()):
        return None
    one, other = half.text.features(half.words.encode([word, name]))
    return bool(one @ other > TAUGHT * np.linalg.norm(one) * np.linalg.norm(other))


def _people(word: str, name: str, asked: tuple[int, ...], told: tuple[int, ...]) -> float:
    """Two people: whoever is not told to be a man may be a woman, and the other way round."""
    if _sex(word, asked) * _sex(name, told) < 0:
        return 0.0
    if set(asked[:1]) & set(told[:1]):
        return SAME
    return KIND if word in ANYBODY or name in ANYBODY or _related(asked, told) else SOMEHOW


def _sex(word: str, senses: tuple[int, ...]) -> int:
    """-1 female, 1 male, 0 not told."""
    if word in FEMALE or word in MALE:
        return -1 if word in FEMALE else 1
    above = set().union(*(lexicon().above(sense) for sense in senses[:2])) if senses else set()
    female, male = (_person_sense(kind) in above for kind in ("female", "male"))
    return int(male) - int(female)


@lru_cache(maxsize=8)
def _person_sense(word: str) -> int:
    return next(sense for sense in lexicon().senses(word) if lexicon().file(sense) == PERSON)


def _related(asked: tuple[int, ...], told: tuple[int, ...]) -> float:
    """Whether one is the other, or a kind of it, in any of their senses that one may see."""
    for a in asked:
        for b in told:
            if a == b and lexicon().file(a) in SOLID:
                return SAME
    for a in asked:
        for b in told:
            if lexicon().file(a) in SOLID and (a in lexicon().above(b) or b in lexicon().above(a)):
                return KIND
    return 0.0


@lru_cache(maxsize=4096)
def _senses(word: str) -> tuple[int, ...]:
    """Of a name: of all its words, or of the last one."""
    words = word.split()
    for first in range(len(words)):
        noun = lexicon().noun(" ".join(words[first:]))
        if noun is not None:
            return tuple(lexicon().senses(noun))
    return ()


@lru_cache(maxsize=4096)
def _is_place(sense: int) -> bool:
    """A room, a building, a road, or a surface, in which or on which things happen."""
    return _is_under(sense, _places())


def _is_under(sense: int, kinds: frozenset[int]) -> bool:
    return sense >= 0 and bool(lexicon().above(sense) & kinds)


_GROUNDS = ("room", "area", "way", "surface", "ground")


@lru_cache(maxsize=1)
def _grounds() -> frozenset[int]:
    """Where things move, and which nobody moves: doors and walls, which are structures, are none."""
    return _solid_senses(_GROUNDS)


@lru_cache(maxsize=1)
def _places() -> frozenset[int]:
    """Those, and what is built or lies around."""
    return _solid_senses((*_GROUNDS, "structure", "facility", "geological formation", "sky", "surroundings"))


def _solid_senses(names: tuple[str, ...]) -> frozenset[int]:
    nouns = [lexicon().senses(name) for name in names]
    return frozenset(sense for senses in nouns for sense in senses if lexicon().file(sense) in SOLID)
