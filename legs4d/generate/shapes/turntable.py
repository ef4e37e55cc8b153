"""A video of a thing that turns about an upright axis, and does not move otherwise: how fast, and seen from how high.

All that is tried is one round at an even pace. What fits best is told with how much better it is than what it would
be confused with, as on some shapes everything fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.generate.lenses import Lens
from legs4d.generate.shapes.agreement import agreement
from legs4d.scene.camera import Cameras

ELEVATIONS, BETWEEN = (-10, 0, 10, 20, 30, 45, 60), (-5, 5)
"""Degrees that are tried, and then around the best of them."""
LOOKED_AT = 16
"""Pictures that are compared, spread over the video."""
FITS = 0.88
"""Agreement from which on a turn explains the silhouettes."""
SHARP = 0.05
"""By how much it has to be better than no turn, or half of one, to be told apart."""


@dataclass(frozen=True)
class Turn:
    """How a thing turns.

    Attributes:
        elevation: of the camera, degrees.
        degrees: from picture to picture, of the camera around the thing.
        agreement: of the silhouettes, 0..1.
        sharpness: by how much that is better than no turn, or half of one.
        other_way: by how much it is better than the same turn the other way round.
    """

    elevation: float
    degrees: float
    agreement: float
    sharpness: float
    other_way: float

    @property
    def is_sure(self) -> bool:
        return self.agreement >= FITS and self.sharpness >= SHARP

    def told(self) -> str:
        """A sentence for a person."""
        way = "which way round is hardly told" if self.other_way < 0.01 else "the other way round fits worse"
        return (
            f"Taken as one even round of {self.degrees:+.1f}° a picture seen from {self.elevation:.0f}° above: "
            f"silhouettes agree by {self.agreement:.2f}, by {self.sharpness:.2f} more than for the next kind of turn "
            f"({way})."
        )

    def cameras(self, count: int, lens: Lens, size: int) -> Cameras:
        """Of `count` pictures, the first from the front."""
        return lens.cameras(np.full(count, self.elevation), self.degrees * np.arange(count), size)


def find_turn(alphas: NDArray[np.float32], lens: Lens) -> Turn:
    """The even round that explains silhouettes [T, S, S] (0..1) best."""
    count, size = alphas.shape[:2]
    chosen = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).round().astype(int))
    some = alphas[chosen]

    def fit(elevation: float, degrees: float) -> float:
        cameras = lens.cameras(np.full(len(chosen), elevation), degrees * chosen, size)
        return agreement(some, cameras, lens.reach)

    whole = 360 / count
    tried = {(e, sign * whole): fit(e, sign * whole) for e in ELEVATIONS for sign in (1, -1)}
    (elevation, degrees), _ = max(tried.items(), key=lambda item: item[1])
    tried |= {(elevation + d, sign * degrees): fit(elevation + d, sign * degrees) for d in BETWEEN for sign in (1, -1)}
    (elevation, degrees), best = max(tried.items(), key=lambda item: item[1])
    others = max(fit(e, share * degrees) for e in (0, elevation) for share in (0.0, 0.5))
    return Turn(elevation, degrees, best, best - others, best - tried[elevation, -degrees])
