"""What is carried by control nodes, between two stored frames.

A Gaussian is carried by the few nodes it is bound to (`bending`; in time as in SC-GS, Huang et al. 2024). Between two
frames the nodes turn and move at constant speed, and what hangs on them follows from both ends, each the less the
farther in time; so a wheel that turns goes round instead of cutting the corner, and every stored frame is met exactly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .bending import follow

Floats = NDArray[np.floating]
NEARLY_ALIKE = 0.9999
"""Cosine of half the angle between two turns above which the way between them is straight."""


def turn_on(one: Floats, other: Floats, share: float) -> NDArray[np.float64]:
    """[N, 4] unit quaternions wxyz a share of the shorter way from one [N, 4] to the other, at constant speed."""
    first, second = (np.asarray(quats, np.float64) for quats in (one, other))
    first, second = (quats / np.linalg.norm(quats, axis=-1, keepdims=True) for quats in (first, second))
    along = np.einsum("nc,nc->n", first, second)
    second, along = second * np.where(along < 0, -1.0, 1.0)[:, None], np.minimum(np.abs(along), 1.0)
    angle = np.arccos(along)
    sine = np.where(along < NEARLY_ALIKE, np.sin(angle), 1.0)
    straight = along >= NEARLY_ALIKE
    of_first = np.where(straight, 1 - share, np.sin((1 - share) * angle) / sine)
    of_second = np.where(straight, share, np.sin(share * angle) / sine)
    found = of_first[:, None] * first + of_second[:, None] * second
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float64)


def poses_between(before: Floats, after: Floats, share: float) -> NDArray[np.float64]:
    """[K, 7] poses (position, then wxyz) a share of the way between two."""
    middle = np.empty((len(before), 7))
    middle[:, :3] = before[:, :3] + share * (np.asarray(after[:, :3], np.float64) - before[:, :3])
    middle[:, 3:] = turn_on(before[:, 3:], after[:, 3:], share)
    return middle


def carried(
    now: tuple[Floats, Floats],
    then: tuple[Floats, Floats],
    bound: tuple[NDArray[np.integer], Floats],
    poses: tuple[Floats, Floats],
    share: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where what hangs on nodes is between two frames, seen from both of them and mixed.

    Args:
        now, then: means [n, 3] and quats [n, 4] wxyz in the two frames.
        bound: nodes [n, B] and their weights [n, B], which sum to 1 or are 0: what hangs on none is meaningless.
        poses: of the nodes in the two frames, [K, 7]: position, then wxyz.
        share: 0..1 of the way.
    """
    middle = poses_between(*poses, share)
    from_now, from_then = (
        follow(*gaussians, *bound, pose, middle) for gaussians, pose in zip((now, then), poses, strict=True)
    )
    means = (1 - share) * from_now[0] + share * from_then[0]
    return means, turn_on(from_now[1], from_then[1], share)
