"""Rigid motions that carry points nearest to others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RigidFit:
    """x → scale · rotation · x + translation, for B sets of points.

    Attributes:
        rotation: [B, 3, 3], determinant 1.
        translation: [B, 3].
        scale: [B], 1 where none was asked for.
        error: [B] weighted root mean square of what is left, in the points' unit.
        rank: [B] 0..3, directions in which the points are spread; under 2 the rotation is not determined, and the
            smallest one that fits is given.
    """

    rotation: FloatArray
    translation: FloatArray
    scale: FloatArray
    error: FloatArray
    rank: NDArray[np.int64]


FLAT = 1e-6
"""Spread in a direction, as a share of the largest, that counts as none."""

ROBUST_ROUNDS = 4
"""Of `fit_robustly`."""


def fit_rigid(
    source: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None, *, scaled: bool = False
) -> RigidFit:
    """The rigid motion (or similarity) that takes `source` nearest to `target` in weighted least squares.

    Args:
        source, target: [B, N, 3] or [N, 3] (one set), any unit.
        weights: [B, N] or [N], ≥ 0, with a sum > 0; equal by default.
        scaled: whether the points may grow or shrink too.

    Returns:
        The closed form of Umeyama 1991 (equations 34 to 43): a rotation, never a reflection, also of flat sets.
    """
    p, q = (np.asarray(points, np.float64) for points in (source, target))
    p, q = (points[None] if points.ndim == 2 else points for points in (p, q))
    w = np.ones(p.shape[:2]) if weights is None else np.broadcast_to(np.asarray(weights, np.float64), p.shape[:2])
    w = w / w.sum(axis=1, keepdims=True)
    from_center, to_center = (np.einsum("bn,bni->bi", w, points) for points in (p, q))
    p0, q0 = p - from_center[:, None], q - to_center[:, None]
    covariance = (w[..., None] * q0).transpose(0, 2, 1) @ p0
    left, strength, right = np.linalg.svd(covariance)
    sign = np.ones((len(p), 3))
    sign[:, 2] = np.sign(np.linalg.det(left) * np.linalg.det(right))
    rotation = (left * sign[:, None]) @ right
    rank = (strength > FLAT * np.maximum(strength[:, :1], 1e-300)).sum(axis=1) * (strength[:, 0] > 0)
    rotation[rank == 0] = np.eye(3)
    for which in np.flatnonzero(rank == 1):  # a line: turned the short way, not about itself
        rotation[which] = shortest_turn(right[which, 0], left[which, :, 0])
    spread = np.einsum("bn,bni->b", w, p0**2)
    grown = (strength * sign).sum(axis=1) / np.where(spread > 0, spread, 1)
    scale = np.where(spread > 0, grown, 1.0) if scaled else np.ones(len(p))
    translation = to_center - scale[:, None] * np.einsum("bij,bj->bi", rotation, from_center)
    left_over = scale[:, None, None] * (p @ rotation.transpose(0, 2, 1)) + translation[:, None] - q
    error = np.sqrt(np.einsum("bn,bni->b", w, left_over**2))
    return RigidFit(rotation, translation, scale, error, rank)


def fit_robustly(source: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> RigidFit:
    """`fit_rigid` of what most of each set [B, N, 3] agrees on: what moves otherwise counts less (Geman and McClure
    1987), by the median of what is left in `ROBUST_ROUNDS` rounds."""
    p, q = (np.asarray(points, np.float64) for points in (source, target))
    given = np.ones(p.shape[:2]) if weights is None else np.asarray(weights, np.float64)
    counts = given
    for left in range(ROBUST_ROUNDS, -1, -1):
        fit = fit_rigid(p, q, counts)
        if left:
            moved = p @ fit.rotation.transpose(0, 2, 1) + fit.translation[:, None]
            off = np.linalg.norm(moved - q, axis=2)
            typical = np.maximum(np.median(off, axis=1, keepdims=True), 1e-9)
            counts = given / (1 + (off / (2 * typical)) ** 2) ** 2
    return fit


def shortest_turn(one: ArrayLike, other: ArrayLike) -> FloatArray:
    """[3, 3] rotation by the smallest angle that takes the unit vector `one` [3] to `other` [3]."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    axis, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1 + 1e-12:  # half a turn about any axis square to it
        axis = np.cross(a, np.eye(3)[np.abs(a).argmin()])
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)
