"""The linear codec: features as a few numbers, scored against prompts without decoding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from legs4d.errors import RunError
from legs4d.language.codec import autoencoder

CODEC_NAME = "linear"

MAX_DIM = 64
"""Most numbers per code. One Gaussian and frame is then 128 bytes."""

ENERGY = 0.999
"""Share of the rows' variance that a code keeps: the cosines then move by less than about 0.03 (√0.001)."""


@dataclass(frozen=True)
class LinearCodec:
    """f = mean + Pᵀz, z = P(f − mean), with orthonormal rows of P: principal components of an encoder's rows.

    Attributes:
        mean: [D] float32.
        basis: P, [K, D] float32, orthonormal rows, K ≥ 1.
        energy: share of the rows' variance that K components explain, 0..1.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]
    energy: float

    @property
    def feature_dim(self) -> int:
        """D."""
        return len(self.mean)

    @property
    def code_dim(self) -> int:
        """K."""
        return len(self.basis)

    def encode(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes [..., K] of features [..., D]."""
        return ((features - self.mean) @ self.basis.T).astype(np.float32, copy=False)

    def decode(self, codes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Features [..., D] of codes [..., K], as near as the codes can tell."""
        return self.mean + codes.astype(np.float32) @ self.basis

    def cosines(self, codes: NDArray[np.floating], phrases: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosine between each coded feature and each phrase, never decoding a feature.

        ⟨f,p⟩ = ⟨mean,p⟩ + ⟨z,Pp⟩ and ‖f‖² = ‖mean‖² + 2⟨z,P·mean⟩ + ‖z‖².

        Args:
            codes: z, [N, K], any float type; may be half precision.
            phrases: p, [Q, D] float32 unit vectors.

        Returns:
            [N, Q] float32 in -1..1; 0 where the feature is zero.
        """
        out = np.empty((len(codes), len(phrases)), np.float32)
        # P·mean is one more phrase to multiply with, so that the codes are read once.
        directions = np.concatenate([phrases, self.mean[None]]) @ self.basis.T
        offset = phrases @ self.mean
        mean_square = float(self.mean @ self.mean)
        for start in range(0, len(codes), _CHUNK):
            chunk = codes[start : start + _CHUNK].astype(np.float32)
            products = chunk @ directions.T
            square = mean_square + 2 * products[:, -1] + np.einsum("nk,nk->n", chunk, chunk)
            norm = np.sqrt(np.maximum(square, _TINY))
            np.divide(products[:, :-1] + offset, norm[:, None], out=out[start : start + _CHUNK])
        return np.clip(out, -1, 1, out=out)

    def to_arrays(self) -> tuple[dict[str, NDArray], dict]:
        """What `from_arrays` reads: arrays and JSON attributes, the codec's `name` among them."""
        return {"mean": self.mean, "basis": self.basis}, {"name": CODEC_NAME, "energy": self.energy}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray], attributes: dict) -> LinearCodec:
        """The codec that `Run.codec` returned.

        Raises:
            RunError: it is another kind of codec.
        """
        if attributes.get("name") != CODEC_NAME:
            raise RunError(
                f"the language codec is {attributes.get('name')!r}, but only {CODEC_NAME!r} is understood",
                where="codec",
                fix="lift again with `legs4d lift`",
            )
        return cls(np.asarray(arrays["mean"]), np.asarray(arrays["basis"]), float(attributes["energy"]))


class Codec(Protocol):
    """Features [..., D] as codes [..., K]; see `LinearCodec` and `autoencoder.AutoencoderCodec`."""

    @property
    def feature_dim(self) -> int: ...

    @property
    def code_dim(self) -> int: ...

    def encode(self, features: NDArray[np.float32]) -> NDArray[np.float32]: ...

    def decode(self, codes: NDArray[np.floating]) -> NDArray[np.float32]: ...

    def cosines(self, codes: NDArray[np.floating], phrases: NDArray[np.float32]) -> NDArray[np.float32]: ...

    def to_arrays(self) -> tuple[dict[str, NDArray], dict]: ...


def codec_from_arrays(arrays: dict[str, NDArray], attributes: dict) -> Codec:
    """The codec that `Run.codec` returned, of whatever kind.

    Raises:
        RunError: of a kind that is not known.
    """
    if attributes.get("name") == autoencoder.CODEC_NAME:
        return autoencoder.AutoencoderCodec.from_arrays(arrays, attributes)
    return LinearCodec.from_arrays(arrays, attributes)


_CHUNK = 1 << 16
"""Codes turned to float32 at once: numpy has no fast product in half precision, and 64 wide this is 16 MB."""

_TINY = 1e-12

_ROUNDING = 1e-6
"""Share of the energy that rows in float32 may seem to have beyond their true components."""


def fit_linear_codec(
    rows: Iterable[NDArray[np.float32]], energy: float = ENERGY, max_dim: int = MAX_DIM
) -> LinearCodec:
    """Principal components of all the rows [R, D] given, in one pass over them.

    Args:
        rows: at least one array with at least one row; consumed once, so a generator over frames will do.
        energy: share of the variance to keep, 0..1.
        max_dim: most components.
    """
    count, total, moment = 0, np.zeros(()), np.zeros(())
    for some in rows:
        exact = some.astype(np.float64)
        count, total, moment = count + len(exact), total + exact.sum(axis=0), moment + exact.T @ exact
    mean = total / count
    # On several threads a matrix this small takes many times as long when another program runs.
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        variances, vectors = np.linalg.eigh(moment / count - np.outer(mean, mean))
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1].T
    kept = _components(variances, energy, max_dim)
    all_variance = variances.sum()
    explained = float(variances[:kept].sum() / all_variance) if all_variance > _TINY else 1.0
    return LinearCodec(mean.astype(np.float32), vectors[:kept].astype(np.float32), explained)


def _components(variances: NDArray[np.float64], energy: float, max_dim: int) -> int:
    """How many of these, largest first, make up this share of their sum; at least 1."""
    total = variances.sum()
    if total <= _TINY:
        return 1  # all rows are the same; an array without columns would only be a special case for its readers
    share = np.cumsum(variances) / total
    return min(int(np.searchsorted(share, energy - _ROUNDING)) + 1, max_dim, len(variances))
