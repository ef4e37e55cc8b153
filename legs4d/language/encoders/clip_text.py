"""The half of CLIP-like models that reads, without torch: phrases to embeddings (Radford et al. 2021, section 2.4).

A query has two seconds and importing torch takes five, so the forward pass is numpy's, as in `language.minilm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_EPSILON = 1e-5


@dataclass(frozen=True)
class ClipText:
    """A causal transformer whose last token speaks for the phrase.

    Attributes:
        weights: by their published names, without "text_encoder."; any float type, converted as they are used.
        heads: of attention.
    """

    weights: Mapping[str, NDArray[Any]]
    heads: int

    def features(self, tokens: NDArray[np.integer]) -> Array:
        """Embeddings before normalisation.

        Args:
            tokens: [P, L] ids; the greatest id of a phrase is its end, and what follows is ignored.

        Returns:
            [P, dim] float32.
        """
        ends = tokens.argmax(axis=1)
        tokens = tokens[:, : ends.max() + 1]
        words = np.asarray(self.weights["token_embedding.weight"][tokens.ravel()], np.float32)
        x = words.reshape(*tokens.shape, -1) + self._get("positional_embedding")[: tokens.shape[1]]
        for layer in range(self.layers):
            x = self._block(x, f"transformer.resblocks.{layer}.")
        last = self._norm(x[np.arange(len(x)), ends], "ln_final")
        return last @ self._get("text_projection")

    @property
    def layers(self) -> int:
        return 1 + max(int(name.split(".")[2]) for name in self.weights if name.startswith("transformer."))

    def _get(self, name: str) -> Array:
        return np.asarray(self.weights[name], np.float32)

    def _block(self, x: Array, prefix: str) -> Array:
        x = x + self._attention(self._norm(x, prefix + "ln_1"), prefix + "attn.")
        inner = self._linear(self._norm(x, prefix + "ln_2"), prefix + "mlp.c_fc.weight", prefix + "mlp.c_fc.bias")
        inner = inner / (1 + np.exp(-1.702 * inner))  # QuickGELU
        return x + self._linear(inner, prefix + "mlp.c_proj.weight", prefix + "mlp.c_proj.bias")

    def _attention(self, x: Array, prefix: str) -> Array:
        phrases, length, width = x.shape
        qkv = self._linear(x, prefix + "in_proj_weight", prefix + "in_proj_bias")
        q, k, v = qkv.reshape(phrases, length, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)
        logits = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(width / self.heads))
        logits[..., np.triu(np.ones((length, length), bool), 1)] = -np.inf
        share = np.exp(logits - logits.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        mixed = (share @ v).swapaxes(1, 2).reshape(phrases, length, width)
        return self._linear(mixed, prefix + "out_proj.weight", prefix + "out_proj.bias")

    def _linear(self, x: Array, weight: str, bias: str) -> Array:
        # As one product of all rows: numpy would read the weights once for every phrase.
        return (x.reshape(-1, x.shape[-1]) @ self._get(weight).T + self._get(bias)).reshape(*x.shape[:-1], -1)

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(_EPSILON))
        return centred / deviation * self._get(name + ".weight") + self._get(name + ".bias")


def text_shapes(vocabulary: int, context: int, width: int, layers: int, dim: int) -> dict[str, tuple[int, ...]]:
    """Shape of every weight of a `ClipText`, by its name."""
    return {
        "positional_embedding": (context, width),
        "text_projection": (width, dim),
        "token_embedding.weight": (vocabulary, width),
        **norm_shapes("ln_final", width),
        **block_shapes(layers, width),
    }


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Of a layer norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def block_shapes(layers: int, width: int) -> dict[str, tuple[int, ...]]:
    """Of CLIP's residual attention blocks, which its pictures' half has too."""
    block = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        **norm_shapes("ln_1", width),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
        **norm_shapes("ln_2", width),
    }
    return {f"transformer.resblocks.{i}.{name}": shape for i in range(layers) for name, shape in block.items()}
