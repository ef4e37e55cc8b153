"""Settings of what gives Gaussians language, and of what it is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from legs4d.config.base import Settings


class ExtractSettings(Settings):
    """Which crops of the pictures an encoder that sees is shown."""

    every: int = Field(default=1, gt=0)
    """Timesteps between two that are embedded; those between are interpolated."""
    background: Literal["once", "always", "never"] = "once"
    """Crops that no pixel of the foreground reads: embedded once a block and held while nothing changes in them; like
    the others; or not at all, and then the background says nothing."""
    change: float = Field(default=0.01, ge=0, le=1)
    """A crop is embedded anew when its colours differ by this much in the mean from the clip that was embedded last, as
    `language.embedding.changes` has it; 0: at every timestep. `scripts/bench/language/count_crops.py` prints what it
    saves and costs."""
    smallest: int = Field(default=10, gt=0)
    """Pixels along a side: smaller crops are left out where there are larger ones, which then speak for their pixels.
    72 pixels of height have none; in 32 pixels five of six crops are smaller. `tiny` was trained on 18 and more."""
    block: int = Field(default=32, gt=0)
    """Timesteps after which everything is embedded anew."""


class AutoencoderSettings(Settings):
    """Training the paper's codec, as LangSplat does (Qin et al. 2024, section 3.3), from which 4-LEGS takes it."""

    hidden: tuple[int, ...] = (512, 256)
    """Widths between the feature's and the code's."""
    epochs: int = Field(default=100, gt=0)
    """Rounds through all rows."""
    min_steps: int = Field(default=2000, ge=0)
    """Where there are few rows, such as captions, epochs are short."""
    batch: int = Field(default=64, gt=1)
    """Rows a step."""
    rate: float = Field(default=1e-4, gt=0)
    """Adam's step size."""
    cosine_weight: float = 1e-3
    """Loss: mean squared error + this · (1 - cosine)."""
    seed: int = 0
    """Of all that is drawn at random."""


class CodecSettings(Settings):
    """How features become a few numbers."""

    name: Literal["linear", "autoencoder"] = "linear"
    """A linear projection, or the paper's network."""
    dim: int | None = Field(default=None, gt=0, le=1024)
    """Numbers of a code; by default the paper's 128 of the autoencoder, and of the linear codec as many as keep 99.9 %
    of the variance, 64 at most."""
    weights: str | None = None
    """A checkpoint of the autoencoder, in place of training one."""
    autoencoder: AutoencoderSettings = AutoencoderSettings()


class TrainedLiftSettings(Settings):
    """The paper's lift: features and an attention over neighbours, trained anew every frame (4-LEGS, section 3.3)."""

    steps: int = Field(default=2000, gt=0)
    """Each of one camera."""
    neighbours: int = Field(default=20, ge=0)
    """Nearest Gaussians that each attends to, beside itself; 0 leaves the attention out."""
    feature_rate: float = 2.5e-3
    """Adam's step size of features."""
    attention_rate: float = 1e-3
    """Adam's step size of the attention."""
    seed: int = 0
    """Of all that is drawn at random."""


class LiftSettings(Settings):
    """How language gets onto Gaussians."""

    encoder: str = "auto"
    """A name in `language.encoders`, or "auto": `captions` where there are captions, else `actions` where there are
    object masks, else `tiny`."""
    codec: CodecSettings = CodecSettings()
    method: Literal["closed", "trained"] = "closed"
    """One pass (docs/conventions.md, "Lifting"), or the paper's optimisation."""
    refine: int = Field(default=0, ge=0)
    """Conjugate-gradient steps on the normal equations after the one pass."""
    trained: TrainedLiftSettings = TrainedLiftSettings()


class QuerySettings(Settings):
    """What a prompt is compared with, and how it is put."""

    canonical: tuple[str, ...] = ()
    """LERF's canonical phrases, in place of the encoder's; none: the encoder's."""
    negative: tuple[str, ...] = ()
    """What is not meant: a Gaussian that fits one of these better than the prompt is not relevant to it."""
    templates: tuple[str, ...] = ("{}",)
    """Wordings, {} standing for the prompt; it is embedded in each, and their mean is asked for."""


ENSEMBLE = ("{}", "a photo of {}", "a video of {}", "a scene in which {}")
"""Templates of `--ensemble`, after those of CLIP (Radford et al. 2021, section 3.1.4)."""
