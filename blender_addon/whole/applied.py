"""Object > Apply: Blender writes a transform into points, which frames replace; so it goes to where frames leave it be.

The points are taken back, and the transform becomes part of the cloud's parent inverse: the picture stays, and the
values of location, rotation and scale are cleared, as was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

Array = np.ndarray[Any, Any]

PROBES = 64
"""Points that are compared, evenly spread over a cloud."""
AS_WRITTEN = 1e-5
"""Of a cloud's extent: positions nearer than this to what was written are that."""


def probes(points: int) -> Array:
    """[P] numbers of the points to compare."""
    return np.unique(np.linspace(0, max(points - 1, 0), min(points, PROBES)).astype(int))


def take_back(child: bpy.types.Object, written: Callable[[Array], Array]) -> bool:
    """Undo what Apply did to a cloud's points; whether they have to be written again.

    Args:
        written: [P, 3] positions that were written for these points.
    """
    cloud: Any = child.data
    if not len(cloud.points):
        return False
    chosen = probes(len(cloud.points))
    data = cloud.attributes["position"].data
    few = chosen[:: max(len(chosen) // 4, 1)]
    expected = np.asarray(written(chosen), np.float64)
    extent = max(float(np.ptp(expected, axis=0).max()), 1e-6)
    places = np.isin(chosen, few)
    now = np.array([data[int(index)].vector for index in few], np.float64)
    if np.abs(now - expected[places]).max() <= AS_WRITTEN * extent + 1e-6 * np.abs(expected).max():
        return False
    now = np.array([data[int(index)].vector for index in chosen], np.float64)
    applied = _affine(expected, now, extent)
    if applied is None:
        return False  # points were moved one by one: no transform says that
    basis = np.array(child.matrix_basis, np.float64)
    inverse = np.array(child.matrix_parent_inverse, np.float64) @ basis @ applied @ np.linalg.inv(basis)
    child.matrix_parent_inverse = Matrix(inverse.tolist())
    return True


def _affine(before: Array, after: Array, extent: float) -> Array | None:
    """[4, 4] the transform that took points to where they are; None if there is none, or points do not tell it."""
    rows = np.column_stack((before, np.ones(len(before))))
    found, _, rank, _ = np.linalg.lstsq(rows, after, rcond=1e-6)
    size = max(extent, float(np.ptp(after, axis=0).max()))
    if rank < 4 or np.abs(rows @ found - after).max() > 1e-3 * size:
        return None
    matrix = np.eye(4)
    matrix[:3] = found.T
    return matrix
