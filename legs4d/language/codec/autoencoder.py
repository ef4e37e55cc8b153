"""The paper's codec: a small autoencoder per sequence, 768 numbers to 128 and back (4-LEGS, section 3.2).

Kept as plain matrices: in its evaluation form batch normalisation is one more affine map, folded into the layer before
it, so that neither reading a run nor asking it needs torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import EncoderError
from legs4d.gaussians.formats.tensors import UnreadableTensorsError, load_tensors

CODEC_NAME = "autoencoder"

BATCH_NORM_EPS = 1e-5
"""PyTorch's, which the checkpoint does not hold."""

_CHUNK = 1 << 13
"""Codes decoded at once: 512 hidden numbers each are 16 MB."""

_TINY = 1e-12

Layers = tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
"""(weight [out, in], bias [out]) of each layer; between two of them negative values become 0."""


@dataclass(frozen=True)
class AutoencoderCodec:
    """z = e(f) / ‖e(f)‖ and f ≈ d(z), with e and d small networks; the length of d(z) means nothing.

    Attributes:
        encoder: from D numbers to K.
        decoder: from K numbers to D.
    """

    encoder: Layers
    decoder: Layers

    @property
    def feature_dim(self) -> int:
        """D."""
        return len(self.decoder[-1][1])

    @property
    def code_dim(self) -> int:
        """K."""
        return self.decoder[0][0].shape[1]

    def encode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes [..., K], unit vectors, of features [..., D]."""
        return _unit(_apply(self.encoder, features))

    def decode(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features [..., D], unit vectors, of codes [..., K]."""
        return _unit(_apply(self.decoder, codes.astype(np.float32)))

    def cosines(self, codes: NDArray[np.floating], phrases: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine between each decoded feature and each phrase.

        The last layer f = W h + b, which is the widest, is left out: ⟨f,p⟩ = ⟨h,Wᵀp⟩ + ⟨b,p⟩ and
        ‖f‖² = hᵀWᵀW h + 2⟨h,Wᵀb⟩ + ‖b‖².

        Args:
            codes: z, [N, K], any float type.
            phrases: p, [Q, D] float32 unit vectors.

        Returns:
            [N, Q] float32 in -1..1; 0 where the feature is zero.
        """
        *hidden, (weight, bias) = self.decoder
        gram, toward, offset = weight.T @ weight, weight.T @ phrases.T, phrases @ bias
        cross, square = weight.T @ bias, float(bias @ bias)
        out = np.empty((len(codes), len(phrases)), np.float32)
        for start in range(0, len(codes), _CHUNK):
            h = np.maximum(_apply(tuple(hidden), codes[start : start + _CHUNK].astype(np.float32)), 0)
            length = np.sqrt(np.maximum(np.einsum("nk,nk->n", h @ gram, h) + 2 * h @ cross + square, _TINY))
            np.divide(h @ toward + offset, length[:, None], out=out[start : start + _CHUNK])
        return np.clip(out, -1, 1, out=out)

    def to_arrays(self) -> tuple[dict[str, NDArray], dict]:
        """What `from_arrays` reads: arrays and JSON attributes, the codec's `name` among them."""
        arrays = {
            f"{half}_{kind}_{i}": values
            for half, layers in (("encoder", self.encoder), ("decoder", self.decoder))
            for i, layer in enumerate(layers)
            for kind, values in zip(("weight", "bias"), layer, strict=True)
        }
        return arrays, {"name": CODEC_NAME, "layers": [len(self.encoder), len(self.decoder)]}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray], attributes: dict) -> AutoencoderCodec:
        """The codec that `Run.codec` returned, of this name."""
        encoder, decoder = (
            tuple(
                (np.asarray(arrays[f"{half}_weight_{i}"]), np.asarray(arrays[f"{half}_bias_{i}"])) for i in range(count)
            )
            for half, count in zip(("encoder", "decoder"), attributes["layers"], strict=True)
        )
        return cls(encoder, decoder)


def read_autoencoder(path: Path) -> AutoencoderCodec:
    """Read the checkpoint that 4-LEGS trains: a state dict of `encoder.<i>.*` and `decoder.<i>.*`.

    Linear layers with batch normalisation after all but the last of each half; torch is imported to read it.

    Raises:
        EncoderError: it is missing, truncated, holds anything but tensors (nothing in it is executed), or is no
            autoencoder.
    """
    try:
        return autoencoder_of(_load(path))
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise _no_autoencoder(path, str(error)) from error


def autoencoder_of(state: dict[str, Any]) -> AutoencoderCodec:
    """The codec of a state dict of torch tensors; see `read_autoencoder`. ValueError and the like if it is none."""
    encoder, decoder = (_layers(state, half) for half in ("encoder", "decoder"))
    widths = [layers[-1][0].shape[0] for layers in (encoder, decoder)]
    if (decoder[0][0].shape[1], encoder[0][0].shape[1]) != tuple(widths):
        raise ValueError("its halves do not fit together")
    if not all(np.isfinite(values).all() for layer in (*encoder, *decoder) for values in layer):
        raise ValueError("a number in it is not finite")
    return AutoencoderCodec(encoder, decoder)


def _load(path: Path) -> dict[str, Any]:
    try:
        state = load_tensors(path)
    except FileNotFoundError as error:
        raise EncoderError("is missing", where=str(path), fix="give 4-LEGS's best_ckpt.pth") from error
    except (UnreadableTensorsError, OSError) as error:
        raise _no_autoencoder(path, f"it is damaged or holds more than tensors: {error}") from error
    if not isinstance(state, dict):
        raise _no_autoencoder(path, f"it holds a {type(state).__name__}")
    return state


def _layers(state: dict[str, Any], half: str) -> Layers:
    """The linear layers of one half in order, each with the batch normalisation that follows it."""
    numbers = sorted({int(m[1]) for key in state if (m := re.fullmatch(rf"{half}\.(\d+)\.weight", key))})
    layers: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for number in numbers:
        values = {
            key.removeprefix(f"{half}.{number}."): value.numpy().astype(np.float64)
            for key, value in state.items()
            if key.startswith(f"{half}.{number}.")
        }
        if "running_mean" in values:
            if not layers or layers[-1][1].shape != values["weight"].shape:
                raise ValueError(f"layers of its {half} do not fit together")
            weight, bias = layers.pop()
            gain = values["weight"] / np.sqrt(values["running_var"] + BATCH_NORM_EPS)
            layers.append((gain[:, None] * weight, gain * (bias - values["running_mean"]) + values["bias"]))
        else:
            layers.append((values["weight"], values["bias"]))
    if not layers:
        raise ValueError(f"it has no {half}")
    for (weight, bias), after in zip(layers, [weight for weight, _ in layers[1:]] + [None], strict=True):
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or (after is not None and after.shape[1] != len(bias)):
            raise ValueError(f"layers of its {half} do not fit together")
    return tuple((weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers)


def _no_autoencoder(path: Path, why: str) -> EncoderError:
    return EncoderError(
        f"is no autoencoder of 4-LEGS ({why})", where=str(path), fix="give the best_ckpt.pth that 4-LEGS wrote"
    )


def _apply(layers: Layers, values: NDArray[np.float32]) -> NDArray[np.float32]:
    for i, (weight, bias) in enumerate(layers):
        values = (np.maximum(values, 0) if i else values) @ weight.T + bias
    return values


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)
