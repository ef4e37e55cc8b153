"""The server's end of a worker process: started, told to stop, listened to, and buried."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from backend.jobs.devices import CPU, Device
from legs4d.errors import RunError
from legs4d.gaussians.store.lock import lock_file

log = logging.getLogger("legs4d.backend")

LOCK_FILE = "worker.lock"
LOG_FILE = "log.txt"
OUTCOME_FILE = "outcome.json"
"""How the job's last process ended: {"done": result}, {"error": body} or {"stopped": true}. It is on the disk before
anything is said, so that what was done is known whoever dies next."""
BUSY_EXIT = 75
"""Exit code of a process that finds another one at work on its job."""
LONGEST_LINE = 1 << 20


class WorkerProcess:
    """A process that does one job. It ends by itself when this process dies: its standard input closes then.

    Args:
        folder: of the job; holds its log and the lock that tells whether a process works on it.
        spec: what to do, for `backend.jobs.worker`.
        device: the process sees no other; None for work that needs none.
        report: called in another thread with every message of the process.
        ended: called in another thread with the exit code (negative: killed by that signal), after the last message.
    """

    def __init__(
        self,
        folder: Path,
        spec: dict[str, Any],
        device: Device | None,
        report: Callable[[dict[str, Any]], None],
        ended: Callable[[int], None],
    ) -> None:
        name = device.name if device else CPU
        with open(folder / LOG_FILE, "ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "backend.jobs.worker", str(folder / LOCK_FILE)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment(name, device.threads if device else 1),
                start_new_session=True,  # Ctrl+C in the server's terminal is the server's alone
            )
        self.pid = self._process.pid
        self.deadline = float("inf")
        """When it must have ended, by time.monotonic()."""
        self._tell({"spec": {**spec, "engine": engine_of(name)}})
        threading.Thread(target=self._listen, args=(report, ended), name=f"worker-{self.pid}", daemon=True).start()

    def ask_to_stop(self, seconds: float) -> None:
        """Have it end after its present step, or be killed after so many seconds."""
        self.deadline = min(self.deadline, time.monotonic() + seconds)
        self._tell({"stop": True})

    def kill(self) -> None:
        """End it, and whatever it started, now."""
        kill_group(self.pid)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, within so many seconds."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError):
            log.debug("worker %d ended before it could be told", self.pid)

    def _listen(self, report: Callable[[dict[str, Any]], None], ended: Callable[[int], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as channel:
            while line := channel.readline(LONGEST_LINE):
                try:
                    message = json.loads(line)
                except ValueError:
                    log.warning("worker %d said something that is not a message: %r", self.pid, line[:200])
                else:
                    report(message)
        ended(self._process.wait())


def kill_group(pid: int) -> None:
    """End a worker process, and whatever it started."""
    with suppress(ProcessLookupError):  # it may have been faster
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGTERM)  # on Windows this ends it at once


def load(name: str) -> Callable[..., Any]:
    """The function that "package.module:function" names; for the process that calls it, as it may bring torch."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found


def be_modest(niceness: int) -> None:
    """Have this process yield the processor to the server, and be what the system ends when memory runs out."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    with suppress(OSError):  # not on Linux, or not allowed: then all processes are equal
        Path("/proc/self/oom_score_adj").write_text("500")


def leave(code: int) -> NoReturn:
    """End this process at once: taking torch apart would keep its device for a second, and a task may take long.

    What multiprocessing has named in the system is given back first (a library's lock, say), or Python's resource
    tracker would report it as leaked on the terminal.
    """
    logging.shutdown()
    if "multiprocessing.util" in sys.modules:
        sys.modules["multiprocessing.util"]._run_finalizers()
    os._exit(code)


def read_outcome(folder: Path) -> dict[str, Any]:
    """How the last process of the job in this folder ended; empty when it left no word."""
    try:
        outcome: dict[str, Any] = json.loads((folder / OUTCOME_FILE).read_bytes())
    except FileNotFoundError:
        return {}
    return outcome


def forget_outcome(folder: Path) -> None:
    """Make room for the outcome of the next process."""
    (folder / OUTCOME_FILE).unlink(missing_ok=True)


def lock_holder(path: Path) -> int | None:
    """The process that holds this lock file (0 if it has not said who it is), None if nobody does."""
    if not path.exists():
        return None
    try:
        with lock_file(path):
            return None
    except RunError:
        found = re.match(rb"process (\d+) ", path.read_bytes())
        return int(found.group(1)) if found else 0


def engine_of(device: str) -> str:
    """What legs4d's functions call this device, in a process that sees no other: "cpu" or "cuda"."""
    return "cpu" if device.startswith(CPU) else "cuda"


def environment(device: str, threads: int | None = None) -> dict[str, str]:
    """This process's, with the one device visible, and this very package importable.

    Args:
        threads: for computing; None for as many as there are cores.
    """
    package_home = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [package_home, inherited])),
        "PYTHONUNBUFFERED": "1",
        "CUDA_VISIBLE_DEVICES": _visible(device),
        **({"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}),
    }


def how_it_ended(code: int) -> str:
    """The end of a process, as a verb phrase; `code` as in Popen.returncode."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _visible(device: str) -> str:
    """CUDA_VISIBLE_DEVICES for a process that may use this device alone."""
    if device.startswith(CPU):
        return ""
    index = int(device.removeprefix("cuda:"))
    visible = [entry for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
    return visible[index].strip() if index < len(visible) else str(index)
