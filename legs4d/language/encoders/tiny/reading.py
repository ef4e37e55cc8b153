"""How the tiny encoder reads words that it was not trained with: as the nearest one that it was, or not at all.

Near is told by the sentence encoder that comes with the package, on single words. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import PromptError
from legs4d.language import minilm
from legs4d.language.encoders.tiny.words import Words, split

NEIGHBOURS_FILE = Path(__file__).with_name("neighbours.npz")
"""Embeddings of the package's words that mean something alone; written by scripts/training/tiny/neighbours.py."""

NEAR = 0.6
"""Cosine from which a word is read as its nearest neighbour; `scripts/training/tiny/neighbours.py` prints what it lets
in."""

_FILLERS = """
is are was were be been being it its his her their he she they them we that which who this these those there
here some any one two of in on at to from by with and or as for like into onto off out over under above across
along up down through around about while then when now not no all both just only again can does do go going goes
come comes coming came has have having become becomes becoming get gets getting got take takes taking took make
makes making put puts putting give gives giving let set sets setting t see seen scene video footage clip picture
show shows showing moment side place right away back forth past mid something someone somebody anything thing
object item shape size color colored coffee dinner drinking traffic hula fir
"""
FILLERS = frozenset(_FILLERS.split())
"""Say nothing alone: a prompt of these only is refused, and no word is read as one of them."""

THINGS = ("man", "woman", "dog", "bird", "robot", "ball", "box", "door", "car", "chair", "book", "cup", "lamp", "wheel")
DOINGS = ("flying", "falling", "rolling", "spinning", "opening", "walking", "throwing", "catching", "waving")
"""Of what it knows, for the message that says what that is."""


@dataclass(frozen=True)
class Reading:
    """A phrase as it is read.

    Attributes:
        text: with known words in place of those that are near to them.
        remarks: about every word that is not known, a sentence each.
    """

    text: str
    remarks: list[str]


class Reader:
    """Reads phrases with a vocabulary.

    Args:
        words: that are known.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        self._nearest = lru_cache(maxsize=256)(self._find_nearest)  # a prompt is read for what it says and for remarks

    def read(self, phrase: str) -> Reading:
        """See `Reading`.

        Raises:
            PromptError: no word of it is known, or near to one that is.
        """
        unknown = self._words.unknown(phrase)
        nearest = {word: self._nearest(word) for word in unknown}
        read = [nearest.get(word) or word for word in split(phrase)]
        if not any(word in self._words and word not in FILLERS for word in read):
            raise self._not_understood(phrase)
        return Reading(" ".join(read), [_remark(word, known) for word, known in nearest.items()])

    def _find_nearest(self, word: str) -> str | None:
        names, vectors = _neighbours()
        known = np.array([name in self._words for name in names])
        if not known.any():
            return None
        likeness = np.where(known, vectors @ minilm.embed([word])[0], -1)
        best = int(likeness.argmax())
        return names[best] if likeness[best] >= NEAR else None

    def _not_understood(self, phrase: str) -> PromptError:
        things, doings = (", ".join(word for word in some if word in self._words) for some in (THINGS, DOINGS))
        return PromptError(
            f"the encoder `tiny` knows none of the words of {phrase!r}",
            where="prompt",
            fix=f"it knows things such as {things}, and what happens to them, such as {doings}; other words need "
            "another encoder, or captions",
        )


def _remark(word: str, known: str | None) -> str:
    if known is None:
        return f"The encoder does not know the word '{word}', and did not take it in."
    return f"The encoder does not know the word '{word}', and read it as '{known}'."


@cache
def _neighbours() -> tuple[list[str], NDArray[np.float32]]:
    """Words, and their unit vectors [W, 384]."""
    with np.load(NEIGHBOURS_FILE, allow_pickle=False) as file:
        return file["words"].tolist(), file["vectors"].astype(np.float32)
