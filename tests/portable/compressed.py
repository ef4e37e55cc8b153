"""Packed .ply files written value by value from the format's description, for the tests of its reader."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BOUNDS = [f"{end}_{name}" for end in ("min", "max") for name in ("x", "y", "z")] + [
    f"{end}_scale_{name}" for end in ("min", "max") for name in ("x", "y", "z")
]
COLOR_BOUNDS = [f"{end}_{name}" for end in ("min", "max") for name in "rgb"]


def packed_ply(
    bounds: dict[str, NDArray[np.float32]],
    packed: dict[str, NDArray[np.uint32]],
    rest: NDArray[np.uint8] | None = None,
) -> bytes:
    """Chunks with these bounds, vertices of four integers, and [N, 3K] bytes of view dependence."""
    lines = ["ply", "format binary_little_endian 1.0", f"element chunk {len(next(iter(bounds.values())))}"]
    lines += [f"property float {name}" for name in bounds]
    lines += [f"element vertex {len(next(iter(packed.values())))}", *(f"property uint {name}" for name in packed)]
    if rest is not None:
        lines += [f"element sh {len(rest)}", *(f"property uchar f_rest_{index}" for index in range(rest.shape[1]))]
    body = np.stack(list(bounds.values()), axis=1).astype("<f4").tobytes()
    body += np.stack(list(packed.values()), axis=1).astype("<u4").tobytes()
    return "\n".join([*lines, "end_header\n"]).encode() + body + (b"" if rest is None else rest.tobytes())
