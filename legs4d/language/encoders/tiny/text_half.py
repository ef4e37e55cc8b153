"""The half of the tiny encoder that reads, from a file of weights; without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import EncoderError
from legs4d.language.encoders.clip_text import ClipText, text_shapes
from legs4d.language.encoders.tiny.sizes import CONTEXT, DIM, TEXT_HEADS, TEXT_LAYERS, TEXT_WIDTH
from legs4d.language.encoders.tiny.words import Words, known_words
from legs4d.language.encoders.weights import check_shapes

TITLE = "the tiny encoder"
PREFIX = "text."
WORDS = "words"
"""Of the file's metadata: the vocabulary, words between spaces; without it, the package's."""


@dataclass(frozen=True)
class TextHalf:
    """What reads phrases.

    Attributes:
        text: the net.
        words: what it knows.
        scale, bias: a phrase is true of a window with probability sigmoid(scale · cosine + bias).
    """

    text: ClipText
    words: Words
    scale: float
    bias: float

    @property
    def temperature(self) -> float:
        """T = √(scale² + bias²), the length of (scale, −bias)."""
        return math.hypot(self.scale, self.bias)

    @property
    def constant(self) -> float:
        """c = −bias / T: embeddings of windows are [√(1−c²)·v, c], phrases [t, 0], and the empty phrase [0, 1].

        LERF's relevancy of a phrase against the empty one is then sigmoid(T·√(1−c²)·⟨v,t⟩ − T·c), which is
        sigmoid(scale·⟨v,t⟩ + bias).
        """
        return -self.bias / self.temperature


def read_text_half(path: Path) -> TextHalf:
    """From a whole file of weights, or from what `TinyEncoder.save_text` wrote; kept while the file stays as it is.

    Raises:
        EncoderError: there is no such file, it is damaged, or it is another model's.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise EncoderError(
            f"there are no weights of the tiny encoder ({error.strerror or error})",
            where=str(path),
            fix="install legs4d anew, or name a file by --weights",
        ) from error


@lru_cache(maxsize=4)
def _read(path: Path, written: int) -> TextHalf:
    """As it was `written` at that time."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = [name for name in file.keys() if name.startswith((PREFIX, "logit_"))]  # noqa: SIM118
            found = {name: np.asarray(file.get_tensor(name), np.float32) for name in names}
            told = file.metadata() or {}
    except (SafetensorError, ValueError, TypeError) as error:
        raise EncoderError(
            f"cannot be read as weights; it may be cut short ({error})",
            where=str(path),
            fix="give a .safetensors file that `scripts/training/tiny/train.py` wrote, or install legs4d anew",
        ) from error
    words = Words(tuple(told[WORDS].split())) if WORDS in told else known_words()
    shapes = text_shapes(words.count, CONTEXT, TEXT_WIDTH, TEXT_LAYERS, DIM)
    expected = {**{PREFIX + name: shape for name, shape in shapes.items()}, "logit_scale": (), "logit_bias": ()}
    check_shapes(path, found, expected, TITLE)
    scale, bias = float(found.pop("logit_scale")), float(found.pop("logit_bias"))
    if not (scale > 0 and math.isfinite(scale) and math.isfinite(bias)):
        raise EncoderError(
            f"its logit_scale is {scale} and its logit_bias {bias}, expected a positive and a finite number",
            where=str(path),
            fix="train it anew, or leave out --weights",
        )
    text = {name.removeprefix(PREFIX): value for name, value in found.items()}
    return TextHalf(ClipText(text, TEXT_HEADS), words, scale, bias)


def write_text_half(path: Path, weights: dict[str, NDArray[np.floating]], words: Words) -> None:
    """Write what `read_text_half` needs: of `weights`, as a whole file has them, those that read; complete or not.

    Raises:
        RunError: it cannot be written.
    """
    from safetensors.numpy import save

    from legs4d.gaussians.store.files import write_file

    text = {name: np.array(v, order="C") for name, v in weights.items() if name.startswith((PREFIX, "logit_"))}
    write_file(path, save(text, metadata={WORDS: " ".join(words.words)}))
