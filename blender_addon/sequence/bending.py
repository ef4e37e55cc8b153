"""Points that control nodes bend: what is done to the nodes' empties is done to what hangs on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import names
from ..cache.frames import RunCache
from ..portable.bending import bound, follow
from ..portable.between import poses_between
from ..selection import mask
from .nodes import NEAR, Poses, changed

Array = np.ndarray[Any, Any]
Bound = tuple[Array | slice, Array, Array]
"""Rows of points [n], the nodes that they follow [n, B], and how much."""


class Bending:
    """Of a sequence; remembers what hangs on what."""

    def __init__(self, cache: RunCache) -> None:
        self._cache = cache
        self._run: _OfRun | None = None
        self._near: dict[str, tuple[int, Array, Array, Bound]] = {}

    def move(
        self, cloud: Any, position: Array, rotation: Array, poses: Poses, frame: int, share: float, bound_at: int
    ) -> None:
        """Bend the points that move, in place.

        Args:
            position, rotation: [M, 3], [M, 4] as captured at this moment.
            frame, share: the moment.
            bound_at: the capture frame in which points follow what is near them.
        """
        self._run = self._run or self._nodes()
        if self._run is not None:  # which an empty of another run may have got below, with a number that it lacks
            own = poses.of((poses.numbers != NEAR) & (poses.numbers < self._run.count))
            if own.are_moved:
                self._run.move(position, rotation, own, frame, share)
        near = poses.near
        if near.are_moved and self._cache.has_frame(bound_at):
            means = self._cache.frame(bound_at)["means"]
            _apply(self._bound("DYNAMIC", cloud, means, near, bound_at), position, rotation, near)

    def lacks(self, poses: Poses | None, bound_at: int) -> bool:
        """Whether that frame has not arrived, and nodes need it."""
        return poses is not None and not self._cache.has_frame(bound_at) and poses.near.are_moved

    def still(self, cloud: Any, poses: Poses) -> tuple[Array, Array]:
        """[N, 3], [N, 4] the points that do not move in the capture, bent."""
        constants, near = self._cache.static(), poses.near
        position, rotation = np.array(constants["means"], np.float32), np.array(constants["quats"], np.float32)
        if near.are_moved:
            _apply(self._bound("STATIC", cloud, position, near), position, rotation, near)
        return position, rotation

    def _nodes(self) -> _OfRun | None:
        table = self._cache.table("nodes")
        return _OfRun(table, self._cache.description.num_static) if table else None

    def _bound(self, role: str, cloud: Any, means: Array, poses: Poses, frame: int = 0) -> Bound:
        """What of a cloud hangs on nodes, as it is in a frame: all that was not deleted from it."""
        rows, rest = np.flatnonzero(~mask.read(cloud, names.DELETED)), poses.base[:, :3]
        known = self._near.get(role)
        if (
            known is None
            or known[0] != frame
            or not np.array_equal(known[1], rows)
            or not np.array_equal(known[2], rest)
        ):
            index, weight = bound(means[rows], rest)
            whole = slice(None) if len(rows) == len(means) else rows
            known = self._near[role] = frame, rows, rest, (whole, index.astype(np.intp), weight)
        return known[3]


class _OfRun:
    """By nodes of the run. Those without an empty follow the empties around them, and points their nodes.

    Args:
        table: `rest`, `pose`, `index`, `weight` of the run, of which the first points do not move.
    """

    def __init__(self, table: dict[str, Array], first: int) -> None:
        self._rest, self._pose = table["rest"], table["pose"]
        # numpy looks things up by its own integers, and would make them anew each time.
        self._index, self._weight = table["index"][first:].astype(np.intp), table["weight"][first:]
        self._empties: tuple[Array, tuple[Array, Array]] | None = None
        self._hanging: tuple[Array, Bound] | None = None

    @property
    def count(self) -> int:
        """Of the run's nodes."""
        return len(self._rest)

    def move(self, position: Array, rotation: Array, poses: Poses, frame: int, share: float) -> None:
        """Bend what hangs on nodes that are bent, in place."""
        captured = np.asarray(self._pose[frame], np.float64)
        if share:
            captured = poses_between(captured, self._pose[frame + 1], share)
        binding = self._followed(poses.numbers)
        bent = np.concatenate(follow(captured[:, :3], captured[:, 3:], *binding, poses.base, poses.now), axis=1)
        rows, index, weight = self._on(changed(captured, bent))
        position[rows], rotation[rows] = follow(position[rows], rotation[rows], index, weight, captured, bent)

    def _followed(self, numbers: Array) -> tuple[Array, Array]:
        """[K, B] which of the empties each node of the run follows, and how much: its own, where it has one."""
        if self._empties is None or not np.array_equal(self._empties[0], numbers):
            index, weight = bound(self._rest, self._rest[numbers])
            index[numbers, 0], weight[numbers] = np.arange(len(numbers)), 0
            weight[numbers, 0] = 1
            self._empties = numbers, (index, weight)
        return self._empties[1]

    def _on(self, moved: Array) -> Bound:
        """What hangs on these nodes, a mask [K]."""
        if self._hanging is None or not np.array_equal(self._hanging[0], moved):
            hangs = (moved[self._index] & (self._weight > 0)).any(axis=1)
            rows: Array | slice = slice(None) if hangs.all() else np.flatnonzero(hangs)
            self._hanging = moved, (rows, self._index[rows], self._weight[rows])
        return self._hanging[1]


def _apply(hanging: Bound, position: Array, rotation: Array, poses: Poses) -> None:
    rows, index, weight = hanging
    position[rows], rotation[rows] = follow(position[rows], rotation[rows], index, weight, poses.base, poses.now)
