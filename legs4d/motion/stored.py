"""What was recognised of a run's objects, in the run: `motion/` beside its `objects/`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.motion.recognise import Kind, recognise
from legs4d.motion.recognised import ACTIONS, Recognised
from legs4d.motion.tracks import tracks_of

GROUP = "motion"
VERSION = 6
"""Of this room's code: raise it when the same run gives other actions. The encoder's version counts it in, so that a
lift by older rules is told, and `--again` makes it anew."""


def note_motion(run: Run, kind_of: Callable[[int], Kind | None], extra: dict[str, Any]) -> Recognised | None:
    """Recognise what a run's objects do and keep that in it; the caller holds its lock. None where it has no objects.

    Args:
        kind_of: from an object's row to what its name says that it is.
        extra: JSON values to keep with it.
    """
    objects, tracks = read_objects(run), tracks_of(run)
    if objects is None or tracks is None:
        return None
    of_tracks = recognise(tracks, kind_of)
    found = Recognised(run.num_frames, len(objects))
    rows = np.array(tracks.rows, int)
    for action, sure in of_tracks.sure.items():
        found.sure[action] = np.zeros((run.num_frames, len(objects)))
        found.other[action] = np.full((run.num_frames, len(objects)), -1)
        found.sure[action][:, rows] = sure
        other = of_tracks.other[action]
        found.other[action][:, rows] = np.where(other >= 0, rows[np.maximum(other, 0)], -1)
    actions = [action for action in ACTIONS if action in found.sure]
    arrays: dict[str, NDArray[Any]] = {
        "sure": _stack([found.sure[action] for action in actions], found, np.float32),
        "other": _stack([found.other[action] for action in actions], found, np.int16),
    }
    run.write_attached(GROUP, arrays, {"actions": actions, **extra})
    return found


def read_motion(run: Run) -> tuple[Recognised, dict[str, Any]] | None:
    """(what was recognised, of all rows of the run's objects; `extra` of `note_motion`); None where nothing was."""
    stored = run.read_attached(GROUP)
    if stored is None:
        return None
    arrays, attributes = stored
    found = Recognised(arrays["sure"].shape[1], arrays["sure"].shape[2])
    for i, action in enumerate(attributes["actions"]):
        found.sure[action] = arrays["sure"][i].astype(np.float64)
        found.other[action] = arrays["other"][i].astype(np.int64)
    return found, attributes


def _stack(values: list[NDArray[Any]], found: Recognised, kind: type) -> NDArray[Any]:
    """[A, T, O], A = 0 where nothing happens."""
    return np.stack(values).astype(kind) if values else np.zeros((0, found.frames, found.count), kind)
