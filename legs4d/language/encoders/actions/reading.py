"""What a prompt asks for: who or what, which action, and with whom or what.

Who it is about stands first, what comes after the verb and before any preposition takes part, and the rest says where
and how.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from legs4d.language.encoders.actions.lexicon import Part, lexicon
from legs4d.language.encoders.actions.meaning import meant
from legs4d.language.encoders.actions.names import ANYTHING, is_person
from legs4d.language.encoders.actions.phrases import (
    ARTICLES,
    AUXILIARIES,
    DONE,
    FIRST,
    PRONOUNS,
    Phrase,
    counts,
    has_verb,
    noun_phrases,
)

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


@lru_cache(maxsize=1024)
def read(prompt: str) -> Reading:
    """See `Reading`."""
    words = [match for match in _WORD.finditer(prompt) if match[0].lower() != "s"]
    tokens = [match[0].lower() for match in words]
    owners = {i for i, match in enumerate(words) if prompt[match.end() : match.end() + 2].lower() in ("'s", "’s")}
    phrases = noun_phrases(tokens)
    solid = [phrase for phrase in phrases if counts(phrase)]
    # "somebody's door" is about the door; "the ball's in the air" has nothing else to be about
    heads = [phrase for phrase in solid if phrase.until - 1 not in owners] or solid
    subject = next((phrase for phrase in heads if phrase.after in FIRST), heads[0] if heads else None)
    others = tuple(phrase for phrase in solid if phrase is not subject)
    if subject is not None and _names_an_action(subject, tokens):
        # "a quick throw of the ball", "the catch": what happens, and who or what with stands after it
        deed, subject = subject, next((phrase for phrase in heads if phrase is not subject), None)
        others = tuple(phrase for phrase in solid if phrase is not subject and phrase is not deed)
        actions = dict.fromkeys(sorted(lexicon().actions(deed.noun)), 1.0)
        nouns = tuple(phrase.noun for phrase in others)
        return Reading((subject.noun,) if subject else (), nouns, actions, True, False, (), deed.noun)
    sentence = _nameless(tokens, phrases)
    says = any(word not in ("someone", "something", *ARTICLES) for word in sentence.split())
    return Reading(
        (subject.noun,) if subject else (),
        tuple(phrase.noun for phrase in others),
        dict(meant(sentence, _acts_on(subject, others))) if says else {},
        says,
        _is_passive(tokens, subject, others),
        tuple(subject.words) if subject else (),
        sentence,
    )


def _names_an_action(subject: Phrase, tokens: list[str]) -> bool:
    """Whether it is a noun that is a verb more often, of what motion knows, in a prompt without any other."""
    if Part.MOSTLY_VERB not in lexicon().part(subject.noun) or not lexicon().actions(subject.noun):
        return False
    return not has_verb(tokens[: subject.at] + tokens[subject.until :])


def _acts_on(subject: Phrase | None, others: tuple[Phrase, ...]) -> bool:
    """Whether somebody does something with what follows the verb: "he takes the ball out of the air"."""
    if subject is None or not (subject.noun in PRONOUNS - ANYTHING or is_person(subject.noun)):
        return False
    return any(phrase.after == "verb" for phrase in others)


def _is_passive(tokens: list[str], subject: Phrase | None, others: tuple[Phrase, ...]) -> bool:
    """Whether what is said is done to whom it is about: "a ball held in hands"."""
    if subject is None or any(phrase.after == "verb" for phrase in others):
        return False
    after = [token for token in tokens[subject.until :] if token not in AUXILIARIES or token == "being"][:2]
    said = after[1] if len(after) > 1 and after[0] == "being" else (after or [""])[0]
    return said in DONE or (said.endswith("ed") and lexicon().verb(said) != Part(0))


def _nameless(tokens: list[str], phrases: list[Phrase]) -> str:
    """With "someone" and "something" for what it names; where and how stay."""
    out, at = [], 0
    for phrase in phrases:
        out += tokens[at : phrase.at]
        if counts(phrase):
            out.append("someone" if phrase.noun in PRONOUNS - ANYTHING or is_person(phrase.noun) else "something")
            if not has_verb(tokens[: phrase.at] + tokens[phrase.until :]):  # "an opening door"
                out += [word for word in phrase.words if word.endswith("ing") and lexicon().actions(word)]
        else:
            out += tokens[phrase.at : phrase.until]
        at = phrase.until
    return " ".join(out + tokens[at:])
