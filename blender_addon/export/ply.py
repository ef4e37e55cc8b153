"""3D Gaussians as binary .ply with the original 3DGS property names, and their highlight. Pure numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SMALLEST = 1e-6
"""Opacities stay this far from 0 and 1 and scales above 0, where logit and logarithm end."""

PROPERTIES = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "highlight"),
)


def write_ply(
    path: Path,
    position: NDArray[np.float32],
    radiance: NDArray[np.float32],
    scale: NDArray[np.float32],
    rotation: NDArray[np.float32],
    highlight: NDArray[np.float32],
) -> None:
    """Writes N Gaussians: logit opacities, log scales, rotations wxyz, as viewers expect them.

    Args:
        path: the file, replaced.
        position, scale: [N, 3], scene units.
        radiance: [N, 4] SH DC coefficients and opacity 0..1.
        rotation: [N, 4] wxyz.
        highlight: [N] 0..1; viewers that do not know it ignore it.
    """
    opacity = np.clip(radiance[:, 3:4].astype(np.float64), SMALLEST, 1 - SMALLEST)
    logit = np.log(opacity / (1 - opacity))
    columns = (position, radiance[:, :3], logit, np.log(np.maximum(scale, SMALLEST)), rotation, highlight[:, None])
    table = np.concatenate(columns, axis=1).astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in PROPERTIES]
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + table.tobytes())
