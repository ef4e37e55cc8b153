"""Phrases to the word ids that the tiny encoder was trained with; without torch."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import PromptError
from legs4d.language.encoders.tiny.sizes import CONTEXT

WORDS_FILE = Path(__file__).with_name("words.txt")
"""The words it knows, one a line; written by scripts/training/synthetic/words/vocabulary.py."""
ARTICLES = frozenset({"a", "an", "the", "his", "her", "their", "its"})
"""Left out, with whose a hand is: "a ball" and "the ball" are one prompt."""

PAD, UNKNOWN, FIRST = 0, 1, 2
"""Ids: after a phrase's end, of a word that is not known, of the first word that is."""

_WORD = re.compile(r"[^\W_]+")


def split(phrase: str) -> list[str]:
    """Its words as they are looked up: lower case, without articles, punctuation and possessive endings."""
    plain = re.sub(r"['’]s?\b", "", phrase.lower())
    return [word for word in _WORD.findall(plain) if word not in ARTICLES]


@cache
def known_words() -> Words:
    """The committed vocabulary."""
    return Words(tuple(WORDS_FILE.read_text().split()))


class Words:
    """Words and their ids.

    Attributes:
        words: that are known, in order of their ids from `FIRST` on.
        end: the id that ends a phrase, the greatest of all.
        count: ids that there are, `PAD`, `UNKNOWN` and `end` among them.
    """

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self._ids = {word: FIRST + i for i, word in enumerate(words)}
        self.end = FIRST + len(words)
        self.count = self.end + 1

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def index(self, word: str) -> int:
        """The id of a word, `UNKNOWN` of one that is not known."""
        return self._ids.get(word, UNKNOWN)

    def encode(self, phrases: list[str]) -> NDArray[np.int32]:
        """[P, CONTEXT] int32: the words, the end, zeros.

        Raises:
            PromptError: a phrase is longer than the model reads; to read half of it would answer another question.
        """
        out = np.full((len(phrases), CONTEXT), PAD, np.int32)
        for row, phrase in zip(out, phrases, strict=True):
            ids = [self.index(word) for word in split(phrase)]
            if len(ids) > CONTEXT - 1:
                raise PromptError(
                    f"{phrase!r} has {len(ids)} words, the encoder reads {CONTEXT - 1}",
                    where="prompt",
                    fix="shorten it",
                )
            row[: len(ids) + 1] = [*ids, self.end]
        return out

    def decode(self, ids: NDArray[np.integer]) -> str:
        """The words of one phrase [L], "?" for one that is not known."""
        inside = [int(i) for i in ids if PAD < i < self.end]
        return " ".join("?" if i == UNKNOWN else self.words[i - FIRST] for i in inside)

    def unknown(self, phrase: str) -> list[str]:
        """Its words that are not known, each once, in order."""
        return list(dict.fromkeys(word for word in split(phrase) if word not in self._ids))
