"""Which way is up in a capture, from the cameras alone.

Photographers keep the horizon level: a camera that is tilted up or down, or stands anywhere, still has its x axis in
the horizontal plane. So up is what is at right angles to all x axes, which the mean of the cameras' own upward axes is
not: that leans with cameras that look down (15° on a rig that stands a little above its scene).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CAMERA_UP = (0.0, -1.0, 0.0)
"""Up where nothing tells: that of an upright OpenCV camera at the origin, as 3DGS captures have it."""

LEAST_SPREAD = 0.01
"""Of the x axes across their common direction, as a share of the whole: under it (cameras within some 6° of each other)
noise would decide which way the plane of the x axes is turned."""

LEAST_AGREEMENT = 0.5
"""Cosine between that plane's normal and the mean upward axis. Beyond 60° some cameras were turned on their side, and
their x axes are no horizon."""


def find_up(viewmats: ArrayLike) -> NDArray[np.float64]:
    """[3] unit vector: the direction most nearly at right angles to all cameras' x axes.

    Args:
        viewmats: [C, 4, 4] (or [C, 3, 4]) world-to-camera, OpenCV (x right, y down, z forward), at least one.

    Returns:
        The right singular vector of the smallest singular value of the stacked x axes, with the sign of the mean upward
        axis; where all cameras face one way, or some lie on their side, the mean upward axis, at right angles to the
        mean x axis.
    """
    matrices = np.asarray(viewmats, np.float64)
    across, upward = matrices[:, 0, :3], -matrices[:, 1, :3]
    mean = upward.mean(axis=0)
    values, vectors = np.linalg.eigh(across.T @ across / len(across))
    normal = vectors[:, 0]
    # A rig that looks straight down has upward axes that cancel out; then down is where it looks.
    towards = mean if abs(normal @ mean) > 1e-3 else -matrices[:, 2, :3].mean(axis=0)
    normal = normal if normal @ towards >= 0 else -normal
    agrees = np.linalg.norm(mean) < 0.1 or normal @ mean >= LEAST_AGREEMENT * np.linalg.norm(mean)
    if values[1] >= LEAST_SPREAD * values[2] and agrees:
        return normal
    common = vectors[:, 2]
    level = mean - (mean @ common) * common if values[1] < LEAST_SPREAD * values[2] else mean
    size = float(np.linalg.norm(level))
    return level / size if size > 1e-9 else upward[0] / np.linalg.norm(upward[0])
