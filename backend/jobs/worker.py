"""The process that does one job: `python -m backend.jobs.worker LOCK_FILE`, started by the server.

It reads JSON lines from its standard input ({"spec": …} first, then perhaps {"stop": true}), and writes JSON lines to
its standard output ({"progress": …}, and last {"ended": true}); how it ended is in the job's folder by then
(`OUTCOME_FILE`). Whatever else is printed goes to the job's log. When its standard input closes, the server is dead: it
then stops as if told to.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from backend.jobs.process import BUSY_EXIT, OUTCOME_FILE, be_modest, leave, load
from backend.service.errors import error_body
from backend.service.logs import LOG_FORMAT, LOG_TIME
from legs4d.errors import Legs4dError, RunError
from legs4d.gaussians.store.files import write_file
from legs4d.gaussians.store.lock import lock_file
from legs4d.progress import Progress, Stopped, duration

log = logging.getLogger("legs4d.worker")

NICENESS = 10
"""Jobs yield to the server, which answers prompts meanwhile."""
LOG_SECONDS = 15.0
"""Progress within a stage is written to the log this often."""
STOP_SECONDS = 60.0
"""A step may take this long after the server died; then the process ends at once."""


class Reporter:
    """Tells the server how far the job is."""

    def __init__(self, channel: IO[bytes]) -> None:
        self._channel = channel
        self._logged = 0.0
        self._stage = ""

    def tell(self, message: dict[str, Any]) -> None:
        """Send one message. A server that is gone does not hear it, and that does not matter."""
        try:
            self._channel.write(json.dumps(message).encode() + b"\n")
            self._channel.flush()
        except OSError:
            log.debug("nobody listens any more")

    def progress(self, progress: Progress) -> None:
        """Tell how far a stage is; the log hears of its beginning, its end, and now and then."""
        begins_or_ends = progress.stage != self._stage or progress.done == progress.total
        now = time.monotonic()
        if begins_or_ends or now - self._logged > LOG_SECONDS:
            self._logged, self._stage = now, progress.stage
            log.info("%s", progress_line(progress))
        values = asdict(progress)
        finite = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
        self.tell({"progress": finite})


def main(lock_path: str) -> int:
    """Do the job that standard input names; the exit code."""
    reporter = Reporter(_take_over_output())
    logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIME, level=logging.INFO, stream=sys.stderr)
    be_modest(NICENESS)
    stop = threading.Event()
    lock = Path(lock_path)
    with ExitStack() as held:
        try:
            held.enter_context(lock_file(lock))
        except RunError:
            return BUSY_EXIT
        line = sys.stdin.buffer.readline()
        if not line:  # the server died before it could say what to do
            return 0
        spec = json.loads(line)["spec"]
        threading.Thread(target=_listen, args=(stop,), name="server", daemon=True).start()
        log.info("process %d begins: %s", os.getpid(), spec["work"].rpartition(":")[2].replace("_", "-"))
        for name, value in spec.items():
            if value is not None and name != "work":
                log.info("  %s: %s", name, value if isinstance(value, str) else json.dumps(value))
        outcome = _work(spec, reporter, stop)
        write_file(lock.with_name(OUTCOME_FILE), json.dumps(outcome).encode())
        log.info("process %d ends: %s", os.getpid(), next(iter(outcome)))
        reporter.tell({"ended": True})
    return 0


def _work(spec: dict[str, Any], reporter: Reporter, stop: threading.Event) -> dict[str, Any]:
    """How it ended, for the outcome file."""
    try:
        result = load(spec["work"])(spec, reporter.progress, stop)
    except Stopped:
        log.info("stopped; goes on from here next time")
        return {"stopped": True}
    except Legs4dError as error:
        log.error("%s", error)
        return {"error": error_body(error)}
    except Exception as error:
        log.exception("the job failed")
        return {"error": error_body(error)}
    return {"done": result}


def _take_over_output() -> IO[bytes]:
    """Standard output for messages alone: what libraries print goes to the log instead."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel


def _listen(stop: threading.Event) -> None:
    """Until told to stop, or until there is nobody left to tell anything."""
    for line in sys.stdin.buffer:
        if json.loads(line).get("stop"):
            stop.set()
    log.warning("the server is gone: stopping after this step")
    stop.set()
    time.sleep(STOP_SECONDS)
    log.error("the step did not end")
    leave(1)


def progress_line(progress: Progress) -> str:
    """For a person: first frame 120/500, 3 min 20 s left, loss 0.0412."""
    parts = [f"{progress.stage.replace('_', ' ')} {progress.done}/{progress.total}"]
    if progress.seconds_left is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.loss is not None and math.isfinite(progress.loss):
        parts.append(f"loss {progress.loss:.4f}")
    return ", ".join(parts)


if __name__ == "__main__":
    leave(main(sys.argv[1]))  # all is said and on the disk
