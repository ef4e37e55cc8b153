"""How alike pictures are in CLIP's space: the scores by which generated moving objects are compared (4DGen, section 4).

Of vectors x and y of any length, d(x, y) = 2 asin(‖x̂ − ŷ‖ / 2)², half the square of the angle between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.floating]


def distance(first: Features, second: Features) -> NDArray[np.float64]:
    """[...] d of vectors [..., D]."""
    one, other = (np.asarray(v, np.float64) / np.linalg.norm(v, axis=-1, keepdims=True) for v in (first, second))
    chord = np.linalg.norm(one - other, axis=-1)
    found: NDArray[np.float64] = 2 * np.arcsin(np.clip(chord / 2, 0, 1)) ** 2
    return found


def clip_score(rendered: Features, reference: Features) -> float:
    """CLIP: mean d of V renderings at each of T moments [T, V, D] from the reference's picture of it [T, D]."""
    return float(distance(rendered, np.asarray(reference)[:, None]).mean())


def clip_t(features: Features) -> float:
    """CLIP-T: mean d of neighbouring moments' pictures from one side [T, D]; 0 of a single one."""
    return float(distance(features[:-1], features[1:]).mean()) if len(features) > 1 else 0.0
