"""A result that is made beside another one takes its place: whole, or not at all, whenever its maker is killed.

RUN/.again/          a run folder of its own, in which the new result grows; nobody but its maker looks there
RUN/.again/.ready    once this is there the new result counts: what is left to do is renaming, and whoever opens
                     the run does it
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from legs4d.errors import RunError
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, sync_folder, write_file
from legs4d.gaussians.store.lock import lock_file

REMADE = ".again"
"""Folder in a run in which it is made anew."""
_READY = ".ready"
_PARTS = ("run.zarr", "features", "footage.json", "run.json")
"""What a run consists of, in the order in which it is replaced: what says what is there comes last."""
NOTE = "again.json"
"""In RUN/.again: what is made there, and beside what. Written last, so that what has it is whole."""
_OLD = ".old-"

WAIT_SECONDS = 10.0
"""How long opening a run waits for another process that is renaming; it takes milliseconds."""


def publish(run: Path) -> None:
    """Let what is finished in RUN/.again take the place of what is in RUN; the caller holds the run's lock."""
    write_file(run / REMADE / _READY)
    _rename(run)


def settle(run: Path) -> bool:
    """Finish what a killed `publish` has begun; the caller holds the run's lock. Whether there was anything."""
    if not (run / REMADE / _READY).exists():
        return False
    _rename(run)
    return True


def settle_if_need_be(run: Path) -> None:
    """`settle`, for whoever opens a run without holding its lock.

    Raises:
        RunError: it cannot be done here, or another process takes too long over it.
    """
    ready = run / REMADE / _READY
    until = time.monotonic() + WAIT_SECONDS
    while ready.exists():
        try:
            with lock_file(run / ".lock"):
                settle(run)
        except RunError:
            if time.monotonic() > until or not ready.exists():
                raise
            time.sleep(0.02)


def _beside_parts(made: Path) -> list[str]:
    """What else its maker left there for people and later stages: reports, pictures, footage of its own."""
    names = {path.name for path in made.iterdir() if not path.name.startswith((".", TEMPORARY_PREFIX))}
    return sorted(names - {NOTE, *_PARTS})


def _rename(run: Path) -> None:
    made = run / REMADE
    with clear_write_errors(run):
        for name in (*_beside_parts(made), *_PARTS):
            new, now, old = made / name, run / name, made / f"{_OLD}{name}"
            if not new.exists():
                continue  # renamed before a kill, or never a part of this run
            if name != "run.json" and now.exists():
                now.rename(old)
            new.replace(now)
            sync_folder(run)
        # The mark goes with its folder, in one step; what is left of that is nobody's.
        leftover = run / f"{TEMPORARY_PREFIX}replaced"
        if leftover.exists():
            shutil.rmtree(leftover)
        made.rename(leftover)
        sync_folder(run)
        shutil.rmtree(leftover)
