"""How large the work on an object is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from legs4d.config import DeformSettings
from legs4d.generate.fitting import Following
from legs4d.generate.optimise.road import QUICK, How


@dataclass(frozen=True)
class Sizes:
    """How large the work is, by the device.

    Attributes:
        picture: pixels of a side; motion: of those in which motion is looked for.
        most: Gaussians of a shape made of one picture.
        following: how.
        shape: of the fit of a shape to views.
        optimise: of 4DGen's optimisation.
    """

    picture: int
    motion: int
    most: int
    following: Following
    shape: DeformSettings
    optimise: How = QUICK

    @classmethod
    def of(cls, device: torch.device) -> Sizes:
        if device.type == "cuda":
            follow = Following(steps=1500, pictures_per_step=4, nodes=512)
            return cls(512, 256, 60_000, follow, _shape_settings("full"), How())
        return cls(256, 128, 14_000, Following(), _shape_settings("quick"))


def _shape_settings(preset: Literal["quick", "full"]) -> DeformSettings:
    # Predicted views disagree about what shines: it would be learned as colours that depend on the view.
    given = DeformSettings(sh_degree=0, static_sh_degree=0, steps=3000 if preset == "full" else 700)
    return given.with_preset(preset)
