"""CLIP's byte-pair tokens, as open_clip ships them, without importing open_clip (which imports torch).

The `tokenizers` library does the merging; here is what CLIP does before it, and its vocabulary's order.
"""

from __future__ import annotations

import gzip
import html
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import ftfy
import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from legs4d.errors import EncoderError, PromptError

MERGES_FILE = "bpe_simple_vocab_16e6.txt.gz"
END_OF_WORD = "</w>"
NUM_MERGES = 48_894
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What is merged within: endings, letters, single digits, the rest."""


def merges_file() -> Path:
    """The list of merges in the installed open_clip, found without running its code.

    Raises:
        EncoderError: open_clip is not installed.
    """
    spec = find_spec("open_clip")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (Path(folder) / MERGES_FILE).exists():
            return Path(folder) / MERGES_FILE
    raise EncoderError(
        "CLIP's vocabulary is not installed", where=MERGES_FILE, fix="install it with `pip install legs4d[openclip]`"
    )


@lru_cache(maxsize=2)
def clip_tokens(merges: Path, context: int) -> ClipTokens:
    """`ClipTokens`, made once: its 49,408 words take half a second."""
    return ClipTokens(merges, context)


class ClipTokens:
    """Phrases to tokens. Any script and emoji are read, as their bytes; whether the model knows them is another matter.

    Args:
        merges: `MERGES_FILE`.
        context: most tokens of a phrase, its start and end among them.
    """

    def __init__(self, merges: Path, context: int) -> None:
        self._context = context
        lines = gzip.decompress(merges.read_bytes()).decode().split("\n")[1 : NUM_MERGES + 1]
        pairs = [(first, second) for first, second in (line.split() for line in lines)]
        letters = _byte_letters()
        words = [*letters, *(letter + END_OF_WORD for letter in letters), *(first + second for first, second in pairs)]
        self.start, self.end = len(words), len(words) + 1
        model = BPE({word: i for i, word in enumerate(words)}, pairs, end_of_word_suffix=END_OF_WORD)
        self._tokenizer = Tokenizer(model)
        self._tokenizer.pre_tokenizer = Sequence(
            [Split(Regex(WORDS), "removed", invert=True), ByteLevel(add_prefix_space=False, use_regex=False)]
        )

    def __call__(self, phrases: list[str]) -> NDArray[np.int32]:
        """[P, context] int32: start, the phrase, end, zeros.

        Raises:
            PromptError: a phrase is longer than the model reads; to read half of it would answer another question.
        """
        out = np.zeros((len(phrases), self._context), np.int32)
        for row, phrase in zip(out, phrases, strict=True):
            ids = self._tokenizer.encode(_clean(phrase)).ids
            if len(ids) > self._context - 2:
                raise PromptError(
                    f"{phrase!r} has {len(ids)} word pieces, the encoder reads {self._context - 2}",
                    where="prompt",
                    fix="shorten it",
                )
            row[: len(ids) + 2] = [self.start, *ids, self.end]
        return out


def _clean(text: str) -> str:
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()


def _byte_letters() -> list[str]:
    """GPT-2's printable letter for each byte, in the order of its vocabulary: the printable ones, then the others."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
