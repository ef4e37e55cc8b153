"""Points to start from that lie beside a dataset's cameras, in a `.ply` file of any program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.portable.ply.file import read_ply
from legs4d.portable.splats import SplatFileError
from legs4d.portable.values import SH_C0

Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]
"""Positions [N, 3], scene units; colours [N, 3] in 0..1; which are foreground [N]."""


def read_ply_points(path: Path) -> Points:
    """Points of a file, grey where it has no colours; none of them is known to be foreground.

    Raises:
        DatasetError: it is no such file, is cut short, or holds no point with finite coordinates.
    """
    try:
        found = read_ply(path)
    except SplatFileError as error:
        raise DatasetError(error.what, where=error.where, fix=error.fix) from error
    positions = found.means.astype(np.float64) + np.array(found.origin)
    colors = (0.5 + SH_C0 * found.colors.astype(np.float64)).clip(0, 1)
    return positions, colors, np.zeros(len(positions), np.bool_)
