"""How much of each Gaussian pictures have shown: what no picture showed may have any colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.raster.constants import BLUR
from legs4d.raster.lift import lift_weights
from legs4d.scene.camera import Cameras

MOST_VIEWS = 24
MOST_PIXELS = 200_000
"""Of a view; larger ones are made smaller."""


def visible_share(run: Run, frame: int, near: float) -> NDArray[np.float32] | None:
    """[count] 0..1 how much of each Gaussian of a frame the run's training pictures show: the pixels that it fills in
    them, of those that it would fill if nothing were before it. None where there were no pictures."""
    if not run.has_cameras or run.info.get("cameras") == "virtual":
        return None
    cameras = run.cameras("train", frame)
    if not len(cameras):
        return None
    chosen = np.linspace(0, len(cameras) - 1, min(len(cameras), MOST_VIEWS)).round().astype(int)
    cameras = cameras.take(np.unique(chosen))
    smaller = min(1.0, (MOST_PIXELS / (cameras.width * cameras.height)) ** 0.5)
    cameras = cameras.scaled(smaller)
    index = np.zeros((len(cameras), cameras.height, cameras.width, 1), np.int32)
    _, filled = lift_weights(run.frame(frame), cameras, index, np.ones(index.shape, np.float32), 1, near)
    visible, seen = filled / np.maximum(_alone(run.frame(frame), cameras, near), 1e-6), run.seen(frame)
    return np.asarray(visible if seen is None else visible * (seen > 0), np.float32).clip(0, 1)


def _alone(gaussians: Gaussians, cameras: Cameras, near: float) -> NDArray[np.float32]:
    """[count] about how many pixels each would fill in all pictures alone, seen along its shortest axis."""
    wide = np.sort(gaussians.scales, axis=1)[:, 1:]
    total = np.zeros(len(gaussians), np.float32)
    for matrix, lens in zip(cameras.world_to_camera, cameras.intrinsics, strict=True):
        placed = gaussians.means @ matrix[:3, :3].T + matrix[:3, 3]
        depth = np.maximum(placed[:, 2], near)
        at = placed[:, :2] / depth[:, None] * lens[[0, 1], [0, 1]] + lens[:2, 2]
        inside = (placed[:, 2] > near) & (at > 0).all(1) & (at < (cameras.width, cameras.height)).all(1)
        sides = np.sqrt((wide * lens[0, 0] / depth[:, None]) ** 2 + BLUR)
        total += inside * 2 * np.pi * sides.prod(1) * gaussians.opacities
    return total
