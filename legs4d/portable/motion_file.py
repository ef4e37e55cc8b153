"""A rigid motion of an object as a file: what Blender, other programs and a person's own scripts give and take.

    {"kind": "legs4d motion", "version": 1, "fps": 12.0, "object": "box", "pivot": [x, y, z],
     "frames": [{"move": [x, y, z], "turn": [w, x, y, z]}, …]}

In frame i a place p of the object at rest is at turn · (p - pivot) + pivot + move, in the run's axes and units; `turn`
is a unit quaternion. The first frame need not be at rest.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .turns import rotation_matrix

KIND, VERSION = "legs4d motion", 1
MOST_FRAMES = 1_000_000
MOST_FPS = 10_000.0
SMALLEST_TURN = 1e-6
"""Length below which a quaternion says no direction."""
_MEMBERS = {"kind", "version", "fps", "object", "pivot", "frames"}


class MotionFileError(ValueError):
    """The content is no motion; the message says why, for a sentence "FILE is no motion (WHY)"."""


@dataclass(frozen=True)
class MotionFile:
    """What a file says.

    Attributes:
        moves, turns: [T, 3] run units and [T, 4] unit quaternions wxyz, float64.
        pivot: [3] about which turns are written.
        fps: frames a second.
        name: of the object; may be empty.
    """

    moves: NDArray[np.float64]
    turns: NDArray[np.float64]
    pivot: NDArray[np.float64]
    fps: float
    name: str

    @property
    def matrices(self) -> NDArray[np.float64]:
        """[T, 4, 4] where a place of the object at rest is in each frame."""
        found = np.tile(np.eye(4), (len(self.turns), 1, 1))
        found[:, :3, :3] = rotation_matrix(self.turns)
        found[:, :3, 3] = self.moves + self.pivot - found[:, :3, :3] @ self.pivot
        return found


def write(motion: MotionFile) -> bytes:
    """The file's content."""
    told = {
        "kind": KIND,
        "version": VERSION,
        "fps": motion.fps,
        "object": motion.name,
        "pivot": motion.pivot.tolist(),
        "frames": [
            {"move": move, "turn": turn}
            for move, turn in zip(motion.moves.tolist(), motion.turns.tolist(), strict=True)
        ],
    }
    return json.dumps(told).encode()


def read(content: bytes) -> MotionFile:
    """Raises MotionFileError."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MotionFileError("it is not JSON") from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise MotionFileError(f'"kind" is not "{KIND}"')
    if told.get("version") != VERSION:
        raise MotionFileError(f'"version" is not {VERSION}')
    if unknown := sorted(set(told) - _MEMBERS):
        raise MotionFileError(f'"{unknown[0]}" is unknown')
    fps, name, frames = _numbers([told.get("fps")], 1, '"fps"')[0], told.get("object", ""), told.get("frames")
    if not 0 < fps <= MOST_FPS:
        raise MotionFileError(f'"fps" is not between 0 and {MOST_FPS:.0f}')
    if not isinstance(name, str):
        raise MotionFileError('"object" is no text')
    if not isinstance(frames, list) or not 0 < len(frames) <= MOST_FRAMES:
        raise MotionFileError(f'"frames" is no list of 1 to {MOST_FRAMES} frames')
    moves, turns = np.empty((len(frames), 3)), np.empty((len(frames), 4))
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or set(frame) != {"move", "turn"}:
            raise MotionFileError(f'frame {number} has something else than "move" and "turn"')
        moves[number] = _numbers(frame["move"], 3, f'"move" of frame {number}')
        turns[number] = _numbers(frame["turn"], 4, f'"turn" of frame {number}')
    size = np.linalg.norm(turns, axis=1, keepdims=True)
    if (size < SMALLEST_TURN).any():
        raise MotionFileError(f'"turn" of frame {int(np.flatnonzero(size < SMALLEST_TURN)[0])} is no quaternion')
    return MotionFile(moves, turns / size, np.array(_numbers(told.get("pivot"), 3, '"pivot"')), fps, name)


def _numbers(value: Any, count: int, what: str) -> list[float]:
    good = isinstance(value, list) and len(value) == count
    if not good or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value):
        raise MotionFileError(f"{what} is not {'a number' if count == 1 else f'{count} numbers'}")
    try:
        found = [float(x) for x in value]
    except OverflowError as error:
        raise MotionFileError(f"{what} is not finite") from error
    if not all(math.isfinite(x) for x in found):
        raise MotionFileError(f"{what} is not finite")
    return found
