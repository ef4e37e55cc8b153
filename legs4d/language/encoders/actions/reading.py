"""What a prompt asks for: who or what, which action, and with whom or what.

Who it is about stands first, what comes after the verb and before any preposition takes part, and the rest says where
and how.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from legs4d.language.encoders.actions.lexicon import ACT, Part, lexicon
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
from legs4d.language.encoders.actions.proper_names import join_names

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_NOT = re.compile(r"(?:\b(wo|ca)|(?<=[a-z]))n['’]t\b", re.IGNORECASE)

SAID = 0.9
"""How well adjectives alone have to mean an action."""
WHICH = frozenset(("in", "of", "from"))
"""Between names they say which one is meant: "a man in a blue shirt"."""
CAUSED = frozenset(("open", "close", "spin", "roll", "slide", "topple", "bounce", "shake"))
"""What a thing does where somebody is said to do it to a thing: "he opens the door"."""


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
        names: which of the subjects and others are names of their own → as they are written.
        whose: names that only say which thing, or whose: "Anna's ball".
    """

    subjects: tuple[str, ...]
    others: tuple[str, ...]
    actions: dict[str, float]
    says: bool
    passive: bool
    words: tuple[str, ...] = ()
    sentence: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    whose: tuple[str, ...] = ()


@lru_cache(maxsize=1024)
def read(prompt: str) -> Reading:
    """See `Reading`."""
    prompt = _NOT.sub(_spelled_out, prompt)
    words = [match for match in _WORD.finditer(prompt) if match[0].lower() != "s"]
    owners = {i for i, match in enumerate(words) if prompt[match.end() : match.end() + 2].lower() in ("'s", "’s")}
    tokens, names, last = join_names([match[0] for match in words])
    phrases = noun_phrases(tokens, names)
    solid = [phrase for phrase in phrases if counts(phrase)]
    # "somebody's door" is about the door; "the ball's in the air" has nothing else to be about
    heads = [phrase for phrase in solid if last[phrase.until - 1] not in owners] or solid
    subject = next((phrase for phrase in heads if phrase.after in FIRST), heads[0] if heads else None)
    others = tuple(phrase for phrase in solid if phrase is not subject)
    whose = tuple(names[token] for token in tokens if token in names and token not in {p.noun for p in solid})
    if subject is not None and _names_an_action(subject, tokens):
        # "a quick throw of the ball", "the catch": what happens, and who or what with stands after it
        deed = subject
        left = [*(phrase for phrase in heads if phrase is not deed), *(phrase for phrase in solid if phrase.named)]
        subject = left[0] if left else None
        others = tuple(phrase for phrase in solid if phrase is not subject and phrase is not deed)
        actions = dict.fromkeys(sorted(lexicon().actions(deed.noun)), 1.0)
        return _told(subject, others, names, actions, True, False, deed.noun, whose)
    if subject is not None and _stands_for_a_thing(subject, tokens):
        subject.noun = "something"
    sentence = _nameless(tokens, phrases)
    says = any(word not in ("someone", "something", *ARTICLES, *WHICH) for word in sentence.split())
    acts_on = _acts_on(subject, others)
    actions = dict(meant(sentence, acts_on)) if says else {}
    if subject is not None and not says and subject.words:
        # "an airborne ball" says by an adjective what happens; "a red ball" says nothing
        told = meant(f"{'someone' if _is_somebody(subject) else 'something'} is {' '.join(subject.words)}")
        actions = {action: well for action, well in told if well >= SAID}
        says = bool(actions)
    passive = _is_passive(tokens, subject, others)
    if acts_on and actions and max(actions, key=lambda action: actions[action]) in CAUSED:
        done_to = next(phrase for phrase in others if phrase.after == "verb")
        others = tuple(phrase for phrase in solid if phrase is not done_to)
        subject = done_to
    return _told(subject, others, names, actions, says, passive, sentence, whose)


def _told(
    subject: Phrase | None,
    others: tuple[Phrase, ...],
    names: Mapping[str, str],
    actions: dict[str, float],
    says: bool,
    passive: bool,
    sentence: str,
    whose: tuple[str, ...],
) -> Reading:
    phrases = (*((subject,) if subject else ()), *others)
    return Reading(
        (subject.noun,) if subject else (),
        tuple(phrase.noun for phrase in others),
        actions,
        says,
        passive,
        tuple(subject.words) if subject else (),
        sentence,
        {phrase.noun: names[phrase.noun] for phrase in phrases if phrase.named},
        whose,
    )


def _spelled_out(found: re.Match[str]) -> str:
    """Of "n't"."""
    return {"wo": "will not", "ca": "can not"}.get((found[1] or "").lower(), " not")


def _stands_for_a_thing(subject: Phrase, tokens: list[str]) -> bool:
    """Whether it names what is done, in place of what it is done to: "the pass flies"."""
    senses = lexicon().senses(subject.noun)
    done = bool(senses) and lexicon().file(senses[0]) == ACT and Part.MOSTLY_VERB in lexicon().part(subject.noun)
    return done and has_verb(tokens[: subject.at] + tokens[subject.until :])


def _names_an_action(subject: Phrase, tokens: list[str]) -> bool:
    """Whether it is a noun that is a verb more often, of what motion knows, in a prompt without any other."""
    if Part.MOSTLY_VERB not in lexicon().part(subject.noun) or not lexicon().actions(subject.noun):
        return False
    return not has_verb(tokens[: subject.at] + tokens[subject.until :])


def _acts_on(subject: Phrase | None, others: tuple[Phrase, ...]) -> bool:
    """Whether somebody does something with what follows the verb: "he takes the ball out of the air"."""
    if subject is None or not _is_somebody(subject):
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
            out.append("someone" if _is_somebody(phrase) else "something")
            if not has_verb(tokens[: phrase.at] + tokens[phrase.until :]):  # "an opening door"
                out += [word for word in phrase.words if word.endswith("ing") and lexicon().actions(word)]
        else:
            out += tokens[phrase.at : phrase.until]
        at = phrase.until
    return " ".join(out + tokens[at:])


def _is_somebody(phrase: Phrase) -> bool:
    return phrase.named or phrase.noun in PRONOUNS - ANYTHING or is_person(phrase.noun)
