"""Codes in half precision against phrases: `csrc/cpu/score.cpp`, which reads the codes once, however many phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.language.codec.linear import LinearCodec

BINS: int = _csrc.STRENGTH_BINS
"""Of a strength histogram; bin b holds strengths from b / BINS to (b + 1) / BINS."""


@dataclass(frozen=True)
class LinearQuery:
    """Prompts and canonical phrases, ready to be compared with codes of a linear codec without decoding a feature.

    Attributes:
        prompts: Q, how many.
        directions: [Q + C + 1, K], P p of each phrase, the prompts first, then P · mean; see `codec.LinearCodec`.
        offsets: [Q + C], ⟨mean, p⟩.
        mean_square: ‖mean‖².
        temperature: of LERF's softmax.
    """

    prompts: int
    directions: NDArray[np.float32]
    offsets: NDArray[np.float32]
    mean_square: float
    temperature: float

    @classmethod
    def of(
        cls, codec: LinearCodec, prompts: NDArray[np.float32], canonical: NDArray[np.float32], temperature: float
    ) -> LinearQuery:
        """Of [Q, D] and [C, D] unit vectors, at least one of each."""
        phrases = np.concatenate([prompts, canonical])
        directions = np.ascontiguousarray(np.concatenate([phrases, codec.mean[None]]) @ codec.basis.T)
        return cls(len(prompts), directions, phrases @ codec.mean, float(codec.mean @ codec.mean), temperature)

    def relevancy(self, codes: NDArray[np.float16], confidence: NDArray[np.float32]) -> NDArray[np.float32]:
        """LERF's (see `field.lerf_relevancy`) of each code to each prompt.

        Args:
            codes: [N, K]; may be mapped from a file.
            confidence: [N]; where it is 0 the relevancy is.

        Returns:
            [N, Q] in 0..1, a transposed view of [Q, N].
        """
        out = _csrc.score(codes.view(np.uint16), confidence, self.prompts, *self._numbers, default_threads())
        return np.asarray(out).T

    def spread(
        self,
        codes: NDArray[np.float16],
        confidence: NDArray[np.float32],
        group: NDArray[np.bool_],
        spread: NDArray[np.float64],
    ) -> None:
        """How strength, clip(2·relevancy − 1, 0, 1), is spread over the confidence.

        Args:
            codes, confidence: as of `relevancy`.
            group: [N].
            spread: [Q, 2, BINS, 2], added to: of group 0 and 1, of each bin the sums of weight and weight · strength.
        """
        _csrc.spread(codes.view(np.uint16), confidence, group.view(np.uint8), *self._numbers, spread, default_threads())

    @property
    def _numbers(self) -> tuple[NDArray[np.float32], NDArray[np.float32], float, float]:
        return self.directions, self.offsets, self.mean_square, self.temperature


class FrameStrengths(Protocol):
    """Of T frames strengths of what is not static, [M + the frame's loose ones], handed out frame by frame; float16
    where codes are scored."""

    def __getitem__(self, frame: int, /) -> NDArray[np.floating]: ...


@dataclass(frozen=True)
class Sweep:
    """What one pass over a run's codes says of Q prompts; strength is clip(2·relevancy − 1, 0, 1).

    Attributes:
        static: [Q, N] float16, strength of the Gaussians that do not move.
        moving: of each prompt and frame the strengths of those that are not static.
        curves: [Q, T, 2] float32, of each frame and group what `mean_of_most_relevant` says.
    """

    static: NDArray[np.float16]
    moving: Sequence[FrameStrengths]
    curves: NDArray[np.float32]


def strength_of(relevancy: NDArray[np.float32]) -> NDArray[np.float16]:
    """[Q, N] strengths of relevancy [N, Q]."""
    return np.clip(2 * relevancy.T - 1, 0, 1).astype(np.float16)


def spread_of(
    strength: NDArray[np.floating], weight: NDArray[np.float32], group: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """[Q, 2, BINS, 2], as `LinearQuery.spread` has it, of strengths [Q, N] that were found in another way."""
    spread = np.empty((len(strength), 2, BINS, 2))
    for of_prompt, values in zip(spread, strength, strict=True):
        bins = np.minimum((values * BINS).astype(np.int64), BINS - 1) + BINS * group
        for which, weights in enumerate((weight, weight * values)):
            of_prompt[..., which] = np.bincount(bins, weights, 2 * BINS).reshape(2, BINS)
    return spread


def mean_of_most_relevant(
    spread: NDArray[np.float64], shares: NDArray[np.floating] | Sequence[float] | float
) -> NDArray[np.float32]:
    """Mean strength of the most relevant Gaussians that make up a share of the weight.

    Args:
        spread: [..., BINS, 2], of each bin the sums of weight and of weight · strength.
        shares: 0..1 of the sum of weights; broadcast to [...].

    Returns:
        [...] in 0..1, as exact as the bins are narrow; 0 where nothing has weight.
    """
    mass, moment = spread[..., ::-1, 0], spread[..., ::-1, 1]
    above = np.cumsum(mass, axis=-1)
    wanted = np.asarray(shares)[..., None] * above[..., -1:]
    taken = np.clip(wanted - (above - mass), 0, mass)
    mean = np.divide(moment, mass, out=np.zeros(mass.shape), where=mass > 0)
    total = taken.sum(axis=-1)
    return np.divide((taken * mean).sum(axis=-1), total, out=np.zeros(total.shape), where=total > 0).astype(np.float32)
