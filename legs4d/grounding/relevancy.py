"""From LERF's relevancy to what is shown: 4-LEGS subtracts 0.5, clips, and normalises over the sequence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def strength(relevancy: NDArray[np.floating]) -> NDArray[np.float32]:
    """clip(2·relevancy − 1, 0, 1): 0 where a canonical phrase fits as well as the prompt does.

    Args:
        relevancy: LERF's, any shape, 0..1.
    """
    return np.clip(2 * relevancy.astype(np.float32) - 1, 0, 1)
