"""What an encoder says about a set of images, without ever making a per-pixel map of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.sequence import Sequence

if TYPE_CHECKING:
    import torch

    from legs4d.context import EncoderFiles
    from legs4d.gaussians.store.run import Run


@dataclass(frozen=True)
class FeatureMap:
    """Per-pixel features F = B G of C images, with B sparse and its rows summing to 1 (docs/conventions.md).

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


class TextEncoder(Protocol):
    """Embeds phrases in the space of the footage. Making one is quick: what is large is read when it is used."""

    name: str
    """As given to `get_encoder`."""

    @property
    def version(self) -> int:
        """Raise it when the same input gives other embeddings, so that old runs are lifted anew."""
        ...

    @property
    def calibration(self) -> Calibration:
        """What its cosines mean. Raises EncoderError where that is told by weights which are not there, or damaged."""
        ...

    @property
    def dim(self) -> int:
        """Numbers of an embedding."""
        ...

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        """[P, dim] float32 unit vectors."""
        ...


@runtime_checkable
class LimitedReader(Protocol):
    """A `TextEncoder` that knows some words and no others."""

    def remarks(self, phrase: str) -> list[str]:
        """What it reads otherwise than it is written, or not at all; a sentence each, none when it knows every word.

        Raises:
            PromptError: it knows none of the words.
        """
        ...


@runtime_checkable
class Explaining(Protocol):
    """A `TextEncoder` whose answers come from several places."""

    def origins(self, phrase: str) -> dict[str, str]:
        """Of what a phrase says ("action", "name", "color"): where the answer to it comes from."""
        ...


class FeatureSource(Protocol):
    """What is said of the training views: an encoder that reads the dataset, or the stored grids of one that sees."""

    name: str
    """The encoder's."""

    @property
    def version(self) -> int | str:
        """Changes with what is said, so that old runs are lifted anew."""
        ...

    def feature_map(self, sequence: Sequence, frame: int) -> FeatureMap:
        """Features of the training views around `frame`."""
        ...

    def sample_rows(self, sequence: Sequence) -> Iterable[NDArray[np.float32]]:
        """Rows [R, dim] from over the whole sequence, for a codec to be fitted on."""
        ...


class Encoder(TextEncoder, FeatureSource, Protocol):
    """Embeds footage and phrases in one space. Adding one is one file in `encoders/`."""

    @property
    def version(self) -> int:
        """See `TextEncoder`."""
        ...


@runtime_checkable
class RunEncoder(Protocol):
    """An `Encoder` of what is in a run beside its Gaussians, such as what its objects do."""

    def of_run(self, run: Run) -> Encoder:
        """The same, of this run."""
        ...


class ClipModel(Protocol):
    """Sees a clip at once."""

    batch: int
    """Clips that fill the device."""

    def embed_clips(self, clips: torch.Tensor) -> torch.Tensor:
        """[n, 8, 3, S, S] crops of the window's frames, normalised by the encoder's mean and std → [n, dim] unit."""
        ...


@runtime_checkable
class FrameModel(Protocol):
    """Sees frames one by one, each once for all the windows that it is in; a light second step sees the window."""

    batch: int
    """Frames that fill the device."""

    def embed_frames(self, frames: torch.Tensor) -> torch.Tensor:
        """[n, 3, S, S] crops, normalised by the encoder's mean and std → [n, width]."""
        ...

    def embed_windows(self, frames: torch.Tensor) -> torch.Tensor:
        """[n, 8, width], in order of time → [n, dim] unit vectors."""
        ...


class CropEncoder(TextEncoder, Protocol):
    """Sees square crops of the pictures, over 8 frames; `language.extract` cuts them and keeps what it says."""

    files: EncoderFiles
    """Where its weights are."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """Of RGB in 0..1, subtracted and divided by."""

    @property
    def weights_id(self) -> str:
        """Hash of what it is loaded from: other weights say other things."""
        ...

    @property
    def input_size(self) -> int:
        """Side of the crops that it sees, pixels."""
        ...

    def vision(self, device: torch.device) -> ClipModel | FrameModel:
        """The half that sees, on a device, in half precision where that is fast."""
        ...

    def save_text(self, folder: Path) -> None:
        """Write what `encode_text` needs into a folder, so that a run answers prompts where the weights are not."""
        ...
