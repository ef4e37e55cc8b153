"""From a capture's own axes to those of files whose format says which way is up: right-handed, +Y up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians

CAMERA_DOWN = (0.0, 1.0, 0.0)
"""Down where a run does not tell: the axes of an upright OpenCV camera, as 3DGS captures have them."""


def upright_turn(down: NDArray[np.floating]) -> NDArray[np.float64]:
    """[4] wxyz unit quaternion of the rotation that takes `down` [3] to -Y.

    For a capture whose +Y points down that is half a turn about x: what other exporters make of the same capture.
    """
    x, y, z = np.asarray(down, np.float64) / np.linalg.norm(down)
    # Shortest turn from `down` to +Y, about down × Y = (-z, 0, x); then half a turn about x.
    to_y = np.array([1 + y, -z, 0.0, x]) if y > -1 + 1e-9 else np.array([0.0, 1.0, 0.0, 0.0])
    return _multiply(np.array([0.0, 1.0, 0.0, 0.0]), to_y / np.linalg.norm(to_y))


def turned(gaussians: Gaussians, turn: NDArray[np.float64]) -> Gaussians:
    """Numpy Gaussians rotated about the origin by a quaternion [4] wxyz."""
    means = (gaussians.means @ rotation_matrix(turn).T).astype(np.float32)
    quats = _multiply(turn, gaussians.quats.astype(np.float64)).astype(np.float32)
    return gaussians.replace(means=means, quats=quats)


def rotation_matrix(quat: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] of a unit quaternion [4] wxyz."""
    w, x, y, z = quat
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _multiply(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
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
