"""3D Gaussians as .ply, with the property names of the original 3DGS (Kerbl et al. 2023) that viewers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.files import write_file
from legs4d.gaussians.gaussians import Gaussians

SMALLEST_OPACITY = 1e-6
"""Opacities are kept this far from 0 and 1, where the logit is infinite."""

SMALLEST_SCALE = 1e-12
"""Scene units; keeps the logarithm finite."""

_NAMES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *("f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


def write_ply(path: Path, gaussians: Gaussians, highlight: NDArray[np.floating] | None = None) -> None:
    """Write one frame: log scales, logit opacities, SH DC colours, rotations wxyz, normals 0.

    Args:
        path: the file, replaced if it exists.
        gaussians: N numpy Gaussians.
        highlight: [N] 0..1, written as the property `highlight`, which viewers that do not know it ignore.

    Raises:
        RunError: the file cannot be written.
    """
    names = (*_NAMES, "highlight") if highlight is not None else _NAMES
    table = np.zeros((len(gaussians), len(names)), "<f4")
    opacities = np.clip(gaussians.opacities.astype(np.float64), SMALLEST_OPACITY, 1 - SMALLEST_OPACITY)
    table[:, 0:3] = gaussians.means
    table[:, 6:9] = gaussians.colors
    table[:, 9] = np.log(opacities / (1 - opacities))
    table[:, 10:13] = np.log(np.maximum(gaussians.scales, SMALLEST_SCALE))
    table[:, 13:17] = gaussians.quats
    if highlight is not None:
        table[:, 17] = highlight
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(gaussians)}"]
    header += [f"property float {name}" for name in names]
    write_file(path, "\n".join([*header, "end_header\n"]).encode(), table.tobytes())
