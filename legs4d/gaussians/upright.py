"""Gaussians stood upright for files whose format says so: right-handed, +Y up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.sh import rotate
from legs4d.portable.turns import multiply as _multiply
from legs4d.portable.turns import rotation_matrix, upright_turn

__all__ = ["rotation_matrix", "turned", "upright_turn"]


def turned(gaussians: Gaussians, turn: NDArray[np.float64]) -> Gaussians:
    """Numpy Gaussians rotated about the origin by a quaternion [4] wxyz, with their view dependence."""
    matrix = rotation_matrix(turn)
    changes = {
        "means": (gaussians.means @ matrix.T).astype(np.float32),
        "quats": _multiply(turn, gaussians.quats.astype(np.float64)).astype(np.float32),
    }
    if gaussians.sh_rest is not None:
        changes["sh_rest"] = rotate(gaussians.sh_rest, matrix)
    return gaussians.replace(**changes)
