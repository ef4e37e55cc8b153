"""How an object turns: about itself, or about an axis beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from legs4d.motion.measures import Poses, rotation_vectors
from legs4d.motion.tracks import Floats

WINDOW = 1
"""Frames before and after over which a turn is averaged: what jitters turns back again."""
OUTER = 0.7
"""Quantile of the distance from a hinge, beyond which points are a door's free edge."""


@dataclass(frozen=True)
class Spin:
    """Of an object in T frames.

    Attributes:
        rate: [T] radians a frame, of what is the same turn over a few frames.
        axis: [T, 3] unit vectors, 0 where it does not turn.
    """

    rate: Floats
    axis: Floats


def find_spin(turn: Floats) -> Spin:
    """Of rotation vectors [T, 3], one a frame."""
    padded = np.pad(turn, ((WINDOW, WINDOW), (0, 0)), mode="edge")
    mean = np.mean([padded[i : i + len(turn)] for i in range(2 * WINDOW + 1)], axis=0)
    rate = np.linalg.norm(mean, axis=1)
    axis = np.divide(mean, rate[:, None], out=np.zeros_like(mean), where=rate[:, None] > 1e-9)
    return Spin(rate, axis)


@dataclass(frozen=True)
class Hinge:
    """An axis beside an object about which it turns.

    Attributes:
        axis: [3] unit; point: [3] on it, scene units.
        angle: [T] radians since the first frame.
        error: root mean square of how far points are from where the axis takes them, in the object's sizes.
        beside: distance of the object's centre from the axis, in its sizes.
        away: [T] how far its free edge is from what never moves, in its sizes; nan where there is nothing.
    """

    axis: Floats
    point: Floats
    angle: Floats
    error: float
    beside: float
    away: Floats


def find_hinge(points: Floats, poses: Poses | None, size: float, scenery: Floats, least: float) -> Hinge | None:
    """The hinge of points [T, n, 3], None where they turn by less than `least` radians in all.

    Args:
        poses: of them, see `measures.poses_of`.
        size: of the object, scene units.
        scenery: [S, 3].
    """
    if poses is None:
        return None
    rotation, translation = poses
    vectors = rotation_vectors(rotation)
    amount = np.linalg.norm(vectors, axis=1)
    furthest = int(amount.argmax())
    if amount[furthest] < least:
        return None
    axis = vectors[furthest] / amount[furthest]
    angle = np.unwrap(vectors @ axis, period=2 * np.pi)
    # a point on the axis stays where it is: (1 − R) q = p, in least squares, where it turns enough to tell
    lhs, rhs = (np.eye(3) - rotation).reshape(-1, 3), translation.reshape(-1)
    point = np.linalg.lstsq(np.concatenate([lhs, axis[None] * len(points)]), np.append(rhs, 0.0), rcond=None)[0]
    arm = points[0] - point
    turned = _about(axis, angle, arm) + point
    away = np.sqrt(np.mean(np.median(np.linalg.norm(turned - points, axis=2), axis=1) ** 2))
    center = np.median(points[0], axis=0) - point
    beside = np.linalg.norm(center - (center @ axis) * axis)
    return Hinge(
        axis, point, angle, float(away / size), float(beside / size), _free_edge(points, arm, axis, scenery) / size
    )


def _about(axis: Floats, angle: Floats, arm: Floats) -> Floats:
    """[T, n, 3] arms [n, 3] turned about an axis by angles [T] (Rodrigues)."""
    along = np.outer(arm @ axis, axis)
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return along + cosine * (arm - along) + sine * np.cross(axis, arm)


def _free_edge(points: Floats, arm: Floats, axis: Floats, scenery: Floats) -> Floats:
    """[T] median distance of the points furthest from the axis to the nearest scenery."""
    if not len(scenery):
        return np.full(len(points), np.nan)
    reach = np.linalg.norm(arm - np.outer(arm @ axis, axis), axis=1)
    edge = points[:, reach >= np.quantile(reach, OUTER)]
    away = cKDTree(scenery).query(edge.reshape(-1, 3))[0].reshape(edge.shape[:2])
    return np.median(away, axis=1)
