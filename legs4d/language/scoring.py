"""Codes in half precision against phrases: `csrc/cpu/score.cpp`, which reads the codes once, however many phrases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.language.codec import LinearCodec

BINS: int = _csrc.STRENGTH_BINS
"""Of a strength histogram; bin b holds strengths from b / BINS to (b + 1) / BINS."""


def linear_relevancy(
    codec: LinearCodec,
    codes: NDArray[np.float16],
    confidence: NDArray[np.float32],
    prompts: NDArray[np.float32],
    canonical: NDArray[np.float32],
    temperature: float,
) -> NDArray[np.float32]:
    """LERF's relevancy of each code to each prompt (see `field.lerf_relevancy`), without decoding a feature.

    Args:
        codes: [N, K] of `codec`; may be mapped from a file.
        confidence: [N]; where it is 0 the relevancy is.
        prompts, canonical: [Q, D] and [C, D] unit vectors, at least one of each.
        temperature: of the softmax.

    Returns:
        [N, Q] in 0..1, a transposed view of [Q, N].
    """
    phrases = np.concatenate([prompts, canonical])
    out = _csrc.score(
        codes.view(np.uint16),
        confidence,
        len(prompts),
        np.ascontiguousarray(np.concatenate([phrases, codec.mean[None]]) @ codec.basis.T),
        phrases @ codec.mean,
        float(codec.mean @ codec.mean),
        temperature,
        default_threads(),
    )
    return np.asarray(out).T


@dataclass(frozen=True)
class StrengthHistogram:
    """How strength is spread over the weight of Gaussians, for Q prompts; of two groups of them.

    Attributes:
        mass: [Q, ..., 2, BINS] float64, sum of weights; group 1 is what was marked, group 0 the rest.
        moment: [Q, ..., 2, BINS] float64, sum of weight · strength.
    """

    mass: NDArray[np.float64]
    moment: NDArray[np.float64]


class FrameStrengths(Protocol):
    """[T, M] float16, an array or what hands one out frame by frame."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, frame: int, /) -> NDArray[np.float16]: ...


@dataclass(frozen=True)
class Sweep:
    """What one pass over a run's codes says of Q prompts; strength is clip(2·relevancy − 1, 0, 1).

    Attributes:
        static: [Q, N] float16, strength of the Gaussians that do not move.
        dynamic: of each prompt [T, M] float16, strength of those that move.
        spread: of all Gaussians of each frame, [Q, T, 2, BINS].
    """

    static: NDArray[np.float16]
    dynamic: Sequence[FrameStrengths]
    spread: StrengthHistogram


def strength_histogram(
    relevancy: NDArray[np.float32], weight: NDArray[np.float32], group: NDArray[np.bool_]
) -> tuple[NDArray[np.float16], StrengthHistogram]:
    """Strength, clip(2·relevancy − 1, 0, 1), and how it is spread, in one pass.

    Args:
        relevancy: [N, Q] in 0..1, best as `linear_relevancy` returns it.
        weight: [N] ≥ 0.
        group: [N].

    Returns:
        [Q, N] strengths, and their histogram.
    """
    by_prompt = np.ascontiguousarray(relevancy.T, np.float32)
    histograms = np.zeros((len(by_prompt), 2, BINS, 2))
    strength = _csrc.histogram_strength(by_prompt, weight, group.view(np.uint8), histograms, default_threads())
    return np.asarray(strength).view(np.float16), StrengthHistogram(histograms[..., 0], histograms[..., 1])
