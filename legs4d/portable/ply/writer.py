"""3D Gaussians as .ply, with the property names of the original 3DGS (Kerbl et al. 2023) that viewers read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sh import COEFFICIENTS
from ..splats import Splats
from ..up import CAMERA_UP
from ..values import SMALLEST_SCALE, logit


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
    zeros = np.zeros(len(splats), np.float32)
    rest = np.zeros((len(splats), count, 3), np.float32)
    if splats.sh_rest is not None:
        known = min(count, splats.sh_rest.shape[1])
        rest[:, :known] = splats.sh_rest[:, :known]
    columns: dict[str, NDArray[Any]] = {name: splats.means[:, axis] for axis, name in enumerate("xyz")}
    columns |= {"nx": zeros, "ny": zeros, "nz": zeros}
    columns |= {f"f_dc_{channel}": splats.colors[:, channel] for channel in range(3)}
    # Channel by channel, as 3DGS has it.
    columns |= {f"f_rest_{index}": rest[:, index % count, index // count] for index in range(3 * count)}
    columns["opacity"] = logit(splats.opacities)
    log_scales = np.log(np.maximum(splats.scales, SMALLEST_SCALE))
    columns |= {f"scale_{axis}": log_scales[:, axis] for axis in range(3)}
    columns |= {f"rot_{part}": splats.quats[:, part] for part in range(4)}
    return table_parts({**columns, **splats.extra}, (*_where(splats), *comments))


def table_parts(columns: Mapping[str, NDArray[Any]], comments: tuple[str, ...] = ()) -> tuple[bytes, bytes]:
    """Header and rows of a binary file of vertices with any properties: name → [N] numbers, all written as float."""
    count = len(next(iter(columns.values())))
    table = np.empty((count, len(columns)), "<f4")
    for place, values in enumerate(columns.values()):
        table[:, place] = values
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in comments)]
    lines += [f"element vertex {count}", *(f"property float {name}" for name in columns), "end_header\n"]
    return "\n".join(lines).encode(), table.tobytes()


def _where(splats: Splats) -> list[str]:
    said = []
    if np.abs(np.subtract(splats.up, CAMERA_UP)).max() > 1e-6:
        said.append("up " + " ".join(f"{value:.9g}" for value in splats.up))
    if any(splats.origin):
        said.append("origin " + " ".join(f"{value:.17g}" for value in splats.origin))
    return said
