"""A fit that is going on, in the run folder: written by rename every half a minute, so that a kill costs no more."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.run import Run

FILE = "fit.npz"


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
