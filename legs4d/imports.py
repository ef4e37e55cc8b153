"""Results of the programs that legs4d follows, as runs, with the footage that they were made from if it is there."""

from __future__ import annotations

from pathlib import Path

from legs4d.context import QUIET, Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.footage import remember_footage
from legs4d.gaussians.store.run import Run
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence


def import_params(
    source: str | Path,
    out: str | Path,
    context: Context = QUIET,
    *,
    dataset: str | Path | None = None,
    scale: float = 1.0,
    fps: float = 30.0,
    again: bool | str = False,
) -> Run:
    """A result of Dynamic3DGS (`params.npz`) as a run; with its footage, one that can be rendered, judged and lifted.

    Args:
        fps: of the capture; the footage's own, if that is given.

    Raises:
        RunError: see `gaussians.dynamic3dgs.import_dynamic3dgs`.
        DatasetError: the footage cannot be used, or is not that of this result.
    """
    from legs4d.gaussians.dynamic3dgs import import_dynamic3dgs

    sequence = _footage(dataset, scale)
    run = import_dynamic3dgs(Path(source), Path(out), context, fps=fps, sequence=sequence, again=again)
    return _with_footage(run, sequence, scale)


def import_4legs(
    folder: str | Path,
    sequence: str,
    out: str | Path,
    context: Context = QUIET,
    *,
    autoencoder: str | Path | None = None,
    dataset: str | Path | None = None,
    scale: float = 1.0,
    fps: float = 30.0,
    linear: int | None = None,
    again: bool | str = False,
) -> Run:
    """A finished output folder of 4-LEGS as a run; see `language.legacy.import_4legs` for what is read and raised."""
    from legs4d.language.legacy import import_4legs as import_folder

    seen = _footage(dataset, scale)
    run = import_folder(
        folder,
        sequence,
        out,
        context,
        autoencoder=autoencoder,
        fps=fps,
        footage=seen,
        linear=linear,
        again=again,
    )
    return _with_footage(run, seen, scale)


def _footage(dataset: str | Path | None, scale: float) -> Sequence | None:
    if dataset is not None:
        return open_sequence(dataset, scale)
    if scale != 1:
        raise Legs4dError(
            "is of footage, and none is given", where="--scale", fix="give --dataset too, or leave it out"
        )
    return None


def _with_footage(run: Run, sequence: Sequence | None, scale: float) -> Run:
    """An imported run that knows its footage."""
    if sequence is not None:
        with run.lock():
            run.set_info(scale=scale)
            remember_footage(run, sequence)
    return run
