"""Which way is up in a run, and Gaussians stood upright for files whose format says so: right-handed, +Y up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.sh import rotate
from legs4d.gaussians.store import Run
from legs4d.portable.turns import multiply as _multiply
from legs4d.portable.turns import rotation_matrix, upright_turn
from legs4d.portable.up import CAMERA_UP, find_up

__all__ = ["rotation_matrix", "run_up", "turned", "upright_turn"]


def run_up(run: Run) -> NDArray[np.float64]:
    """[3] unit vector: up in a run's axes.

    What the run says (`info["up"]`); else, as runs of before say only the mean of their cameras' downward axes, what
    its cameras tell; else that mean; else as 3DGS captures have it, -Y.
    """
    if "up" in run.info:
        up = np.asarray(run.info["up"], np.float64)
    elif run.has_cameras:
        return find_up(run.cameras("train").world_to_camera)
    else:
        up = -np.asarray(run.info.get("down", np.negative(CAMERA_UP)), np.float64)
    return up / np.linalg.norm(up)


def turned(gaussians: Gaussians, turn: NDArray[np.float64]) -> Gaussians:
    """Numpy Gaussians rotated about the origin by a quaternion [4] wxyz, with their view dependence."""
    matrix = rotation_matrix(turn)
    changes = {
        "means": (gaussians.means @ matrix.T).astype(np.float32),
        "quats": _multiply(turn, gaussians.quats.astype(np.float64)).astype(np.float32),
    }
    rest = getattr(gaussians, "sh_rest", None)
    if rest is not None:
        changes["sh_rest"] = rotate(rest, matrix)
    return gaussians.replace(**changes)
