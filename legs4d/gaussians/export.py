"""A run as files that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.dynamic3dgs import export_dynamic3dgs
from legs4d.gaussians.files import clear_write_errors
from legs4d.gaussians.ply import write_ply
from legs4d.gaussians.store import Run


def export_ply(
    run: Run,
    folder: Path,
    frames: range,
    *,
    highlight: Callable[[int], NDArray[np.floating]] | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write `frame_000000.ply`, …, one per frame, and return their paths.

    Args:
        run: static and moving Gaussians are written together, static first.
        folder: made if need be.
        frames: which, counted from 0.
        highlight: gives [N+M] values 0..1 for a frame, written as the property `highlight`.
        on_frame: called after each frame with its number.

    Raises:
        RunError: a frame is not there, or a file cannot be written.
    """
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for frame in frames:
        path = folder / f"frame_{frame:06d}.ply"
        write_ply(path, run.frame(frame), highlight(frame) if highlight else None)
        paths.append(path)
        if on_frame:
            on_frame(frame)
    return paths


def export_npz(run: Run, folder: Path, frames: range) -> Path:
    """Write Dynamic3DGS's `params.npz` into a folder, made if need be, and return its path.

    Raises:
        RunError: see `export_dynamic3dgs`.
    """
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / "params.npz"
    export_dynamic3dgs(run, path, frames)
    return path
