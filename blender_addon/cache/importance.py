"""Which points matter most for how a capture looks: for viewports that show only some of them."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def ranks(scales: Array, opacities: Array) -> Array:
    """[N] float32: the share, 0 to 1, of the points that are more important than each.

    What covers more of a picture is more important: opacity times the area of the ellipsoid's largest section.

    Args:
        scales, opacities: [N, 3] standard deviations, [N] 0..1.
    """
    area = np.prod(scales, axis=1) / np.maximum(np.min(scales, axis=1), 1e-12)
    found = np.empty(len(area), np.float32)
    found[np.argsort(-area * opacities)] = np.arange(len(area), dtype=np.float32) / max(len(area), 1)
    return found
