"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from typing import BinaryIO

from legs4d.errors import RunError, disk_is_full

TEMPORARY_PREFIX = ".tmp-"
"""Unfinished files start with this; whoever holds the run's lock may delete them."""


def write_file(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts`, one after the other, as the file `path`: by rename, and on the disk when this returns.

    Raises:
        RunError: the disk is full, or the folder cannot be written to. `path` is then as it was before.
    """
    with new_file(path) as file:
        for part in parts:
            file.write(part)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends without an error; see `write_file`."""
    writer = f"{socket.gethostname()}-{os.getpid()}-{get_ident()}"  # several may write the same file at once
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{writer}-{path.name}")
    with clear_write_errors(path):
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the error being raised says more than a failed clean-up would
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def forget_unfinished(folder: Path) -> None:
    """Delete what killed processes left of files that they were writing; for whoever alone writes in `folder` now."""
    for path in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` (new, renamed, deleted files) survive a power cut."""
    if os.name == "nt":  # Windows cannot open a folder, and needs no such step
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's write errors into a RunError that says what to do."""
    try:
        yield
    except OSError as error:
        if disk_is_full(error):
            raise RunError(
                "no space is left on this disk",
                where=str(path),
                fix="free some and run the same command again: what is finished is kept",
            ) from error
        reason = error.strerror or str(error)
        raise RunError(
            f"cannot be written ({reason})", where=str(path), fix="choose a folder that you may write to"
        ) from error
