"""Settings of objects that are made in one pass of a network."""

from __future__ import annotations

from pydantic import Field

from legs4d.config.base import Settings


class OnePassSettings(Settings):
    """What `--method onepass` makes of a video."""

    stride: int = Field(default=0, ge=0)
    """Every so many of the video's frames one is taken; 0: as many as leave 15 a second (L4GM)."""
    chunk: int = Field(default=0, ge=0)
    """Frames that go through the network together; 0: as many as it was trained with."""
    interpolate: bool = False
    """Whether two moments are put between any two."""
    refine: bool = False
    """Whether what the pass made is the start of a fit to the video: one set of Gaussians, with ids, that moves."""
    elevation: float = Field(default=0.0, gt=-80, lt=80)
    """Degrees that the video's camera, and those of the other views, stand above the object."""
    seed: int = Field(default=0, ge=0)
    """Of a helper that invents views."""
