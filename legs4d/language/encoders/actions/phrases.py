"""Who and what a prompt names: nouns with what stands before them.

There is no parser for English here, and none is needed for what people type.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from legs4d.language.encoders.actions.lexicon import Part, lexicon
from legs4d.language.encoders.actions.names import ANYBODY, ANYTHING, is_solid
from legs4d.priors.boxes.coco_names import COCO_NAMES

ARTICLES = frozenset([
    "a", "an", "the", "this", "that", "these", "those", "his", "her", "their", "its", "my", "your", "our", "some",
    "another", "each", "every", "all", "both", "one", "two", "three", "other", "first", "second",
])  # fmt: skip
PREPOSITIONS = frozenset([
    "in", "on", "at", "to", "from", "by", "with", "into", "onto", "off", "out", "over", "under", "above", "across",
    "along", "through", "around", "of", "for", "towards", "toward", "between", "against", "before", "after",
    "behind", "near", "past", "up", "down", "away", "while", "as", "when", "until", "that", "which", "who", "and",
    "or", "inside", "outside", "without",
])  # fmt: skip
AUXILIARIES = frozenset([
    "is", "are", "was", "were", "be", "been", "being", "has", "have", "had", "having", "gets", "get", "getting",
    "got", "does", "do", "did", "not", "no", "nobody", "nothing", "will", "would", "can", "could", "may", "might",
    "must", "shall", "should",
])  # fmt: skip
PRONOUNS = frozenset(
    ["he", "she", "they", "it", "someone", "somebody", "something", "anyone", "anybody", "anything", "who"]
)
FIRST = frozenset({"", "verb", "while", "when", "as", "that"})
"""After these stands who acts, or what it is done with; after other words, where and how."""
DONE = frozenset([
    "held", "caught", "thrown", "flung", "put", "set", "carried", "kicked", "shot", "hit", "hurled", "tossed",
    "borne", "taken", "given",
])  # fmt: skip
"""Participles that no rule makes."""
_LITTLE = ARTICLES | PREPOSITIONS | AUXILIARIES | PRONOUNS | frozenset([
    "i", "we", "you", "me", "us", "him", "them", "there", "here", "then", "now", "if", "but", "so", "what", "where",
])  # fmt: skip


def is_little(token: str) -> bool:
    """Whether a word, in small letters, stands between those that name something or tell what happens."""
    return token in _LITTLE


def is_known(token: str) -> bool:
    """Whether a word, in small letters, is one of English: a noun, a verb in any of its forms, or another."""
    known = lexicon()
    return known.noun(token) is not None or bool(known.verb(token) or known.part(token) or known.actions(token))


@dataclass
class Phrase:
    """A noun with what stands before it."""

    noun: str
    words: list[str]
    after: str
    """What it follows: "" at the start, "verb", or a preposition."""
    at: int
    until: int
    own: bool = False
    """Whether it is a part of what stands before it: "on its hinges"."""
    named: bool = False
    """Whether it is a name of its own: "LeBron"."""


def noun_phrases(tokens: list[str], names: Collection[str] = ()) -> list[Phrase]:
    """In order of the text.

    Args:
        names: tokens that are names of their own; those before a noun only say which, or whose.
    """
    found: list[Phrase] = []
    after, at = "", 0
    while at < len(tokens):
        token = tokens[at]
        named = _named(tokens, at, after, at, names)
        if named is not None:
            found.append(named)
            after, at = "noun", named.until
        elif token in PRONOUNS:
            found.append(Phrase(token, [], after, at, at + 1))
            after, at = "noun", at + 1
        elif token in ARTICLES:
            if token == "one" and at + 1 < len(tokens) and _is_verb(tokens[at + 1]):
                found.append(Phrase("somebody", [], after, at, at + 1))
                after, at = "noun", at + 1
                continue
            phrase = _named(tokens, at + 1, after, at, names) or _phrase_from(tokens, at + 1, after, at, names)
            phrase = phrase or _unknown(tokens, at + 1, after, at)
            if phrase is not None:
                phrase.own = token == "its"
                found.append(phrase)
                after, at = "noun", phrase.until
            else:
                at += 1
        elif token in PREPOSITIONS:
            after, at = token, at + 1
            bare = at < len(tokens) and tokens[at] not in ARTICLES | PRONOUNS and tokens[at] not in names
            phrase = _phrase_from(tokens, at, after, at, names) if bare else None
            if phrase is not None:
                found.append(phrase)
                after, at = "noun", phrase.until
        elif token in AUXILIARIES or (found and _is_verb(token)) or (token.endswith("ing") and lexicon().verb(token)):
            after, at = "verb", at + 1
        else:
            phrase = None
            if not found and not is_known(token) and has_verb(tokens[at + 1 : at + 2]):
                phrase = _unknown(tokens, at, after, at)  # "pikachu flying", and not the flying of something pikachu
            phrase = phrase or _phrase_from(tokens, at, after if after != "noun" else "verb", at, names)
            if phrase is not None:
                found.append(phrase)
                after, at = "noun", phrase.until
            else:
                after, at = ("verb" if lexicon().verb(token) else after), at + 1
    return found


def _named(tokens: list[str], at: int, after: str, start: int, names: Collection[str]) -> Phrase | None:
    """A name of its own that stands here for somebody or something."""
    if at >= len(tokens) or tokens[at] not in names or _goes_on(tokens, at + 1):
        return None
    return Phrase(tokens[at], [], "verb" if after == "noun" else after, start, at + 1, named=True)


def _phrase_from(tokens: list[str], first: int, after: str, start: int, names: Collection[str]) -> Phrase | None:
    """The nouns from here on, the last of which is what is named; None where there are none."""
    for length in (2, 1):  # names that a finder of boxes gives, whatever else their words mean
        known = " ".join(tokens[first : first + length])
        known = lexicon().noun(known) or known
        if first + length <= len(tokens) and known in COCO_NAMES and not _goes_on(tokens, first + length):
            return Phrase(known, [], after, start, first + length)
    last, words = None, []
    at = first
    while at < len(tokens):
        token = tokens[at]
        if token in ARTICLES or token in PREPOSITIONS or token in AUXILIARIES or token in PRONOUNS:
            break
        if token in names and not _goes_on(tokens, at + 1):
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
    return Phrase(noun, words, after, start, last + 1)


def _unknown(tokens: list[str], first: int, after: str, start: int) -> Phrase | None:
    """A noun that no lexicon has, where somebody or something has to stand: "a hoverboard flying"."""
    if after not in FIRST:
        return None
    at = first
    while at < len(tokens) and not (
        tokens[at] in ARTICLES | PREPOSITIONS | AUXILIARIES | PRONOUNS or is_known(tokens[at])
    ):
        at += 1
    if at == first or (tokens[at - 1].endswith("ly") and at < len(tokens)):
        return None
    return Phrase(tokens[at - 1], tokens[first : at - 1], after, start, at)


def counts(phrase: Phrase) -> bool:
    """Whether it is about somebody or something that takes part."""
    noun, place = phrase.noun, _place(phrase)
    if phrase.named:
        return True
    if phrase.own and place == "elsewhere":
        return False
    return noun in ANYTHING or noun in ANYBODY or noun in PRONOUNS or is_solid(noun, place)


def _place(phrase: Phrase) -> Literal["subject", "object", "elsewhere"]:
    if not phrase.after:
        return "subject"
    return "object" if phrase.after in FIRST else "elsewhere"


def has_verb(tokens: list[str]) -> bool:
    return any(token in AUXILIARIES or _is_verb(token) for token in tokens)


def _is_verb(token: str) -> bool:
    """A word that is a verb after a noun, in any of its forms."""
    verb = lexicon().verb(token)
    if not verb:
        return False
    if token.endswith("ing") or lexicon().noun(token) is None:
        return True
    return Part.MOSTLY_VERB in verb or (token.endswith("s") and not token.endswith("ss") and Part.VERB in verb)


def _goes_on(tokens: list[str], at: int) -> bool:
    """Whether a noun follows, so that what stands before it only says which: "an orange ball"."""
    if at >= len(tokens) or tokens[at] in ARTICLES | PREPOSITIONS | AUXILIARIES | PRONOUNS or _is_verb(tokens[at]):
        return False
    return lexicon().noun(tokens[at]) is not None and Part.OTHER not in lexicon().part(tokens[at])


def _joins(one: str, other: str) -> bool:
    """Whether two words are one noun: "tennis racket"."""
    return lexicon().noun(f"{one} {other}") is not None
