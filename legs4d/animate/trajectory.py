"""A motion as a file: what Blender, other programs and a person's own scripts give and take.

    {"kind": "legs4d motion", "version": 1, "fps": 12.0, "object": "box", "pivot": [x, y, z],
     "frames": [{"move": [x, y, z], "turn": [w, x, y, z]}, …]}

In frame i a place p of the object at rest is at turn · (p - pivot) + pivot + move, in the run's axes and units; `turn`
is a unit quaternion. The first frame need not be at rest.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from legs4d.animate.motions import Motion, quaternion
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.files import write_file
from legs4d.portable.turns import rotation_matrix

KIND, VERSION = "legs4d motion", 1
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid")
    move: tuple[Number, Number, Number]
    turn: tuple[Number, Number, Number, Number]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["legs4d motion"]
    version: Literal[1]
    fps: Annotated[float, Field(gt=0, le=10_000)]
    object: str = ""
    pivot: tuple[Number, Number, Number]
    frames: Annotated[list[_Frame], Field(min_length=1, max_length=1_000_000)]


@dataclass(frozen=True)
class Trajectory:
    """Motions [T, 4, 4] of an object, frames a second, its name, and the point [3] about which turns are written."""

    motions: NDArray[np.float64]
    fps: float
    name: str
    pivot: NDArray[np.float64]


def write_trajectory(path: Path, trajectory: Trajectory) -> None:
    """Write the file. Raises RunError where it cannot be written."""
    write_file(path, json.dumps(told(trajectory)).encode())


def told(trajectory: Trajectory) -> dict[str, object]:
    """The file's content, JSON."""
    pivot = trajectory.pivot
    frames = [{"move": _move(motion, pivot), "turn": quaternion(motion).tolist()} for motion in trajectory.motions]
    return {
        "kind": KIND,
        "version": VERSION,
        "fps": trajectory.fps,
        "object": trajectory.name,
        "pivot": pivot.tolist(),
        "frames": frames,
    }


def _move(motion: Motion, pivot: NDArray[np.float64]) -> list[float]:
    return [float(x) for x in motion[:3, :3] @ pivot + motion[:3, 3] - pivot]


def read_trajectory(path: Path) -> Trajectory:
    """Read the file. Raises Legs4dError when it is missing or says something else."""
    where = str(path)
    try:
        content = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Legs4dError(f"cannot be read ({error.strerror})", where=where, fix="name a motion's file") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"is no motion ({place}: {first['msg']})"
        raise Legs4dError(what, where=where, fix="see docs/animate.md for what it holds") from error
    pivot = np.array(content.pivot)
    turns = np.array([frame.turn for frame in content.frames])
    size = np.linalg.norm(turns, axis=1, keepdims=True)
    if (size < 1e-6).any():
        what = f"has no turn in frame {int(np.flatnonzero(size < 1e-6)[0])}"
        raise Legs4dError(what, where=where, fix="write unit quaternions w, x, y, z; [1, 0, 0, 0] turns nothing")
    motions = np.tile(np.eye(4), (len(turns), 1, 1))
    motions[:, :3, :3] = rotation_matrix(turns / size)
    moves = np.array([frame.move for frame in content.frames])
    motions[:, :3, 3] = moves + pivot - motions[:, :3, :3] @ pivot
    return Trajectory(motions, content.fps, content.object, pivot)
