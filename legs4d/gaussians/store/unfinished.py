"""A fit that is going on, in the run folder: written by rename every half a minute, so that a kill costs no more."""

from __future__ import annotations

import io
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.run import Run
from legs4d.progress import StageReporter

FILE = "fit.npz"
KEEP_EVERY = 15.0
"""Seconds after which a fit that is going on is kept."""


class Resumable(Protocol):
    """A fit of `total` steps, of which `done` are done; `loss` is that of the last one, if it was done here."""

    done: int
    loss: Any

    @property
    def total(self) -> int: ...

    def advance(self) -> None:
        """Do a step, or several."""

    def state(self) -> dict[str, NDArray[Any]]:
        """All that the next step depends on."""

    def load(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from what `state` gave."""


def finish(
    fit: Resumable,
    run: Run,
    fingerprint: str,
    reporter: StageReporter,
    name: str = FILE,
    *,
    every: float = KEEP_EVERY,
    after: int = 0,
) -> None:
    """All steps of a fit, or those that are left of the same one. Its state stays until `forget`.

    Args:
        fingerprint: of all that the fit is made from.
        name: of the file in the run folder; every: seconds after which it is written.
        after: steps of something else that `reporter` tells of afterwards.

    Raises:
        Stopped: the stop signal is set; what is fitted so far is kept.
    """
    state = kept(run, fingerprint, name)
    if state is not None:
        fit.load(state)
    of, last, went_on_from = fit.total + after, time.monotonic(), fit.done
    try:
        while fit.done < fit.total:
            reporter.step(fit.done, of, fit.loss if fit.done > went_on_from else None)
            fit.advance()
            if time.monotonic() - last > every:
                keep(run, fingerprint, fit.state(), name)
                run.note_time()
                last = time.monotonic()
    finally:
        if fit.done > 0:
            keep(run, fingerprint, fit.state(), name)
    reporter.step(fit.total, of, fit.loss if fit.done > went_on_from else None)


def keep(run: Run, fingerprint: str, state: dict[str, NDArray[np.generic]], name: str = FILE) -> None:
    """Write the state of a fit, with what it is made from, as a file of the run folder."""
    buffer = io.BytesIO()
    np.savez(buffer, fingerprint=np.array(fingerprint), **state)  # type: ignore[arg-type]
    write_file(run.path / name, buffer.getvalue())


def kept(run: Run, fingerprint: str, name: str = FILE) -> dict[str, NDArray[np.generic]] | None:
    """What was kept of the same fit; None where there is nothing, or of another fit."""
    path = run.path / name
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["fingerprint"]) != fingerprint:
                return None
            return {array: file[array] for array in file.files if array != "fingerprint"}
    except (OSError, ValueError, KeyError) as error:
        fix = "delete this file: the fit then begins anew"
        raise RunError(f"cannot be read ({error})", where=str(path), fix=fix) from error


def forget(run: Run, name: str = FILE) -> None:
    """Delete what was kept."""
    (run.path / name).unlink(missing_ok=True)
