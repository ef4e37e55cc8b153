"""What hangs on control nodes, moved as they move.

    x ↦ Σ_k w_k (R_k (x - p_k) + p_k + t_k)

(embedded deformation: Sumner, Schmid and Pauly 2007). Rotations turn by the mean of their nodes' turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .turns import multiply, rotation_matrix

Floats = NDArray[np.floating]
BINDINGS = 4
"""Nodes that a point follows at most."""
NEIGHBOURS = 3
"""Of a node, whose mean distance is the width of what it has a say in."""
APART = 1e-6
"""Of the largest width: nodes whose neighbours are nearer are in one place, and have that width."""
ROWS = 8192
"""Points at a time: their matrices stay in the processor's cache."""


def bound(points: Floats, nodes: Floats, most: int = BINDINGS) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Which nodes points follow: the nearest, the more the nearer, as softmax of -d² / 2 r² of each node's width r.

    Args:
        points: [N, 3]; nodes: [K, 3], K ≥ 1; most: to a point.

    Returns:
        index [N, B], the nearest first, and weight [N, B], which sums to 1; B is `most`, or K where that is less.
    """
    places, count = np.asarray(nodes, np.float32), min(most, len(nodes))
    between = np.sqrt(_squares(places, places))
    between.sort(axis=1)
    near = between[:, 1 : 1 + NEIGHBOURS]
    width = near.mean(axis=1) if near.shape[1] else np.ones(1, np.float32)
    largest = width.max() or np.float32(1)
    width = np.where(width <= APART * largest, largest, width)
    index, weight = np.empty((len(points), count), np.int32), np.empty((len(points), count), np.float32)
    for start in range(0, len(points), ROWS):
        rows = slice(start, start + ROWS)
        squares = _squares(np.asarray(points[rows], np.float32), places)
        chosen = np.argpartition(squares, count - 1, axis=1)[:, :count]
        far = np.take_along_axis(squares, chosen, axis=1)
        order = np.argsort(far, axis=1, kind="stable")
        chosen, far = np.take_along_axis(chosen, order, axis=1), np.take_along_axis(far, order, axis=1)
        exponent = -far / (2 * np.square(width[chosen]))
        share = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        index[rows], weight[rows] = chosen, share / share.sum(axis=1, keepdims=True)
    return index, weight


def follow(
    means: Floats, quats: Floats, index: NDArray[np.integer], weight: Floats, start: Floats, end: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(means [N, 3], quats [N, 4]) when their nodes go from the poses `start` to `end`.

    Args:
        means, quats: [N, 3], [N, 4] wxyz.
        index, weight: [N, B] nodes of each, and their weights, which sum to 1.
        start, end: [K, 7] position, then a unit quaternion wxyz.
    """
    turns = multiply(np.asarray(end[:, 3:], np.float64), np.asarray(start[:, 3:], np.float64) * [1, -1, -1, -1])
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    matrices = rotation_matrix(turns)
    offsets = end[:, :3] - np.einsum("kxy,ky->kx", matrices, np.asarray(start[:, :3], np.float64))
    table = np.concatenate([matrices.reshape(-1, 9), offsets, turns], axis=1).T.astype(np.float32, order="C")
    places, turned = np.empty((len(means), 3), np.float32), np.empty((len(means), 4), np.float32)
    for first in range(0, len(means), ROWS):
        rows = slice(first, first + ROWS)
        mixed = _mixed(table, index[rows], np.asarray(weight[rows], np.float32))
        x, y, z = np.asarray(means[rows], np.float32).T
        for axis in range(3):
            a, b, c = mixed[3 * axis : 3 * axis + 3]
            places[rows, axis] = a * x + b * y + c * z + mixed[9 + axis]
        turn, length = mixed[12:], np.sqrt(np.square(mixed[12:]).sum(axis=0))
        turn[0, length == 0] = 1.0  # of what hangs on none
        turn /= np.where(length == 0, np.float32(1), length)
        turned[rows] = multiply(turn.T, np.asarray(quats[rows], np.float32))
    return places, turned


def _mixed(table: NDArray[np.float32], index: NDArray[np.integer], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """[16, n] matrix, offset and turn of points, by the nodes [n, B] that they follow."""
    first = np.take(table, index[:, 0], axis=1, mode="wrap")
    mixed = first * weight[:, 0]
    for column in range(1, index.shape[1]):
        other = np.take(table, index[:, column], axis=1, mode="wrap")  # -1, of no weight, is none
        # Of the two quaternions of a turn the one on the side of the first.
        other[12:] *= np.where((other[12:] * first[12:]).sum(axis=0) < 0, np.float32(-1), np.float32(1))
        other *= weight[:, column]
        mixed += other
    return mixed


def _squares(points: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, K] squared distances; not by products: what is near would be lost in float32."""
    total = np.square(points[:, None, 0] - others[:, 0])
    for axis in (1, 2):
        total += np.square(points[:, None, axis] - others[:, axis])
    return total
