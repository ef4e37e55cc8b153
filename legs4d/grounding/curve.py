"""How much a prompt holds at each moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.language.scoring import BINS

SHARE = 0.005
"""Share of what the cameras see of the foreground that has to fit a prompt for it to hold.

What a prompt names is often the smallest thing in sight: the ball of the basketball clip is 2 % of the foreground's
pixels, its people the rest, so that a mean or a median over Gaussians would never see it. The largest relevancy, on the
other hand, is that of one stray Gaussian. A quarter of the ball lies between."""


def most_relevant(strength: NDArray[np.floating], weight: NDArray[np.floating], share: float = SHARE) -> float:
    """Mean strength of the most relevant Gaussians that make up `share` of the weight.

    Args:
        strength: [N] in 0..1.
        weight: [N] ≥ 0, pixels that each Gaussian fills in the training views; 0 leaves it out.
        share: 0..1 of the sum of weights.

    Returns:
        0..1, exact to a thousandth of the range; 0 when nothing has weight.
    """
    # A histogram instead of sorting: one pass, however many Gaussians.
    bins = np.minimum((strength * BINS).astype(np.int32), BINS - 1)
    mass, moment = (
        np.bincount(bins, weights=values, minlength=BINS).astype(np.float64, copy=False)
        for values in (weight, weight * strength)
    )
    return mean_of_most_relevant(mass, moment, share)


def mean_of_most_relevant(mass: NDArray[np.float64], moment: NDArray[np.float64], share: float = SHARE) -> float:
    """The same from a histogram over BINS equal bins of strength: sums of weight, and of weight · strength."""
    total = float(mass.sum())
    if total <= 0:
        return 0.0
    mass, moment = mass[::-1], moment[::-1]
    before = np.cumsum(mass) - mass
    taken = np.clip(share * total - before, 0, mass)
    return float((taken * np.divide(moment, mass, out=np.zeros_like(mass), where=mass > 0)).sum() / taken.sum())
