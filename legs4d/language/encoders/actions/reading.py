"""What a prompt asks for: who or what, which action, and with whom or what.

There is no parser for English here, and none is needed for what people type: who it is about stands first, what comes
after the verb and before any preposition takes part, and the rest says where and how.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.language import minilm
from legs4d.language.encoders.actions.lexicon import Part, lexicon
from legs4d.language.encoders.actions.names import ANYBODY, ANYTHING, is_person, is_solid
from legs4d.language.encoders.actions.wordings import OTHERS, SENTENCES
from legs4d.priors.boxes.coco_names import COCO_NAMES

SENTENCES_FILE = Path(__file__).with_name("sentences.npz")
"""Embeddings of the sentences, written by scripts/training/actions/sentences.py."""

_A = frozenset([
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "your", "our", "some",
    "another", "each", "every", "all", "both", "one", "two", "three", "other", "first", "second",
])  # fmt: skip
_TO = frozenset([
    "in", "on", "at", "to", "from", "by", "with", "into", "onto", "off", "out", "over", "under", "above", "across",
    "along", "through", "around", "of", "for", "towards", "toward", "between", "against", "before", "after",
    "behind", "near", "past", "up", "down", "away", "while", "as", "when", "until", "that", "which", "who", "and",
    "or", "inside", "outside", "without",
])  # fmt: skip
_BE = frozenset([
    "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "having", "gets", "get", "getting",
    "got", "does", "do", "did", "not", "no", "nobody", "nothing",
])  # fmt: skip
_PRONOUNS = frozenset(
    ["he", "she", "they", "it", "someone", "somebody", "something", "anyone", "anybody", "anything", "who"]
)
_FIRST = frozenset({"", "verb", "while", "when", "as", "that"})
"""After these stands who acts, or what it is done with; after other words, where and how."""
_DONE = frozenset([
    "held", "caught", "thrown", "flung", "put", "set", "carried", "kicked", "shot", "hit", "hurled", "tossed",
    "borne", "taken", "given",
])  # fmt: skip
"""Participles that no rule makes."""

COMPLETE, LIKELY, MARGIN = 0.75, 0.5, 0.12
"""Cosines of sentences: from which a sentence means an action for sure; under which it means none; and how much less
than the nearest one another action may have, to be meant as well."""
DOUBT = 0.02
"""By how much a sentence may be nearer to something that motion knows nothing of."""

TOLD = 0.2
"""By how much an action is nearer of which WordNet knows that a word of the sentence may tell it."""

ALONE = frozenset(("fly", "fall", "rise", "still", "walk", "run", "jump"))
"""What is not done with anything."""

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


@dataclass(frozen=True)
class Reading:
    """A prompt as it is read.

    Attributes:
        subjects: nouns that it is about, any of which may be meant; empty where it names nothing.
        others: nouns of what takes part in it.
        actions: action of `wordings.SENTENCES` → 0..1, how well it is meant.
        says: whether it says that anything happens at all, or only names something.
        passive: whether that is done to whom it is about.
        words: adjectives before the subject.
        sentence: with "someone" and "something" for names.
    """

    subjects: tuple[str, ...]
    others: tuple[str, ...]
    actions: dict[str, float]
    says: bool
    passive: bool
    words: tuple[str, ...] = ()
    sentence: str = ""


@dataclass
class _Phrase:
    """A noun with what stands before it."""

    noun: str
    words: list[str]
    after: str
    """What it follows: "" at the start, "verb", or a preposition."""
    at: int
    until: int
    own: bool = False
    """Whether it is a part of what stands before it: "on its hinges"."""


@lru_cache(maxsize=1024)
def read(prompt: str) -> Reading:
    """See `Reading`."""
    words = [match for match in _WORD.finditer(prompt) if match[0].lower() != "s"]
    tokens = [match[0].lower() for match in words]
    owners = {i for i, match in enumerate(words) if prompt[match.end() : match.end() + 2].lower() in ("'s", "’s")}
    phrases = _noun_phrases(tokens)
    solid = [phrase for phrase in phrases if _counts(phrase)]
    # "somebody's door" is about the door; "the ball's in the air" has nothing else to be about
    heads = [phrase for phrase in solid if phrase.until - 1 not in owners] or solid
    subject = next((phrase for phrase in heads if phrase.after in _FIRST), heads[0] if heads else None)
    others = tuple(phrase for phrase in solid if phrase is not subject)
    if subject is not None and _names_an_action(subject, tokens):
        # "a quick throw of the ball", "the catch": what happens, and who or what with stands after it
        deed, subject = subject, next((phrase for phrase in heads if phrase is not subject), None)
        others = tuple(phrase for phrase in solid if phrase is not subject and phrase is not deed)
        actions = dict.fromkeys(sorted(lexicon().actions(deed.noun)), 1.0)
        nouns = tuple(phrase.noun for phrase in others)
        return Reading((subject.noun,) if subject else (), nouns, actions, True, False, (), deed.noun)
    sentence = _nameless(tokens, phrases)
    says = any(word not in ("someone", "something", *_A) for word in sentence.split())
    return Reading(
        (subject.noun,) if subject else (),
        tuple(phrase.noun for phrase in others),
        dict(meant(sentence, _acts_on(subject, others))) if says else {},
        says,
        _is_passive(tokens, subject, others),
        tuple(subject.words) if subject else (),
        sentence,
    )


def _names_an_action(subject: _Phrase, tokens: list[str]) -> bool:
    """Whether it is a noun that is a verb more often, of what motion knows, in a prompt without any other."""
    if Part.MOSTLY_VERB not in lexicon().part(subject.noun) or not lexicon().actions(subject.noun):
        return False
    return not _has_verb(tokens[: subject.at] + tokens[subject.until :])


def _has_verb(tokens: list[str]) -> bool:
    return any(token in _BE or _is_verb(token) for token in tokens)


def _acts_on(subject: _Phrase | None, others: tuple[_Phrase, ...]) -> bool:
    """Whether somebody does something with what follows the verb: "he takes the ball out of the air"."""
    if subject is None or not (subject.noun in _PRONOUNS - ANYTHING or is_person(subject.noun)):
        return False
    return any(phrase.after == "verb" for phrase in others)


def _counts(phrase: _Phrase) -> bool:
    """Whether it is about somebody or something that takes part."""
    noun, place = phrase.noun, _place(phrase)
    if phrase.own and place == "elsewhere":
        return False
    return noun in ANYTHING or noun in ANYBODY or noun in _PRONOUNS or is_solid(noun, place)


def _place(phrase: _Phrase) -> Literal["subject", "object", "elsewhere"]:
    if not phrase.after:
        return "subject"
    return "object" if phrase.after in _FIRST else "elsewhere"


def _is_passive(tokens: list[str], subject: _Phrase | None, others: tuple[_Phrase, ...]) -> bool:
    """Whether what is said is done to whom it is about: "a ball held in hands"."""
    if subject is None or any(phrase.after == "verb" for phrase in others):
        return False
    after = [token for token in tokens[subject.until :] if token not in _BE or token == "being"][:2]
    said = after[1] if len(after) > 1 and after[0] == "being" else (after or [""])[0]
    return said in _DONE or (said.endswith("ed") and lexicon().verb(said) != Part(0))


def _noun_phrases(tokens: list[str]) -> list[_Phrase]:
    """In order of the text."""
    found: list[_Phrase] = []
    after, at = "", 0
    while at < len(tokens):
        token = tokens[at]
        if token in _PRONOUNS:
            found.append(_Phrase(token, [], after, at, at + 1))
            after, at = "noun", at + 1
        elif token in _A:
            if token == "one" and at + 1 < len(tokens) and _is_verb(tokens[at + 1]):
                found.append(_Phrase("somebody", [], after, at, at + 1))
                after, at = "noun", at + 1
                continue
            phrase = _phrase_from(tokens, at + 1, after, at) or _unknown(tokens, at + 1, after, at)
            if phrase is not None:
                phrase.own = token == "its"
                found.append(phrase)
                after, at = "noun", phrase.until
            else:
                at += 1
        elif token in _TO:
            after, at = token, at + 1
            phrase = _phrase_from(tokens, at, after, at) if at < len(tokens) and tokens[at] not in _A else None
            if phrase is not None and tokens[at] not in _PRONOUNS:
                found.append(phrase)
                after, at = "noun", phrase.until
        elif token in _BE or (found and _is_verb(token)) or (token.endswith("ing") and lexicon().verb(token)):
            after, at = "verb", at + 1
        else:
            phrase = _phrase_from(tokens, at, after if after != "noun" else "verb", at)
            if phrase is None and not found and _has_verb(tokens[at + 1 : at + 2]):
                phrase = _unknown(tokens, at, after, at)  # "pikachu flying"
            if phrase is not None:
                found.append(phrase)
                after, at = "noun", phrase.until
            else:
                after, at = ("verb" if lexicon().verb(token) else after), at + 1
    return found


def _phrase_from(tokens: list[str], first: int, after: str, start: int) -> _Phrase | None:
    """The nouns from here on, the last of which is what is named; None where there are none."""
    for length in (2, 1):  # names that a finder of boxes gives, whatever else their words mean
        known = " ".join(tokens[first : first + length])
        if (lexicon().noun(known) or known) in COCO_NAMES and not _goes_on(tokens, first + length):
            return _Phrase(lexicon().noun(known) or known, [], after, start, first + length)
    last, words = None, []
    at = first
    while at < len(tokens):
        token = tokens[at]
        if token in _A or token in _TO or token in _BE or token in _PRONOUNS:
            break
        noun = lexicon().noun(token)
        part = lexicon().part(token)
        if last is not None and _is_verb(token) and not _joins(tokens[last], token):
            break
        if last is not None and (noun is None or Part.OTHER in part):
            break
        if last is not None and token.endswith("ing") and not _joins(tokens[last], token):
            break
        if noun is not None and Part.OTHER not in part and not (token.endswith("ing") and lexicon().verb(token)):
            last = at
        elif last is None:
            words.append(token)
        at += 1
        if at - first > 4:
            break
    if last is None:
        return None
    compound = " ".join(tokens[last - 1 : last + 1]) if last > first else ""
    noun = lexicon().noun(compound) or lexicon().noun(tokens[last])
    assert noun is not None
    words += [token for token in tokens[first:last] if token not in words and token not in noun.split()]
    return _Phrase(noun, words, after, start, last + 1)


def _unknown(tokens: list[str], first: int, after: str, start: int) -> _Phrase | None:
    """A noun that no lexicon has, where somebody or something has to stand: "a hoverboard flying"."""
    if after not in _FIRST:
        return None
    at = first
    while at < len(tokens) and not (tokens[at] in _A | _TO | _BE | _PRONOUNS or _known_word(tokens[at])):
        at += 1
    if at == first or (tokens[at - 1].endswith("ly") and at < len(tokens)):
        return None
    return _Phrase(tokens[at - 1], tokens[first : at - 1], after, start, at)


def _known_word(token: str) -> bool:
    """Whether it is a noun or a verb, in any of its forms."""
    known = lexicon()
    return known.noun(token) is not None or bool(known.verb(token) or known.part(token) or known.actions(token))


def _goes_on(tokens: list[str], at: int) -> bool:
    """Whether a noun follows, so that what stands before it only says which: "an orange ball"."""
    if at >= len(tokens) or tokens[at] in _A | _TO | _BE | _PRONOUNS or _is_verb(tokens[at]):
        return False
    return lexicon().noun(tokens[at]) is not None and Part.OTHER not in lexicon().part(tokens[at])


def _joins(one: str, other: str) -> bool:
    """Whether two words are one noun: "tennis racket"."""
    return lexicon().noun(f"{one} {other}") is not None


def _is_verb(token: str) -> bool:
    """A word that is a verb after a noun, in any of its forms."""
    verb = lexicon().verb(token)
    if not verb:
        return False
    if token.endswith("ing") or lexicon().noun(token) is None:
        return True
    return Part.MOSTLY_VERB in verb or (token.endswith("s") and not token.endswith("ss") and Part.VERB in verb)


def _nameless(tokens: list[str], phrases: list[_Phrase]) -> str:
    """With "someone" and "something" for what it names; where and how stay."""
    out, at = [], 0
    for phrase in phrases:
        out += tokens[at : phrase.at]
        if _counts(phrase):
            out.append("someone" if phrase.noun in _PRONOUNS - ANYTHING or is_person(phrase.noun) else "something")
            if not _has_verb(tokens[: phrase.at] + tokens[phrase.until :]):  # "an opening door"
                out += [word for word in phrase.words if word.endswith("ing") and lexicon().actions(word)]
        else:
            out += tokens[phrase.at : phrase.until]
        at = phrase.until
    return " ".join(out + tokens[at:])


@lru_cache(maxsize=1024)
def meant(sentence: str, acts_on: bool = False) -> tuple[tuple[str, float], ...]:
    """(action, 0..1) of what a sentence without names may mean; nothing where it means something else.

    Args:
        acts_on: whether somebody does something with a thing in it: then nobody flies or walks, whatever it says of
            the air or the floor.
    """
    names, vectors = _known()
    likeness = vectors @ minilm.embed([sentence])[0]
    words = sentence.split()
    pairs = [f"{verb} {particle}" for verb, particle in pairwise(words)]
    told = {action for word in (*words, *pairs) for action in lexicon().actions(word)}
    best: dict[str, float] = {}
    for name, value in zip(names, likeness, strict=True):
        best[name] = max(best.get(name, -1.0), float(value))
    elsewhere = best.pop("")
    if acts_on:
        best = {name: value for name, value in best.items() if name not in ALONE}
    best = {name: value + (TOLD if name in told else 0) for name, value in best.items()}
    most = max(best.values())
    if most < LIKELY or elsewhere > most + DOUBT:
        return ()
    sure = min(1.0, (most - LIKELY) / (COMPLETE - LIKELY) * 0.5 + 0.5)
    close = {name: sure * (1 - (most - value) / MARGIN) for name, value in best.items() if most - value < MARGIN}
    return tuple(sorted(close.items(), key=lambda item: -item[1]))


@cache
def _known() -> tuple[list[str], NDArray[np.float32]]:
    """(action of each sentence, "" for what motion knows nothing of; their embeddings)."""
    pairs = [(action, text) for action, texts in SENTENCES.items() for text in texts] + [("", text) for text in OTHERS]
    with np.load(SENTENCES_FILE, allow_pickle=False) as file:
        texts, vectors = file["texts"].tobytes().decode().split("\n"), file["vectors"].astype(np.float32)
    row = {text: i for i, text in enumerate(texts)}
    return [action for action, _ in pairs], vectors[[row[text] for _, text in pairs]]
