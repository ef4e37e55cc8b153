"""Motions of objects as keys, from files of `legs4d animate`; and what is animated here as such a file.

With W what takes the run's axes to the world where the object is at rest, a motion M of the file is shown by W · M.
What bends the object are nodes below it (`sequence.nodes`).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Quaternion

from ..layers import curves
from ..portable.motion_file import BendFile, MotionFile, MotionFileError, read, write
from ..portable.turns import multiply
from ..sequence import hanging, nodes
from ..sequence.sequence import Sequence, find

Array = np.ndarray[Any, Any]

REST = "legs4d_rest"
"""Custom property of a sequence's empty: the transform [16] that it had at rest, when a motion was put on it."""
GROUP = "4-LEGS motion"
"""Of the F-curves in the editors; keys of another group are the artist's, and the object is at rest where it is."""
_TURNED = ("rotation_euler", "rotation_axis_angle", "rotation_quaternion")
NODE_SIZE = 0.1
"""Of a node's empty, in mean distances of nodes from their middle."""
EVEN = 1e-4
"""Relative difference of lengths that counts as none."""


class MotionError(Exception):
    """Why it is not done, as a sentence."""


def load(path: Path) -> MotionFile:
    """Read a file. Raises MotionError."""
    try:
        return read(path.read_bytes())
    except OSError as error:
        raise MotionError(f"{path} cannot be read: {error.strerror}.") from error
    except MotionFileError as error:
        raise MotionError(f"{path.name} is no motion ({error}); choose a motion.json of `legs4d animate`.") from error


def apply(shown: Sequence, motion: MotionFile, start: float, step: float) -> None:
    """Key location and rotation of a sequence about the origin that it has, and nodes below it where the motion bends
    it, in the place of such keys and nodes.

    Args:
        start: scene frame of the motion's first frame.
        step: scene frames between two of its frames.

    Raises:
        MotionError: the object is driven or unevenly scaled; nothing was changed.
    """
    empty = shown.empty
    if any(curves.is_driven(empty, path, index) for path in ("location", *_TURNED) for index in range(4)):
        raise MotionError(f"'{empty.name}' is moved by drivers or strips; remove them first.")
    rest, inner = _rest(shown) or empty.matrix_basis.copy(), _array(hanging.inner(shown))
    whole = _array(rest)
    poses = [whole @ inner @ matrix @ np.linalg.inv(inner) for matrix in motion.matrices]
    if max(_unevenness(pose, whole) for pose in poses) > EVEN:
        raise MotionError(f"'{empty.name}' is scaled unevenly, so that turning would bend it; scale it evenly first.")
    for path in ("location", *_TURNED):
        for index in range(4):
            curves.remove(empty, path, index)
    empty.rotation_mode = "QUATERNION"  # between two keys it turns the shortest way
    places, turns = np.empty((len(poses), 3)), np.empty((len(poses), 4))
    last = Quaternion()
    for number, pose in enumerate(poses):
        empty.matrix_basis = Matrix(pose.tolist())
        turn: Quaternion = empty.rotation_quaternion.copy()
        turn.make_compatible(last)
        places[number], turns[number], last = empty.location[:], turn[:], turn
    frames = start + step * np.arange(len(poses))
    curves.write_poses(empty, frames, places, turns, GROUP)
    empty[REST] = whole.reshape(-1).tolist()
    _add_nodes(shown, motion.bend, frames)


def _add_nodes(shown: Sequence, bend: BendFile | None, frames: Array) -> None:
    collection = nodes.replace(shown, nodes.near(shown))
    if bend is None:
        bpy.data.collections.remove(collection)
        return
    shown.its.bound_at = shown.capture_frame(float(frames[0]))
    away = bend.rest - bend.rest.mean(axis=0)
    size = max(NODE_SIZE * float(np.linalg.norm(away, axis=1).mean()), 1e-3)
    for number, (place, course) in enumerate(zip(bend.rest, bend.bends.swapaxes(0, 1), strict=True)):
        made = nodes.add(shown, collection, nodes.NEAR, place, np.array([1.0, 0, 0, 0]), size)
        made.name = f"{shown.empty.name} node {number}"
        curves.write_poses(made, frames, course[:, :3], course[:, 3:], GROUP)


def untold(item: bpy.types.Object, shown: Sequence) -> str:
    """What of an object's motion a file does not hold, as a sentence; empty if it has all."""
    own = nodes.of_run(shown) if shown.empty == item else []
    return "What the run's own nodes bend is not in it." if nodes.are_used(shown, own) else ""


def export(scene: bpy.types.Scene, item: bpy.types.Object, shown: Sequence, path: Path) -> Generator[float, None, int]:
    """Write how an object moves over the scene's frames, in the axes of the run that `shown` plays.

    A frame a piece: yields the share of them that are done; how many there are in the end.

    It is at rest in the first frame, or where it was when a motion was put on it. Constraints, parents, drivers count.

    Raises:
        MotionError: it changes its size, or the file cannot be written.
    """
    first, now, subframe = scene.frame_start, scene.frame_current, scene.frame_subframe
    own = shown if shown.empty == item else None
    try:
        scene.frame_set(first)
        to_world = _array(shown.to_world)
        rest, origin = _array(_moving(item, own)), _array(item.matrix_world)[:3, 3]
        if own is not None and (stored := _rest(own)) is not None:
            above = _array(item.matrix_world) @ np.linalg.inv(_array(item.matrix_basis))
            origin = (above @ _array(stored))[:3, 3]
            rest = to_world = above @ _array(stored) @ _array(hanging.inner(own))
        moves, turns, bends = [], [], []
        bending = [] if own is None else nodes.near(own)
        pivot = (np.linalg.inv(to_world) @ [*origin, 1.0])[:3]
        for frame in range(first, scene.frame_end + 1):
            scene.frame_set(frame)
            went = _array(_moving(item, own)) @ np.linalg.inv(rest)
            change = np.linalg.inv(to_world) @ went @ to_world
            left, sizes, right = np.linalg.svd(change[:3, :3])
            if np.abs(sizes - 1).max() > 10 * EVEN or np.linalg.det(change[:3, :3]) < 0:
                raise MotionError(f"'{item.name}' changes its size or shape in frame {frame}; a motion only moves.")
            moves.append(change[:3, :3] @ pivot + change[:3, 3] - pivot)
            turns.append(Matrix((left @ right).tolist()).to_quaternion()[:])
            if own is not None and bending:
                bends.append(nodes.poses(own, bending, bpy.context.evaluated_depsgraph_get()))
            yield len(moves) / (scene.frame_end + 1 - first)
    finally:
        scene.frame_set(now, subframe=subframe)
    fps = scene.render.fps / scene.render.fps_base
    content = write(MotionFile(np.array(moves), np.array(turns), pivot, fps, item.name, _bend(bends)))
    try:
        path.write_bytes(content)
    except OSError as error:
        raise MotionError(f"{path} cannot be written: {error.strerror}.") from error
    return len(moves)


def axes_of(context: bpy.types.Context, item: bpy.types.Object) -> Sequence | None:
    """The sequence in whose run's axes an object's motion is told: itself or what it is below, else one that is
    selected with it, else those of the scene where all stand alike; None where it is not clear."""
    above: bpy.types.Object | None = item
    known = {one.empty: one for one in find(context.scene)}
    while above is not None:
        if above in known:
            return known[above]
        above = above.parent
    chosen = [one for one in known.values() if one.empty.select_get()] or list(known.values())
    places = [_array(one.to_world) for one in chosen]
    alike = chosen and all(np.abs(place - places[0]).max() < EVEN for place in places)
    return chosen[0] if alike else None


def _moving(item: bpy.types.Object, own: Sequence | None) -> Matrix:
    return item.matrix_world if own is None else own.to_world


def _bend(found: list[nodes.Poses]) -> BendFile | None:
    """What nodes do, frame after frame; None where they never bend."""
    if not any(one.are_moved for one in found):
        return None
    back = found[0].base[:, 3:] * [1, -1, -1, -1]
    bends = [np.column_stack((one.now[:, :3] - one.base[:, :3], multiply(one.now[:, 3:], back))) for one in found]
    return BendFile(found[0].base[:, :3], np.array(bends))


def _rest(shown: Sequence) -> Matrix | None:
    """Where it was when a motion was put on it, as long as that moves it."""
    stored: Any = shown.empty.get(REST)
    curve = curves.find(shown.empty, "location")
    if stored is None or curve is None or curve.group is None or curve.group.name != GROUP:
        return None
    values = list(stored)
    return Matrix([values[row : row + 4] for row in range(0, 16, 4)])


def _unevenness(pose: Array, rest: Array) -> float:
    """How far a pose is from one that location and rotation alone make of the rest."""
    change = pose[:3, :3] @ np.linalg.inv(rest[:3, :3])
    return float(np.abs(change.T @ change - np.eye(3)).max())


def _array(matrix: Matrix) -> Array:
    return np.array(matrix, np.float64)
