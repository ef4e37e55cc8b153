"""Which words of a prompt are names of their own: "LeBron throws a ball" is about nobody else.

No list has all names. How a word is written tells: a capital inside a sentence, or a capital at its beginning where no
noun can stand that is in the lexicon.
"""

from __future__ import annotations

from legs4d.language.encoders.actions.lexicon import PERSON, Part, lexicon
from legs4d.language.encoders.actions.names import ANYBODY, ANYTHING, is_solid
from legs4d.language.encoders.actions.phrases import is_known, is_little

LONG = 4
"""Letters from which a word has a capital in a title, where capitals say nothing."""


def join_names(words: list[str]) -> tuple[list[str], dict[str, str], list[int]]:
    """Words of a prompt in small letters, a name of several words as one.

    Args:
        words: as they are written.

    Returns:
        (tokens, those of them that are names → as they are written, the last word of each token).
    """
    tokens = [word.lower() for word in words]
    is_name = _names(words, tokens)
    joined: list[tuple[str, bool, int]] = []
    for at, word in enumerate(words):
        if is_name[at] and at and is_name[at - 1]:
            joined[-1] = (f"{joined[-1][0]} {word}", True, at)
        else:
            joined.append((word, is_name[at], at))
    names = {written.lower(): written for written, named, _ in joined if named}
    return [written.lower() for written, *_ in joined], names, [last for *_, last in joined]


def means(name: str, called: str) -> bool:
    """Whether a name of a prompt may mean what is called so: one has all the words of the other."""
    asked, told = set(name.lower().split()), set(called.lower().split())
    return bool(told) and (asked <= told or told <= asked)


def _whole(words: list[str]) -> bool:
    """Whether capitals tell nothing, as all long words have one, or all letters are."""
    long = [word for word in words if len(word) >= LONG and not is_little(word.lower())]
    shouted = all(word.isupper() for word in words)
    return shouted or (len(long) > 1 and all(word[0].isupper() and word[1:].islower() for word in long))


def _names(words: list[str], tokens: list[str]) -> list[bool]:
    """Which of the words are names, or parts of one."""
    whole = _whole(words)
    found = [False] * len(words)
    for at in reversed(range(len(words))):
        word, token = words[at], tokens[at]
        if is_little(token) or len(word) < 2 or not word[0].isupper():
            continue
        if word[1:] != word[1:].lower() and not word.isupper():  # "LeBron"
            found[at] = True
        elif whole:
            beside = found[at + 1 : at + 2] == [True] or (at > 0 and not is_known(tokens[at - 1]))
            found[at] = not is_known(token) or (beside and not _acts(token))
        elif at:
            found[at] = True
        else:  # "Michael Jordan", "Mark throws"
            acts = at + 1 < len(tokens) and _acts(tokens[at + 1]) and not _common(token)
            found[at] = acts or not is_known(token) or found[1:2] == [True]
    return found


def _acts(token: str) -> bool:
    """Whether a word may tell what somebody does, or "is"."""
    return bool(lexicon().verb(token)) or is_little(token)


def _common(token: str) -> bool:
    """Whether a noun may begin a sentence without an article, as in "Man throws ball"."""
    if token in ANYBODY or token in ANYTHING or Part.OTHER in lexicon().part(token):
        return True
    if token.endswith("ing") and lexicon().verb(token):
        return True
    noun = lexicon().noun(token)
    senses = lexicon().senses(noun) if noun else []
    if not senses or not is_solid(token, "subject"):
        return False
    # "jack" is a man as well, but not first of all
    return lexicon().file(senses[0]) == PERSON or all(lexicon().file(sense) != PERSON for sense in senses[:3])
