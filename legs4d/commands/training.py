"""Footage → a run that answers prompts, and the parts of that."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from legs4d.commands.base import Command, WithSettings
from legs4d.commands.values import (
    Names,
    Offsets,
    Place,
    Prompts,
    Scale,
)
from legs4d.config import DatasetSettings, ExtractSettings, GeometrySettings, LiftSettings, TrainSettings
from legs4d.settings import checked


class Reconstruct(WithSettings):
    """Footage → dynamic Gaussians.

    Attributes:
        dataset: a folder in a layout that `scene.readers` knows.
        out: the run to make, or to go on with.
        scale: work on images of this share of their size.
        cameras, leave_out: names or numbers of the cameras to read, and of those not to.
        offset: seconds by which each camera's video was begun later than the others.
        align: have that found by "sound" or "motion".
        preset: effort; by default "auto": full where there is a GPU.
        method: "tracking" from frame to frame, or "deform", all frames together; by default by the footage.
        chunks: frames that are tracked in a row; 0 for all.
        objects: folder of the objects that were found in the footage, if not the one beside it.
        no_objects: use none, and look for none.
        again: make anew what was made otherwise, or all of it if nothing was; else that is an error.
        settings: any others; they win over the preset's.
    """

    SHORT: ClassVar[dict[str, str]] = {
        "scale": "dataset.scale",
        "cameras": "dataset.cameras",
        "leave_out": "dataset.leave_out",
        "offset": "dataset.offsets",
        "align": "dataset.align",
        "preset": "preset",
        "method": "method",
        "chunks": "reconstruct.chunks.length",
    }

    dataset: Place
    out: Place
    scale: Scale | None = None
    cameras: Names | None = None
    leave_out: Names | None = None
    offset: Offsets | None = None
    align: Literal["sound", "motion"] | None = None
    preset: Literal["auto", "quick", "full"] | None = None
    method: Literal["auto", "tracking", "deform"] | None = None
    chunks: int | None = Field(default=None, ge=0)
    objects: Place | None = None
    no_objects: bool = False
    again: bool = False
    settings: GeometrySettings = GeometrySettings()

    def geometry(self) -> TrainSettings:
        """All settings of the reconstruction, those of other stages left as they are. Raises SettingsError."""
        return checked(TrainSettings, {"preset": "auto", **self.asked()}, "the settings")


class Train(Reconstruct):
    """Footage → a run that answers prompts: `reconstruct`, `extract` where the encoder sees, `lift`.

    Attributes:
        encoder: where language comes from; "auto" takes captions where there are some, else `actions` where there
            are object masks, else `tiny`.
        weights: the encoder's file.
        every: timesteps between two that are embedded.
    """

    SHORT: ClassVar[dict[str, str]] = {**Reconstruct.SHORT, "encoder": "lift.encoder", "every": "extract.every"}

    encoder: str | None = Field(default=None, min_length=1, max_length=100)
    weights: Place | None = None
    every: int | None = Field(default=None, ge=1)
    settings: TrainSettings = TrainSettings()


class Extract(WithSettings):
    """A run's pictures → embeddings. `background` and `change` as in `ExtractSettings`.

    Attributes:
        dataset: where the run's footage is now, if not where it was last.
        again: as in `Reconstruct`.
    """

    SHORT: ClassVar[dict[str, str]] = {"every": "every", "background": "background", "change": "change"}

    run: Place
    encoder: str = Field(default="tiny", min_length=1, max_length=100)
    weights: Place | None = None
    every: int | None = Field(default=None, ge=1)
    background: Literal["once", "always", "never"] | None = None
    change: float | None = Field(default=None, ge=0, le=1)
    dataset: Place | None = None
    again: bool = False
    settings: ExtractSettings = ExtractSettings()

    def extraction(self) -> ExtractSettings:
        """All settings. Raises SettingsError."""
        return checked(ExtractSettings, self.asked(), "the settings")


class Lift(WithSettings):
    """Language onto a reconstructed run. Options as in `LiftSettings` and its codec; `dataset` and `again` as in
    `Extract`."""

    SHORT: ClassVar[dict[str, str]] = {
        "encoder": "encoder",
        "method": "method",
        "refine": "refine",
        "codec": "codec.name",
        "dim": "codec.dim",
        "codec_weights": "codec.weights",
    }

    run: Place
    encoder: str | None = Field(default=None, min_length=1, max_length=100)
    weights: Place | None = None
    method: Literal["closed", "trained"] | None = None
    refine: int | None = Field(default=None, ge=0, le=100)
    codec: Literal["linear", "autoencoder"] | None = None
    dim: int | None = Field(default=None, ge=1, le=1024)
    codec_weights: Place | None = None
    dataset: Place | None = None
    again: bool = False
    settings: LiftSettings = LiftSettings()

    def lifting(self) -> LiftSettings:
        """All settings. Raises SettingsError."""
        return checked(LiftSettings, self.asked(), "the settings")


class Objects(Command):
    """Footage → the things that move in it, named and cut out: `priors.objects.find`.

    Attributes:
        out: folder to make; by default DATASET.objects, beside the dataset.
        prompt: what alone is looked for ("a ball"), moving or not, by SAM 3; by default all that moves.
        scale, cameras, leave_out, offset, align: how the footage is read, as in `Reconstruct`.
        again: replace what was found otherwise.
    """

    dataset: Place
    out: Place | None = None
    prompt: Prompts | None = None
    scale: Scale | None = None
    cameras: Names | None = None
    leave_out: Names | None = None
    offset: Offsets | None = None
    align: Literal["sound", "motion"] | None = None
    again: bool = False

    def reading(self) -> DatasetSettings:
        """How the footage is read. Raises SettingsError."""
        named = {"offset": "offsets"}
        asked = {name: getattr(self, name) for name in ("scale", "cameras", "leave_out", "offset", "align")}
        there = {named.get(name, name): value for name, value in asked.items() if value is not None}
        return checked(DatasetSettings, there, "the options")
