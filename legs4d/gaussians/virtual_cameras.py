"""Cameras of a run that nobody filmed: what its pictures are rendered from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.store.run import Run
from legs4d.scene.camera import Cameras
from legs4d.scene.paths import orbit

VIEWS = 8
"""Cameras of a run that was not filmed: a circle around it."""
VIEW_SIZE = (640, 480)
VIEW_ANGLE = 45.0
"""Their vertical field of view, degrees."""
ROOM = 1.4
"""Their distance, as a share of that from which the whole just fits: an orbit comes somewhat nearer."""
NEAR_SHARE = 0.02
"""Their near plane, as a share of their distance."""


def look_around(run: Run, up: NDArray[np.float64]) -> None:
    """Give a run cameras that nobody filmed with, a circle around its first frame, and what belongs to them.

    Args:
        up: [3] unit vector.
    """
    gaussians = run.frame(0)
    solid = gaussians.opacities > 0.1
    means = gaussians.means[solid] if solid.any() else gaussians.means
    center = np.median(means, axis=0).astype(np.float32)
    away = np.linalg.norm(means - center, axis=1)
    # What is far behind a scene does not push the cameras out of it.
    size = min(float(np.quantile(away, 0.95)), 2 * float(np.median(away))) or float(gaussians.scales.max())
    width, height = VIEW_SIZE
    focal = height / 2 / np.tan(np.radians(VIEW_ANGLE / 2))
    lens = np.array([[[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]], np.float32)
    like = Cameras(np.eye(4, dtype=np.float32)[None], lens, width, height, (0,))
    distance = ROOM * size / np.sin(np.radians(VIEW_ANGLE / 2))
    nothing = np.zeros((VIEWS, 3), np.float32)
    run.write_cameras(orbit(center, distance, -up, VIEWS, like), None, nothing, nothing)
    run.set_info(center=center.tolist(), radius=distance, near=NEAR_SHARE * distance, cameras="virtual")
