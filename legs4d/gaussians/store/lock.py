"""One writer at a time."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from legs4d.errors import RunError
from legs4d.gaussians.store.files import clear_write_errors


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold `path` as a lock. The system lets go of it when its holder dies, so a dead writer's lock is free.

    Raises:
        RunError: another process (or another place in this one) holds it; the message names it.
    """
    with clear_write_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(descriptor):
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            raise RunError(
                f"is being written by {holder}", where=str(path.parent), fix="wait for it, or stop it, and try again"
            )
        with clear_write_errors(path):
            os.truncate(path, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # a byte past the text, which must stay readable
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
