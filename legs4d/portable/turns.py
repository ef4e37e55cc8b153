"""Rotations by quaternions (wxyz), and the one that stands a capture upright in files whose +Y is up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def upright_turn(down: ArrayLike) -> NDArray[np.float64]:
    """[4] wxyz unit quaternion of the rotation that takes `down` [3] to -Y.

    For a capture whose +Y points down that is half a turn about x: what other exporters make of the same capture.
    """
    vector = np.asarray(down, np.float64)
    x, y, z = vector / np.linalg.norm(vector)
    # Shortest turn from `down` to +Y, about down × Y = (-z, 0, x); then half a turn about x.
    to_y = np.array([1 + y, -z, 0.0, x]) if y > -1 + 1e-9 else np.array([0.0, 1.0, 0.0, 0.0])
    return multiply(np.array([0.0, 1.0, 0.0, 0.0]), to_y / np.linalg.norm(to_y))


def rotation_matrix(quat: ArrayLike) -> NDArray[np.float64]:
    """[3, 3] of a unit quaternion [4] wxyz."""
    w, x, y, z = np.asarray(quat, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def multiply(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
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
