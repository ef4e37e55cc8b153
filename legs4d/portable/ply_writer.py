"""3D Gaussians as .ply, with the property names of the original 3DGS (Kerbl et al. 2023) that viewers read."""

from __future__ import annotations

import numpy as np

from .sh import COEFFICIENTS
from .splats import Splats
from .up import CAMERA_UP
from .values import SMALLEST_SCALE, logit

LARGEST_DEGREE = len(COEFFICIENTS) - 1


def ply_parts(splats: Splats, *, sh_degree: int | None = None, comments: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    """Header and rows of a binary file: log scales, logit opacities, rotations wxyz, normals 0; all float.

    Args:
        splats: `extra` is written after 3DGS's own properties, which viewers that do not know it ignore. An `up` other
            than 3DGS's convention and an `origin` are told in comments, which `read_ply` understands.
        sh_degree: 0 to 3: write as many SH coefficients, what is missing as zeros. Degree 3 makes the 62 properties
            (248 bytes) that some readers insist on. None: as many as there are.
        comments: further lines of the header.
    """
    count = COEFFICIENTS[splats.sh_degree if sh_degree is None else sh_degree]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{index}" for index in range(3 * count)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", *splats.extra]
    at = {name: column for column, name in enumerate(names)}
    table = np.zeros((len(splats), len(names)), "<f4")
    table[:, 0:3] = splats.means
    table[:, 6:9] = splats.colors
    if splats.sh_rest is not None and count:
        known = min(count, splats.sh_rest.shape[1])
        for channel in range(3):  # channel by channel, as 3DGS has it
            first = at["f_rest_0"] + channel * count
            table[:, first : first + known] = splats.sh_rest[:, :known, channel]
    table[:, at["opacity"]] = logit(splats.opacities)
    table[:, at["scale_0"] : at["scale_0"] + 3] = np.log(np.maximum(splats.scales, SMALLEST_SCALE))
    table[:, at["rot_0"] : at["rot_0"] + 4] = splats.quats
    for name, values in splats.extra.items():
        table[:, at[name]] = values
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in (*_where(splats), *comments))]
    lines += [f"element vertex {len(splats)}", *(f"property float {name}" for name in names), "end_header\n"]
    return "\n".join(lines).encode(), table.tobytes()


def _where(splats: Splats) -> list[str]:
    said = []
    if np.abs(np.subtract(splats.up, CAMERA_UP)).max() > 1e-6:
        said.append("up " + " ".join(f"{value:.9g}" for value in splats.up))
    if any(splats.origin):
        said.append("origin " + " ".join(f"{value:.17g}" for value in splats.origin))
    return said
