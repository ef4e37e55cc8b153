"""What an encoder says about a set of images, without ever making a per-pixel map of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.sequence import Sequence


@dataclass(frozen=True)
class FeatureMap:
    """Per-pixel features F = B G of C images, with B sparse and its rows summing to 1 (CONTRACTS, "Features").

    Attributes:
        rows: G, [R, D] float32, unit vectors; shared by the C images.
        index: [C, H, W, K] int32, the rows of G that each pixel mixes; -1 where unused (weight 0).
        weight: [C, H, W, K] float32, non-negative. A pixel whose weights are all 0 says nothing.
    """

    rows: NDArray[np.float32]
    index: NDArray[np.int32]
    weight: NDArray[np.float32]


@dataclass(frozen=True)
class Calibration:
    """How an encoder's cosines become relevancy, and relevancy a yes or no.

    Strength is relevancy as 4-LEGS shows it, clip(2·relevancy − 1, 0, 1): 0 where a canonical phrase fits as well as
    the prompt. A prompt's curve over time runs from its lowest to its highest strength; `enter` and `leave` are shares
    of that range.

    Attributes:
        temperature: of LERF's softmax.
        canonical: LERF's canonical phrases.
        floor: strength that a prompt has to reach somewhere, or it does not happen at all.
        contrast: a curve whose range is less than this share of its peak is flat: what it names holds throughout.
        enter, leave: an interval has a frame above `enter`, and goes on while the curve stays above `leave`.
        name: what a prompt merely names ("the ball") is there while the curve stays above this share of its peak: what
            happens to it meanwhile moves the curve, but is not asked for.
        belongs: Gaussians whose strength is above this share of the curve's lower threshold take part. The curve is
            that of the Gaussians that fit best; those at outlines say something of what lies behind them too.
    """

    temperature: float
    canonical: tuple[str, ...]
    floor: float
    contrast: float
    enter: float
    leave: float
    name: float
    belongs: float


class Encoder(Protocol):
    """Embeds footage and phrases in one space. Adding one is one file in `encoders/`."""

    name: str
    dim: int
    version: int
    """Raise it when the same input gives other embeddings, so that old runs are lifted anew."""
    calibration: Calibration

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, dim] float32 unit vectors."""
        ...

    def feature_map(self, sequence: Sequence, frame: int) -> FeatureMap:
        """Features of the training views around `frame`."""
        ...

    def sample_rows(self, sequence: Sequence) -> Iterable[NDArray[np.float32]]:
        """Rows [R, dim] from over the whole sequence, for a codec to be fitted on."""
        ...
