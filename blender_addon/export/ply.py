"""3D Gaussians as binary .ply with the original 3DGS property names, and their highlight. Pure numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .gaussians import Gaussians

SMALLEST = 1e-6
"""Opacities stay this far from 0 and 1 and scales above 0, where logit and logarithm end."""

PROPERTIES = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "highlight"),
)


def write_ply(path: Path, gaussians: Gaussians) -> None:
    """Writes a file, replaced if it is there: logit opacities, log scales, rotations wxyz, as viewers expect them.

    Viewers that do not know the property `highlight` ignore it.
    """
    opacity = np.clip(gaussians.opacities[:, None].astype(np.float64), SMALLEST, 1 - SMALLEST)
    columns = (
        gaussians.positions,
        gaussians.dc,
        np.log(opacity / (1 - opacity)),
        np.log(np.maximum(gaussians.scales, SMALLEST)),
        gaussians.rotations,
        gaussians.highlight[:, None],
    )
    table = np.concatenate(columns, axis=1).astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in PROPERTIES]
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + table.tobytes())
