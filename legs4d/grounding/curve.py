"""How much a prompt holds at each moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.language.scoring import mean_of_most_relevant, spread_of

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
    spread = spread_of(strength[None], weight, np.zeros(len(strength), bool))
    return float(mean_of_most_relevant(spread[0, 0], share))
