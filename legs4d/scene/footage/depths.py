"""Measured depths beside pictures: `.npy` files of camera z, in the unit of the poses, 0 where nothing was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.footage.arrays import ARRAY_ERRORS

ENDS = 0.01
"""Of what was measured in a picture: where so many pixels share the largest depth, the sensor, or who wrote the file,
ended there (DyCheck's files are cut at 3 m), and what lies there lies anywhere behind."""


def read_depth(path: Path) -> NDArray[np.float32]:
    """[H, W] camera z > 0, 0 where it is not known: not finite, not above 0, or cut.

    Raises:
        DatasetError: the file is missing or damaged, or holds no table of numbers.
    """
    fix = "copy it again, or move the folder depth/ away"
    try:
        values = np.load(path, allow_pickle=False)
    except ARRAY_ERRORS as error:
        raise DatasetError(f"cannot be read as depths ({error})", where=str(path), fix=fix) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise DatasetError("holds no depths, which are numbers", where=str(path), fix=fix)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or not values.size:
        raise DatasetError(f"holds {values.shape}, not depths [H, W]", where=str(path), fix=fix)
    depth = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    known = depth > 0
    if known.any() and depth[known].min() < (farthest := depth.max()):
        ends = depth == farthest
        if ends.sum() > max(1, ENDS * known.sum()):
            depth[ends] = 0
    return depth
