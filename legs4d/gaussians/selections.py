"""Named selections of a run's Gaussians: how much each belongs, and how that was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.run import Run

GROUP = "selections"
LONGEST_NAME = 100
"""Characters; a name is also a folder's, in which each may take twelve."""


@dataclass(frozen=True)
class Selection:
    """How much Gaussians belong to something.

    Attributes:
        name: as its maker calls it; any text.
        weights: [N + M] 0..1, of those with an id.
        loose: [T, R] 0..1, of those without, by their rows; None where a run has none, or `made` says how to find them
            in each frame.
        made: JSON: clicks, boxes, prompt, scale, thresholds.
    """

    name: str
    weights: NDArray[np.floating]
    loose: NDArray[np.floating] | None = None
    made: dict[str, Any] = field(default_factory=dict)

    def frame(
        self, run: Run, frame: int, find: Callable[[int], NDArray[np.floating]] | None = None
    ) -> NDArray[np.float32]:
        """[count] 0..1 of all Gaussians of a frame, in the order of `Run.frame`.

        Args:
            find: evaluates `made` for the loose ones of a frame, where they are not stored; else they do not belong.
        """
        rows = run.count(frame) - run.num_gaussians
        if self.loose is not None:
            rest = self.loose[frame, :rows]
        else:
            rest = np.zeros(rows, np.float32) if find is None else find(frame)
        return np.concatenate([self.weights, rest]).astype(np.float32)


def write_selection(run: Run, selection: Selection) -> None:
    """Store a selection, in place of one of its name; the caller holds the run's lock.

    Raises:
        ValueError: its arrays do not fit the run.
        RunError: it has no name, or too long a one; it cannot be written.
    """
    if not selection.name.strip() or len(selection.name) > LONGEST_NAME:
        raise RunError(
            f"has {len(selection.name)} characters", where="the selection's name", fix=f"give 1 to {LONGEST_NAME}"
        )
    expected = {"weights": (run.num_gaussians,), "loose": (run.num_frames, run.max_loose)}
    arrays = {}
    for name, shape in expected.items():
        values = getattr(selection, name)
        if values is None:
            continue
        if values.shape != shape:
            raise ValueError(f"{name}: shape {values.shape}, expected {shape}")
        arrays[name] = np.clip(values, 0, 1).astype(np.float16)
    run.write_attached(_place(selection.name), arrays, {"name": selection.name, "made": selection.made})


def read_selection(run: Run, name: str) -> Selection:
    """The selection of this name. Raises RunError, which lists the names, where there is none."""
    found = run.read_attached(_place(name))
    if found is None:
        names = ", ".join(map(repr, selection_names(run))) or "none"
        raise RunError(f"has no selection {name!r}", where=str(run.path), fix=f"it has {names}")
    arrays, attributes = found
    return Selection(attributes["name"], arrays["weights"], arrays.get("loose"), attributes["made"])


def selection_names(run: Run) -> list[str]:
    """The names of all selections, sorted."""
    return sorted(unquote(folder) for folder in run.attached_names(GROUP))


def delete_selection(run: Run, name: str) -> None:
    """Delete the selection of this name. Raises RunError where there is none."""
    read_selection(run, name)
    run.delete_attached(_place(name))


def _place(name: str) -> str:
    """Where it lies. Every sign that a file system might mind is written as %XX; a name is never `.` or `..`."""
    return f"{GROUP}/{quote(name, safe='').replace('.', '%2E')}"
