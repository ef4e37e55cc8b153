"""The process for work that needs torch and is answered in seconds: `python -m backend.compute.worker ENGINE`.

The server starts it when it is first needed and again when it has died, and gives it one task at a time over its
standard input; answers go to its standard output (`pipes`). It ends when its standard input closes.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import IO, Any

from backend import wire
from backend.jobs.pipes import read_parts, write_parts
from backend.jobs.process import be_modest, leave, load
from backend.runs.library import Arrays
from backend.service.errors import BackendError, error_body
from backend.service.logs import LOG_FORMAT, LOG_TIME
from backend.wire import Code, Kind, Message
from legs4d.errors import Legs4dError
from legs4d.progress import Progress, Stopped

log = logging.getLogger("legs4d.compute")

NICENESS = 5
"""Behind the server, which answers prompts; before the jobs, which have hours."""

CANCEL = "cancel"

Work = Callable[[dict[str, Any], "Context"], tuple[dict[str, Any], Arrays]]


@dataclass(frozen=True)
class Context:
    """What a task may use.

    Attributes:
        engine: "cpu" or "cuda", as legs4d's functions take it.
        stop: set when nobody wants the answer any more; a task looks at it at least every half second.
        progress: tells the client how far the task is.
    """

    engine: str
    stop: threading.Event
    progress: Callable[[Progress], None]


class Worker:
    """Reads tasks in one thread and does them in another, so that a task can be cancelled while it is done."""

    def __init__(self, source: IO[bytes], sink: IO[bytes], engine: str) -> None:
        self._source, self._sink, self._engine = source, sink, engine
        self._tasks: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._stops: dict[int, threading.Event] = {}

    def run(self) -> None:
        """Work until the server is gone, which ends the process."""
        threading.Thread(target=self._listen, name="server", daemon=True).start()
        while True:
            message = self._tasks.get()
            stop = self._stops[message.id]
            self._say(self._answer(message, stop))
            self._stops.pop(message.id, None)

    def _listen(self) -> None:
        while (parts := read_parts(self._source)) is not None:
            message = wire.unpack(parts)
            if message.kind == CANCEL:
                if stop := self._stops.get(message.id):
                    stop.set()
            else:
                self._stops[message.id] = threading.Event()
                self._tasks.put(message)
        leave(0)  # nobody is left to answer

    def _answer(self, message: Message, stop: threading.Event) -> list[wire.Buffer]:
        def progress(now: Progress) -> None:
            self._say(wire.pack(Message(Kind.PROGRESS, message.id, asdict(now))))

        try:
            work: Work = load(str(message.body["work"]))
            body, arrays = work(dict(message.body["params"]), Context(self._engine, stop, progress))
            return wire.pack(Message(Kind.OK, message.id, body, arrays))
        except Stopped:
            return wire.pack(
                Message(Kind.ERROR, message.id, dict(error_body(BackendError("stopped", code=Code.CANCELLED))))
            )
        except Exception as error:
            if not isinstance(error, Legs4dError | wire.WireError):
                log.exception("task %s failed", message.kind)
            return wire.pack(Message(Kind.ERROR, message.id, dict(error_body(error))))

    def _say(self, parts: list[wire.Buffer]) -> None:
        try:
            write_parts(self._sink, parts)
        except OSError:
            log.info("the server is gone")
            leave(0)


def main(engine: str) -> None:
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # standard output is for messages alone: what libraries print goes to the log
    logging.basicConfig(format=LOG_FORMAT, datefmt=LOG_TIME, level=logging.INFO, stream=sys.stderr)
    be_modest(NICENESS)
    Worker(sys.stdin.buffer, sink, engine).run()


if __name__ == "__main__":
    main(sys.argv[1])
