"""Splat files as other programs write them, for tests of what is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement

COUNT = 40
Values = dict[str, NDArray[Any]]


def values(count: int = COUNT, seed: int = 0, rest: int = 0) -> Values:
    """Columns as 3DGS writes them."""
    chance = np.random.default_rng(seed)
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(rest)), "opacity"]
    names += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    return {name: chance.normal(size=count).astype("<f4") for name in names}


def write(path: Path, columns: Values) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.empty(len(columns["x"]), [(name, "<f4") for name in columns])
    for name, column in columns.items():
        rows[name] = column
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
    return path


def walk(folder: Path, frames: int = 4, step: float = 0.05, **changing: Any) -> Path:
    """A sequence whose Gaussians are the same ones, moving along x."""
    for frame in range(frames):
        columns = values()
        columns["x"] = columns["x"] + np.float32(step * frame)
        for name, by in changing.items():
            columns[name] = columns[name] + np.float32(by * frame)
        write(folder / f"frame_{frame}.ply", columns)
    return folder


def apart(folder: Path, counts: tuple[int, ...]) -> Path:
    """Frames that were made apart, of these counts."""
    for frame, count in enumerate(counts):
        write(folder / f"{frame:02}.ply", values(count, seed=frame))
    return folder
