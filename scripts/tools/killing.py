"""Commands in processes of their own that SIGKILL may end, alone or with the server that works for them (Linux)."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SLOWEST = 120.0
"""Seconds after which a command counts as hanging."""
ROOT = Path(__file__).resolve().parents[2]
STATE = "state"
"""Folder of a server's state."""


def begin(command: tuple[str, ...], folder: Path, log: str = "log.txt") -> int:
    """Give a command in a folder; its process. Torch is loaded once, by this process."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        from legs4d.cli import app

        app(list(command), standalone_mode=True)
        code = 0
    except SystemExit as exited:
        code = exited.code if isinstance(exited.code, int) else 0 if exited.code is None else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(process: int, seconds: float) -> tuple[bool, int | None]:
    """Whether a process of `begin` has ended by then, and its exit code, None where a signal ended it."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return True, None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return False, None
        time.sleep(0.002)


def kill(process: int) -> int | None:
    """End a process of `begin`; its exit code where it was faster, else None."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    return wait(process, SLOWEST)[1]


def give(command: tuple[str, ...], folder: Path) -> int | None:
    """Give a command, and wait: its exit code, None where it hangs and was killed."""
    process = begin(command, folder)
    ended, code = wait(process, SLOWEST)
    return code if ended else kill(process)


def children(process: int) -> list[int]:
    """Living processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@dataclass
class Server:
    """A server of a folder, on its own state in it; begun on entering, ended on leaving."""

    folder: Path
    process: int = 0

    def __enter__(self) -> Server:
        self.begin()
        return self

    def __exit__(self, *unused: object) -> None:
        os.kill(self.process, signal.SIGTERM)
        if not wait(self.process, SLOWEST)[0]:
            kill(self.process)

    def begin(self) -> None:
        """Start it, unless it lives. Raises RuntimeError when it does not come up."""
        if self.process:
            return
        told = self.folder / STATE / "server.json"
        told.unlink(missing_ok=True)
        self.process = begin(("serve", "--root", ".", "--state-dir", STATE), self.folder, "server.txt")
        until = time.monotonic() + SLOWEST
        while not told.exists():
            if wait(self.process, 0.01)[0] or time.monotonic() > until:
                raise RuntimeError((self.folder / "server.txt").read_text()[-1000:])

    def strike(self, victim: str) -> bool:
        """Kill "server", "worker" (what the server has started) or "all" of that; whether anything was there."""
        workers = children(self.process)
        struck = [*([self.process] if victim != "worker" else []), *(workers if victim != "server" else [])]
        for process in struck:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if victim != "worker":
            wait(self.process, SLOWEST)
            self.process = 0
        return bool(struck)
