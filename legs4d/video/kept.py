"""What a stage has made, in the run folder: it is not made again, and a stopped one goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.store.files import clear_write_errors
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.unfinished import Resumable, finish, forget, keep, kept
from legs4d.progress import StageReporter

FOLDER = "video"
"""In the run: results of the stages, pictures of them, the report, the footage as a dataset."""

State = dict[str, NDArray[Any]]


class Kept:
    """Results of stages, by name.

    Args:
        fingerprint: of all that they are made from.
    """

    def __init__(self, run: Run, fingerprint: str) -> None:
        self._run, self._fingerprint = run, fingerprint
        with clear_write_errors(self.folder):
            self.folder.mkdir(exist_ok=True)

    @property
    def folder(self) -> Path:
        return self._run.path / FOLDER

    def read(self, name: str) -> State | None:
        """What was kept of it; None where nothing was, or of something else."""
        found = kept(self._run, self._fingerprint, f"{FOLDER}/{name}.npz")
        return None if found is None else dict(found)

    def write(self, name: str, state: State) -> None:
        """Keep it; by rename."""
        keep(self._run, self._fingerprint, state, f"{FOLDER}/{name}.npz")

    def finish(self, name: str, fit: Resumable, reporter: StageReporter, after: int = 0) -> None:
        """All steps of a fit, or those that are left; see `store.unfinished.finish`."""
        finish(fit, self._run, self._fingerprint, reporter, f"{FOLDER}/{name}.npz", after=after)

    def forget(self, name: str) -> None:
        forget(self._run, f"{FOLDER}/{name}.npz")


def seconds_of(state: State) -> float:
    """How long a stage took."""
    return float(state["seconds"])


def with_seconds(state: State, seconds: float) -> State:
    return {**state, "seconds": np.array(seconds)}
