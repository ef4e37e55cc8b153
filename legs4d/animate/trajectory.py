"""A motion as a file (`legs4d.portable.motion_file` has its layout) and as the matrices that are worked with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import quaternion
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.files import write_file
from legs4d.portable import motion_file
from legs4d.portable.motion_file import BendFile, MotionFile, MotionFileError


@dataclass(frozen=True)
class Trajectory:
    """Motions [T, 4, 4] of an object, frames a second, its name, the point [3] about which turns are written, and how
    it bends before (None: not at all)."""

    motions: NDArray[np.float64]
    fps: float
    name: str
    pivot: NDArray[np.float64]
    bend: BendFile | None = None


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write the file. Raises RunError where it cannot be written."""
    motions, pivot = trajectory.motions, trajectory.pivot
    moves = motions[:, :3, :3] @ pivot + motions[:, :3, 3] - pivot
    turns = np.stack([quaternion(motion) for motion in motions])
    told = MotionFile(moves, turns, pivot, trajectory.fps, trajectory.name, trajectory.bend)
    write_file(path, motion_file.write(told))


def read_trajectory(path: Path) -> Trajectory:
    """Read the file. Raises Legs4dError when it is missing or says something else."""
    where = str(path)
    try:
        told = motion_file.read(path.read_bytes())
    except OSError as error:
        raise Legs4dError(f"cannot be read ({error.strerror})", where=where, fix="name a motion's file") from error
    except MotionFileError as error:
        what = f"is no motion ({error})"
        raise Legs4dError(what, where=where, fix="see docs/animate.md for what it holds") from error
    return Trajectory(told.matrices, told.fps, told.name, told.pivot, told.bend)
