"""Rotations by quaternions (wxyz), and the one that stands a capture upright in files whose +Y is up."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = TypeVar("Float", bound=np.floating[Any])


def upright_turn(down: ArrayLike) -> NDArray[np.float64]:
    """[4] wxyz unit quaternion of the rotation that takes `down` [3] to -Y.

    For a capture whose +Y points down that is half a turn about x: what other exporters make of the same capture.
    """
    return multiply(np.array([0.0, 1.0, 0.0, 0.0]), turn_between(down, (0.0, 1.0, 0.0)))


def turn_between(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """[4] wxyz unit quaternion of the shortest rotation that takes the direction `first` [3] to `second` [3]."""
    a, b = (np.asarray(vector, np.float64) / np.linalg.norm(vector) for vector in (first, second))
    cosine = float(a @ b)
    if cosine > -1 + 1e-9:
        turn = np.array([1 + cosine, *np.cross(a, b)])
    else:  # any axis across will do: x, or y for what points along x
        across = np.cross(a, np.eye(3)[int(abs(a[0]) > 0.9)])
        turn = np.array([0.0, *np.cross(across, a)])
    return turn / np.linalg.norm(turn)


def rotation_matrix(quat: ArrayLike) -> NDArray[np.float64]:
    """[..., 3, 3] of unit quaternions [..., 4] wxyz."""
    w, x, y, z = np.moveaxis(np.asarray(quat, np.float64), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def multiply(first: NDArray[Float], second: NDArray[Float]) -> NDArray[Float]:
    """Hamilton product [..., 4] of wxyz quaternions."""
    w1, x1, y1, z1 = np.moveaxis(first, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(second, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )
