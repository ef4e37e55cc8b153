"""3D Gaussians from .splat (antimatter15's viewer): 32 bytes each, no header, no view dependence.

Position and linear scales as float32, RGB and opacity as 8 bits, the rotation wxyz as 8 bits around 128.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .kinds import kind_of, size_of, unreadable, wrong_kind
from .splats import SplatFileError, Splats
from .values import SH_C0, empty, finish, make_valid

_ROW = np.dtype([("means", "<f4", 3), ("scales", "<f4", 3), ("color", "u1", 3), ("opacity", "u1"), ("quat", "u1", 4)])
_BLOCK = 1 << 14
AXES = "as trained: y down, as 3DGS has it"


def read_splat(path: Path) -> Splats:
    """Read a file whole; Gaussians with a number that is not finite or a negative scale are left out.

    Raises:
        SplatFileError: it cannot be such a file, is cut short, or holds no usable Gaussian.
    """
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            start = file.read(32)
            if kind_of(start) not in (None, "a JSON file", "a web page or XML file"):  # floats may begin like text
                raise wrong_kind(path, start, ".splat")
            if size % _ROW.itemsize:
                raise SplatFileError(
                    f"has {size} bytes, which are no whole number of Gaussians of {_ROW.itemsize} bytes",
                    where=str(path),
                    fix="copy or export it again",
                )
            file.seek(0)
            splats, usable = empty(size // _ROW.itemsize, 0), np.empty(size // _ROW.itemsize, bool)
            for first in range(0, len(splats), _BLOCK):
                rows = np.fromfile(file, _ROW, _BLOCK)
                part = slice(first, first + len(rows))
                splats.means[part] = rows["means"]
                splats.scales[part] = rows["scales"]
                splats.colors[part] = (rows["color"] / np.float32(255) - np.float32(0.5)) / np.float32(SH_C0)
                splats.opacities[part] = rows["opacity"] / np.float32(255)
                splats.quats[part] = rows["quat"].astype(np.float32) - 128
                usable[part] = make_valid(splats, part) & (rows["scales"] >= 0).all(axis=1)
    except OSError as error:
        raise unreadable(path, error) from error
    if usable.mean() < 0.5:
        raise SplatFileError(
            f"is no .splat file: {len(usable) - int(usable.sum())} of {len(usable)} rows of it are no Gaussians",
            where=str(path),
            fix="give it its right name, or export it again",
        )
    return finish(splats, usable, str(path), axes=AXES)
