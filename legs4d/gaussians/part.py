"""A part of a run in place of the whole: what selections leave of it, for whatever renders or exports runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.selections import Selection, read_selection
from legs4d.gaussians.store.run import Run

BELONGS = 0.5
"""Weight of a selection from which a Gaussian belongs to it."""


class RunPart(Run):
    """A run of which some Gaussians are left out. It is read alone: the run itself stays as it is.

    Args:
        run: the whole.
        only: names of selections; what belongs to one of them stays. None: all.
        without: names of selections whose Gaussians go.
        keep_places: whether those that go keep their places, with opacity 0, as what speaks of Gaussians by their
            places needs it (prompts); else they are not there at all.

    Raises:
        RunError: there is no such selection, or nothing would stay.
    """

    def __init__(
        self, run: Run, only: Sequence[str] = (), without: Sequence[str] = (), *, keep_places: bool = True
    ) -> None:
        super().__init__(run.path, _state(run))
        self.stages = run.stages
        self._whole, self.keep_places = run, keep_places
        kept = [read_selection(run, name) for name in only]
        gone = [read_selection(run, name) for name in without]
        self._ids = _belongs([one.weights for one in kept], run.num_gaussians, bool(kept))
        self._ids &= ~_belongs([one.weights for one in gone], run.num_gaussians, True)
        self._only, self._without = kept, gone
        if not self._ids.any() and not any(self._loose_kept(frame).any() for frame in run.available_frames()):
            names = ", ".join(map(repr, (*only, *without)))
            raise RunError(f"nothing stays of it ({names})", where=str(run.path), fix="choose other selections")

    def kept(self, frame: int) -> NDArray[np.bool_]:
        """[count] which Gaussians of a frame of the whole run stay."""
        return np.concatenate([self._ids, self._loose_kept(frame)])

    @property
    def num_static(self) -> int:
        whole = self._whole.num_static
        return whole if self.keep_places else int(self._ids[:whole].sum())

    @property
    def num_dynamic(self) -> int:
        return self._whole.num_dynamic if self.keep_places else int(self._ids[self._whole.num_static :].sum())

    def static(self) -> Gaussians:
        """As `Run.static`."""
        return self._part(self._whole.static(), self._ids[: self._whole.num_static])

    def dynamic(self, frame: int) -> Gaussians:
        """As `Run.dynamic`."""
        return self._part(self._whole.dynamic(frame), self._ids[self._whole.num_static :])

    def loose(self, frame: int) -> Gaussians:
        """As `Run.loose`."""
        return self._part(self._whole.loose(frame), self._loose_kept(frame))

    def moving(self, frame: int) -> dict[str, NDArray[np.float32]]:
        """As `Run.moving`; with `keep_places`, of those that go too."""
        whole = self._whole.moving(frame)
        if self.keep_places:
            return whole
        return {name: values[self._ids[self._whole.num_static :]] for name, values in whole.items()}

    def count(self, frame: int) -> int:
        """As `Run.count`."""
        return self._whole.count(frame) if self.keep_places else int(self.kept(frame).sum())

    def _part(self, gaussians: Gaussians, keep: NDArray[np.bool_]) -> Gaussians:
        if self.keep_places:
            return gaussians.replace(opacities=gaussians.opacities * keep)
        return gaussians.take(keep)

    def _loose_kept(self, frame: int) -> NDArray[np.bool_]:
        rows = self._whole.count(frame) - self._whole.num_gaussians
        parts = [[_loose_weights(one, frame, rows) for one in some] for some in (self._only, self._without)]
        return _belongs(parts[0], rows, bool(self._only)) & ~_belongs(parts[1], rows, True)


def part_of(
    run: Run, only: Sequence[str] | str | None, without: Sequence[str] | str | None, *, keep_places: bool
) -> Run:
    """A `RunPart` where selections are named, else the run itself."""
    names = [[one] if isinstance(one, str) else list(one or ()) for one in (only, without)]
    return RunPart(run, *names, keep_places=keep_places) if any(names) else run


def of_part(run: Run, values: Callable[[int], NDArray[Any]]) -> Callable[[int], NDArray[Any]]:
    """What tells [count] values of the whole run's frames, of those that stay in a part without places alone."""
    if not isinstance(run, RunPart) or run.keep_places:
        return values
    part = run
    return lambda frame: values(frame)[part.kept(frame)]


def _belongs(weights: Sequence[NDArray[np.floating]], count: int, chosen: bool) -> NDArray[np.bool_]:
    """[count] what belongs to any; all where nothing is chosen."""
    if not chosen:
        return np.ones(count, bool)
    found = np.zeros(count, bool)
    for one in weights:
        found |= np.asarray(one) >= BELONGS
    return found


def _loose_weights(selection: Selection, frame: int, rows: int) -> NDArray[np.floating]:
    return np.zeros(rows) if selection.loose is None else selection.loose[frame, :rows]


def _state(run: Run) -> dict[str, Any]:
    """What `Run` is opened from, of a run that is open."""
    state: dict[str, Any] = {"format": run.format, "info": run.info, "geometry_id": run.geometry_id, "stages": {}}
    if run.has_geometry:
        state["geometry"] = run._geometry
    return state
