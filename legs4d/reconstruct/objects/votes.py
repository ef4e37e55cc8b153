"""Which object each Gaussian is: the pixels that it fills vote, as their object masks tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.lift import lift_few
from legs4d.scene.camera import Cameras

BELONGS, SPILLS = 0.5, 0.25
"""Share of the pixels that a Gaussian fills, from which these make it the object's; of one that is foreground, the
second: what lies at an outline spills over it."""
FAINTEST = 0.1
"""Pixels, over all views of all frames that vote: what fills fewer is nobody's."""


def votes_of(
    gaussians: Gaussians, cameras: Cameras, labels: NDArray[np.uint8], ids: NDArray[np.int64], near: float
) -> NDArray[np.float32]:
    """[N, 1 + K] pixels of nothing, and of each object, that a Gaussian fills, over all views of a frame.

    Args:
        gaussians: N Gaussians as numpy arrays.
        labels: [C, H, W] ids of the cameras' pixels; those that are not in `ids` [K] count as nothing.
        near: scene units, as in `render`.
    """
    rows = np.zeros(256, np.int32)
    rows[ids] = np.arange(1, len(ids) + 1)
    index = rows[labels][..., None]
    return lift_few(gaussians, cameras, index, np.ones(index.shape, np.float32), len(ids) + 1, near)[0]


def elected(votes: NDArray[np.floating], is_foreground: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] the object, 0 to K - 1, that each Gaussian's pixels [N, 1 + K] (`votes_of`) make it; -1 for none."""
    total, own = votes.sum(axis=1), votes[:, 1:]
    best = own.argmax(axis=1) if own.shape[1] else np.zeros(len(votes), np.int64)
    least = np.where(is_foreground, SPILLS, BELONGS) * total
    return np.where((total > FAINTEST) & (own.max(axis=1, initial=0.0) >= least), best, -1)
