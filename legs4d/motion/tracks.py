"""The objects of a run as points in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.motion.bodies import Floats, bodies, reach

MOST_POINTS = 5_000
"""Of an object, as many as tell what touches what."""
LASTS = 0.9
"""Of the longest life of an object's Gaussians, what the others' has to reach."""
MOST_SCENERY = 20_000
FLOOR_FRAMES = 24
"""That tell how low objects are."""
SOLID = 0.3
"""Opacity from which a Gaussian counts: fainter ones float about."""


@dataclass(frozen=True)
class Tracks:
    """O objects over T frames.

    Attributes:
        rows: O, each object's row in `gaussians.objects.Objects`.
        points: O arrays [T, n, 3], scene units: the same points of an object in every frame, n ≥ 4.
        visible: [T, O] bool, whether it is there.
        fps: frames a second.
        up: [3] unit vector.
        floor: height of the floor along `up`, scene units.
        scenery: [S, 3] points of what never moves, scene units; S may be 0.
    """

    rows: tuple[int, ...]
    points: tuple[Floats, ...]
    visible: NDArray[np.bool_]
    fps: float
    up: Floats
    floor: float
    scenery: Floats

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.visible)


def tracks_of(run: Run) -> Tracks | None:
    """The objects of a run that have Gaussians with identity; None where it has no objects told.

    Raises:
        RunError: the run cannot be read.
    """
    objects, marks = read_objects(run), run.object_ids(0)
    if objects is None or marks is None:
        return None
    still, moving = run.static(), run.num_static + run.num_dynamic
    marks = marks[:moving]
    opacity = np.concatenate([still.opacities, run.dynamic_opacities])
    solid = [np.flatnonzero((marks == row) & (opacity >= SOLID)) for row in range(len(objects))]
    lives = np.concatenate([np.full(run.num_static, run.num_frames), run.died - run.born + 1])
    # those that end early left their object, or their object ended
    chosen = [_some(some[lives[some] >= LASTS * lives[some].max(initial=0)], MOST_POINTS) for some in solid]
    rows = tuple(row for row, members in enumerate(chosen) if len(members) >= 4)
    tracks = [np.empty((run.num_frames, len(chosen[row]), 3)) for row in rows]
    for frame in range(run.num_frames):
        means = np.concatenate([still.means, run.moving(frame)["means"]])
        for track, row in zip(tracks, rows, strict=True):
            track[frame] = means[chosen[row]]
    up = run.up
    scenery = still.means[(marks[: run.num_static] < 0) & (still.opacities >= SOLID)].astype(np.float64)
    scenery = scenery[_some(np.arange(len(scenery)), MOST_SCENERY)]
    return Tracks(
        rows,
        tuple(tracks),
        objects.visible[:, list(rows)],
        float(run.info.get("fps") or 30.0),
        up,
        _floor(run, up, tracks),
        scenery,
    )


def _floor(run: Run, up: Floats, tracks: list[Floats]) -> float:
    """As low as anything is most of the time; where nothing stands there, as the reconstruction says."""
    lows, talls = [], []
    for track in tracks:
        some = track[_some(np.arange(len(track)), FLOOR_FRAMES)]
        low, high = reach(some, bodies(some), up).T
        lows.append(float(np.median(low)))
        talls.append(float(np.median(high - low)))
    lowest, tallest = min(lows, default=0.0), max(talls, default=0.0)
    down = run.info.get("down")
    if "floor" not in run.info or down is None or float(np.dot(down, up)) > -0.99:
        return lowest
    told = -float(run.info["floor"])
    return told if told < lowest - tallest / 2 else lowest


def _some(members: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Evenly spread ones where there are too many."""
    if len(members) <= most:
        return members
    return members[np.linspace(0, len(members) - 1, most).round().astype(int)]
