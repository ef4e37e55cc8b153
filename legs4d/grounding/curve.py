"""How much a prompt holds at each moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARE = 0.005
"""Share of what the cameras see of the foreground that has to fit a prompt for it to hold.

What a prompt names is often the smallest thing in sight: the ball of the basketball clip is 2 % of the foreground's
pixels, its people the rest, so that a mean or a median over Gaussians would never see it. The largest relevancy, on the
other hand, is that of one stray Gaussian. A quarter of the ball lies between."""

_BINS = 1024


def most_relevant(strength: NDArray[np.floating], weight: NDArray[np.floating], share: float = SHARE) -> float:
    """Mean strength of the most relevant Gaussians that make up `share` of the weight.

    Args:
        strength: [N] in 0..1.
        weight: [N] ≥ 0, pixels that each Gaussian fills in the training views; 0 leaves it out.
        share: 0..1 of the sum of weights.

    Returns:
        0..1, exact to a thousandth of the range; 0 when nothing has weight.
    """
    total = float(weight.sum())
    if total <= 0:
        return 0.0
    # A histogram instead of sorting: one pass, however many Gaussians.
    bins = np.minimum((strength * _BINS).astype(np.int32), _BINS - 1)
    mass = np.bincount(bins, weights=weight, minlength=_BINS)[::-1]
    moment = np.bincount(bins, weights=weight * strength, minlength=_BINS)[::-1]
    before = np.cumsum(mass) - mass
    taken = np.clip(share * total - before, 0, mass)
    return float((taken * np.divide(moment, mass, out=np.zeros_like(mass), where=mass > 0)).sum() / taken.sum())
