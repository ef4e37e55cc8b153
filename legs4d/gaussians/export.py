"""A run as files that other programs read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.dynamic3dgs import export_dynamic3dgs
from legs4d.gaussians.files import clear_write_errors
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.gltf_writer import write_glb
from legs4d.gaussians.ply import write_ply
from legs4d.gaussians.spz import write_spz
from legs4d.gaussians.store import Run
from legs4d.gaussians.upright import upright_turn
from legs4d.portable.splats import Splats
from legs4d.progress import OnProgress, StageReporter, StopSignal

FrameFormat = Literal["ply", "spz", "gltf"]
SUFFIXES: dict[FrameFormat, str] = {"ply": ".ply", "spz": ".spz", "gltf": ".glb"}


def export_frames(
    run: Run,
    folder: Path,
    frames: range,
    file_format: FrameFormat = "ply",
    *,
    highlight: Callable[[int], NDArray[np.floating]] | None = None,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
) -> list[Path]:
    """Write `frame_000000.ply` (.spz, .glb), …, one per frame, and return their paths.

    Args:
        run: static and moving Gaussians are written together, static first.
        folder: made if need be.
        frames: which, counted from 0.
        file_format: "ply" as trained; "spz" and "gltf" with +Y up, as these formats have it.
        highlight: gives [N+M] values 0..1 for a frame, written as the property `highlight` (gltf: `_HIGHLIGHT`).

    Raises:
        RunError: a frame is not there, `highlight` is given for "spz", which has no place for it, or a file cannot be
            written.
        Stopped: the stop signal is set; the files written so far are kept.
    """
    if highlight is not None and file_format == "spz":
        raise RunError(".spz has no place for a highlight", where="--prompt", fix="use --format ply or gltf")
    reporter = StageReporter("export", progress, stop)
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    turn = upright_turn(-run.up)
    paths = []
    for frame in frames:
        path = folder / f"frame_{frame:06d}{SUFFIXES[file_format]}"
        gaussians, amount = run.frame(frame), highlight(frame) if highlight else None
        if file_format == "ply":
            write_ply(path, gaussians, amount)
        elif file_format == "spz":
            write_spz(path, gaussians, turn)
        else:
            write_glb(path, as_splats(gaussians), turn, amount)
        paths.append(path)
        reporter.step(len(paths), len(frames))
    return paths


def as_splats(gaussians: Gaussians) -> Splats:
    """Numpy Gaussians as what files hold."""
    return Splats(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        gaussians.sh_rest,
    )


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
