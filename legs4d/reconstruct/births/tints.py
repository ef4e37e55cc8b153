"""How colours change in time: what light and shadow do to surfaces that are known, found in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import SH_C0
from legs4d.reconstruct.births.evidence import Evidence

PRIOR = 2.0
"""Pixels, over all views, that a Gaussian has to fill for half of what they say to be believed."""
PAYS = 0.015
"""Change of colour, RGB, over all channels and frames weighted by what shows it, from which a Gaussian keeps it."""
BETWEEN = 0.25
"""Weight of the frames before and after in what is said of one."""


def tints(evidence: list[Evidence], rows: slice) -> NDArray[np.float32]:
    """[F, K, 3] what to add to the colours (SH DC) of these Gaussians in each of the frames.

    One Jacobi step on the normal equations of the pictures, as in lifting: the mean of what lacks over the pixels that
    a Gaussian fills. Regularised: what few pixels say is drawn to nothing, and frames to the ones beside them.
    """
    lacks = np.stack([one.lacks[rows] for one in evidence])
    mass = np.stack([one.mass[rows] for one in evidence])
    for values in (lacks, mass):
        beside = values.copy()
        values[1:] += BETWEEN * beside[:-1]
        values[:-1] += BETWEEN * beside[1:]
    return (lacks / (mass + PRIOR)[..., None] / SH_C0).astype(np.float32)


def paying(found: NDArray[np.float32], evidence: list[Evidence], rows: slice) -> NDArray[np.bool_]:
    """[K] bool: Gaussians whose tints [F, K, 3] are more than noise."""
    mass = np.stack([one.mass[rows] for one in evidence])
    strength = (SH_C0 * found) ** 2
    power = (strength.mean(axis=2) * mass).sum(axis=0) / np.maximum(mass.sum(axis=0), PRIOR)
    return np.sqrt(power) > PAYS


def in_between(found: NDArray[np.float32], known: list[int], frame: int) -> NDArray[np.float32]:
    """[K, 3] tints in any frame, from those [F, K, 3] of the known frames (ascending), linearly."""
    after = min(int(np.searchsorted(known, frame)), len(known) - 1)
    before = max(after - 1, 0) if known[after] > frame else after
    if before == after:
        return found[after]
    share = (frame - known[before]) / (known[after] - known[before])
    return (1 - share) * found[before] + share * found[after]
