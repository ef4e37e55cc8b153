"""Named selections of a run's Gaussians: how much each belongs, and how that was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.names import plain_name
from legs4d.gaussians.store.run import Run

GROUP = "selections"
MOST_KEPT = 16
"""Changes of a selection that can be taken back."""


@dataclass(frozen=True)
class Selection:
    """How much Gaussians belong to something.

    Attributes:
        name: as its maker calls it, see `names.plain_name`.
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


def write_selection(run: Run, selection: Selection, *, keep: Selection | None = None) -> None:
    """Store a selection, in place of one of its name; the caller holds the run's lock.

    Args:
        keep: what it was before, so that `undone` can take it back; MOST_KEPT of these are kept.

    Raises:
        ValueError: its arrays do not fit the run.
        RunError: its name is none, see `names.plain_name`; it cannot be written.
    """
    plain_name(selection.name, "the selection", blank=False)
    expected = {"weights": (run.num_gaussians,), "loose": (run.num_frames, run.max_loose)}
    arrays = {}
    for name, shape in expected.items():
        values = getattr(selection, name)
        if values is None:
            continue
        if values.shape != shape:
            raise ValueError(f"{name}: shape {values.shape}, expected {shape}")
        arrays[name] = np.clip(values, 0, 1).astype(np.float16)
    earlier, made = [], []
    if keep is not None:
        found = run.read_attached(_place(keep.name))
        before, attributes = found if found is not None else ({}, {})
        made = [*attributes.get("earlier", []), keep.made][-MOST_KEPT:]
        earlier = [*before.get("earlier", []), _joined(keep)][-MOST_KEPT:]
    if earlier:
        arrays["earlier"] = np.stack(earlier).astype(np.float16)
    attributes = {"name": selection.name, "made": selection.made, "earlier": made}
    run.write_attached(_place(selection.name), arrays, attributes)


def undone(run: Run, name: str) -> Selection:
    """Store a selection as it was before its last change, and return that; the caller holds the run's lock.

    Raises:
        RunError: there is no such selection, or it is as it was first made.
    """
    selection = read_selection(run, name)
    found = run.read_attached(_place(name))
    assert found is not None
    arrays, attributes = found
    made = attributes.get("earlier", [])
    if not made:
        fix = "delete it by `legs4d segments RUN --delete NAME`, or make it anew"
        raise RunError(f"the selection {name!r} has no step to take back", where=str(run.path), fix=fix)
    ids, last = run.num_gaussians, arrays["earlier"][-1]
    loose = None if selection.loose is None else last[ids:].reshape(selection.loose.shape)
    before = Selection(selection.name, last[:ids], loose, made[-1])
    kept = {"weights": before.weights, **({} if loose is None else {"loose": loose})}
    if len(made) > 1:
        kept["earlier"] = arrays["earlier"][:-1]
    run.write_attached(_place(name), kept, {"name": before.name, "made": before.made, "earlier": made[:-1]})
    return before


def _joined(selection: Selection) -> NDArray[np.floating]:
    return (
        selection.weights if selection.loose is None else np.concatenate([selection.weights, selection.loose.ravel()])
    )


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
