"""A motion of an object as a file: what Blender, other programs and a person's own scripts give and take.

    {"kind": "legs4d motion", "version": 1, "fps": 12.0, "object": "box", "pivot": [x, y, z],
     "frames": [{"move": [x, y, z], "turn": [w, x, y, z]}, …]}

In frame i a place p of the object at rest is at turn · (p - pivot) + pivot + move, in the run's axes and units; `turn`
is a unit quaternion. The first frame need not be at rest.

One that bends is of version 2, with "nodes": [[x, y, z], …], K control nodes on the object at rest, and in each frame
"bend": [[x, y, z, w, x, y, z], …], shift and turn of each. They act before the motion of the whole, on what is around
them as `bending.bound` says: p ↦ Σ_k weight_k · (turn_k · (p - node_k) + node_k + shift_k).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .turns import rotation_matrix

KIND = "legs4d motion"
RIGID, BENDING = 1, 2
"""Versions: a file that does not bend is of the first, which everybody reads."""
MOST_FRAMES = 1_000_000
MOST_NODES = 10_000
MOST_FPS = 10_000.0
MOST = 1e12
"""Of any number, in size: the square of more is none in float32."""
SMALLEST_TURN = 1e-6
"""Length below which a quaternion says no direction."""
_MEMBERS = {"kind", "version", "fps", "object", "pivot", "frames"}
_OF_FRAME = {"move", "turn"}


class MotionFileError(ValueError):
    """The content is no motion; the message says why, for a sentence "FILE is no motion (WHY)"."""


@dataclass(frozen=True)
class BendFile:
    """How an object bends, before it is moved as a whole.

    Attributes:
        rest: [K, 3] nodes on the object at rest, run units.
        bends: [T, K, 7] shift and unit quaternion wxyz of each in each frame.
    """

    rest: NDArray[np.float64]
    bends: NDArray[np.float64]

    def poses(self, frame: int) -> NDArray[np.float64]:
        """[K, 7] where nodes are in a frame, and how they are turned."""
        found = self.bends[frame].copy()
        found[:, :3] += self.rest
        return found

    @property
    def at_rest(self) -> NDArray[np.float64]:
        """[K, 7] the poses that bend nothing."""
        return np.concatenate([self.rest, np.tile([1.0, 0, 0, 0], (len(self.rest), 1))], axis=1)


@dataclass(frozen=True)
class MotionFile:
    """What a file says.

    Attributes:
        moves, turns: [T, 3] run units and [T, 4] unit quaternions wxyz, float64.
        pivot: [3] about which turns are written.
        fps: frames a second.
        name: of the object; may be empty.
        bend: None where it moves as one.
    """

    moves: NDArray[np.float64]
    turns: NDArray[np.float64]
    pivot: NDArray[np.float64]
    fps: float
    name: str
    bend: BendFile | None = None

    @property
    def matrices(self) -> NDArray[np.float64]:
        """[T, 4, 4] where a place of the object at rest is in each frame."""
        found = np.tile(np.eye(4), (len(self.turns), 1, 1))
        found[:, :3, :3] = rotation_matrix(self.turns)
        found[:, :3, 3] = self.moves + self.pivot - found[:, :3, :3] @ self.pivot
        return found


def write(motion: MotionFile) -> bytes:
    """The file's content."""
    frames = [
        {"move": move, "turn": turn} for move, turn in zip(motion.moves.tolist(), motion.turns.tolist(), strict=True)
    ]
    told = {
        "kind": KIND,
        "version": RIGID if motion.bend is None else BENDING,
        "fps": motion.fps,
        "object": motion.name,
        "pivot": motion.pivot.tolist(),
        "frames": frames,
    }
    if motion.bend is not None:
        told["nodes"] = motion.bend.rest.tolist()
        for frame, bends in zip(frames, motion.bend.bends.tolist(), strict=True):
            frame["bend"] = bends
    return json.dumps(told).encode()


def read(content: bytes) -> MotionFile:
    """Raises MotionFileError."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MotionFileError("it is not JSON") from error
    if not isinstance(told, dict) or told.get("kind") != KIND:
        raise MotionFileError(f'"kind" is not "{KIND}"')
    version = told.get("version")
    if version not in (RIGID, BENDING):
        raise MotionFileError(f'"version" is not {RIGID} or {BENDING}')
    bends = version == BENDING
    if unknown := sorted(set(told) - _MEMBERS - ({"nodes"} if bends else set())):
        raise MotionFileError(f'"{unknown[0]}" is unknown')
    fps, name, frames = _numbers([told.get("fps")], 1, '"fps"')[0], told.get("object", ""), told.get("frames")
    if not 0 < fps <= MOST_FPS:
        raise MotionFileError(f'"fps" is not between 0 and {MOST_FPS:.0f}')
    if not isinstance(name, str):
        raise MotionFileError('"object" is no text')
    if not isinstance(frames, list) or not 0 < len(frames) <= MOST_FRAMES:
        raise MotionFileError(f'"frames" is no list of 1 to {MOST_FRAMES} frames')
    expected = _OF_FRAME | ({"bend"} if bends else set())
    moves, turns = np.empty((len(frames), 3)), np.empty((len(frames), 4))
    for number, frame in enumerate(frames):
        if not isinstance(frame, dict) or set(frame) != expected:
            listed = " and ".join(f'"{one}"' for one in sorted(expected, reverse=True))
            raise MotionFileError(f"frame {number} has something else than {listed}")
        moves[number] = _numbers(frame["move"], 3, f'"move" of frame {number}')
        turns[number] = _numbers(frame["turn"], 4, f'"turn" of frame {number}')
    pivot = np.array(_numbers(told.get("pivot"), 3, '"pivot"'))
    bend = _bend(told.get("nodes"), [frame["bend"] for frame in frames]) if bends else None
    return MotionFile(moves, _unit(turns, '"turn"'), pivot, fps, name, bend)


def _bend(nodes: Any, frames: list[Any]) -> BendFile:
    if not isinstance(nodes, list) or not 0 < len(nodes) <= MOST_NODES:
        raise MotionFileError(f'"nodes" is no list of 1 to {MOST_NODES} places')
    rest = np.array([_numbers(one, 3, f'"nodes" number {number}') for number, one in enumerate(nodes)])
    bends = np.empty((len(frames), len(nodes), 7))
    for number, frame in enumerate(frames):
        what = f'"bend" of frame {number}'
        if not isinstance(frame, list) or len(frame) != len(nodes):
            raise MotionFileError(f"{what} is not of {len(nodes)} nodes")
        bends[number] = [_numbers(one, 7, what) for one in frame]
        bends[number, :, 3:] = _unit(bends[number, :, 3:], what)
    return BendFile(rest, bends)


def _unit(turns: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """[N, 4] of length 1."""
    size = np.linalg.norm(turns, axis=1, keepdims=True)
    if (size < SMALLEST_TURN).any():
        at = f" of frame {int(np.flatnonzero(size < SMALLEST_TURN)[0])}" if what == '"turn"' else ""
        raise MotionFileError(f"{what}{at} is no quaternion")
    return turns / size


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
    if any(abs(x) > MOST for x in found):
        raise MotionFileError(f"{what} is beyond {MOST:.0e}")
    return found
