"""Every setting, with its source: one model per stage, one home per number.

A stage's settings are part of its fingerprint: changing one makes the stage, and those after it, run again.
"""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Immutable, and without room for misspelt names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetSettings(Settings):
    """How footage is read."""

    scale: float = Field(default=1.0, gt=0, le=1)
    """Images are resized to round(scale·W) × round(scale·H) by area (CONTRACTS, "Rasteriser")."""


class LiftSettings(Settings):
    """How language gets onto Gaussians."""

    encoder: str = "captions"
    """A name in `language.encoders`."""


class TrainSettings(Settings):
    """All stages of `legs4d train`."""

    dataset: DatasetSettings = DatasetSettings()
    lift: LiftSettings = LiftSettings()


def fingerprint(settings: Settings, version: int, *inputs: str) -> str:
    """Hash of a stage's settings, its code's version number and its inputs' fingerprints (CONTRACTS, "Run folder")."""
    digest = hashlib.sha256(f"{type(settings).__name__} {version} {settings.model_dump_json()}".encode())
    for value in inputs:
        digest.update(f" {value}".encode())
    return digest.hexdigest()
