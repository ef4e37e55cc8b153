"""Work that needs torch and is answered in seconds, done in one process beside the server.

The server itself never imports torch. Everything here runs in the socket's thread; two threads per process move bytes.
"""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from backend import wire
from backend.compute.worker import CANCEL
from backend.jobs.pipes import read_parts, write_parts
from backend.jobs.process import engine_of, environment, how_it_ended, kill_group
from backend.service.clients import Call
from backend.service.errors import BackendError
from backend.service.loop import Loop
from backend.wire import Code, Kind, Message

log = logging.getLogger("legs4d.backend")

MAX_WAITING = 64
"""Tasks of all clients that wait; each is a person who waits."""
OBEY_SECONDS = 2.0
"""Time for a cancelled task to end before its process is killed."""
IDLE_SECONDS = 600.0
"""After so long without work the process is ended: it holds half a gigabyte, and memory of the GPU."""
LOG_FILE = "compute.log"


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        call: answered with what the work returns.
        work: "package.module:function", see `compute_worker.Work`.
        params: what msgpack can hold.
        key: a newer task of the same key takes the place of one that waits or is done; "" takes nobody's.
    """

    call: Call
    work: str
    params: dict[str, Any]
    key: str = ""


class Compute:
    """The queue of tasks and their process.

    Args:
        folder: for the process's log.
        device: "cpu" or "cuda:N".
    """

    def __init__(self, folder: Path, device: str, loop: Loop) -> None:
        self._folder, self._device, self._loop = folder, device, loop
        self._waiting: deque[Task] = deque()
        self._running: tuple[int, Task] | None = None
        self._process: _Process | None = None
        self._last_id = 0
        self._last_used = time.monotonic()

    def submit(self, task: Task) -> None:
        """Queue a task. Raises BackendError `busy` when too many wait."""
        for other in [self._running[1]] if self._running else []:
            self._supersede(other, task)
        for other in list(self._waiting):
            self._supersede(other, task)
        if len(self._waiting) >= MAX_WAITING:
            raise BackendError(f"{MAX_WAITING} pictures wait already", fix="try again later", code=Code.BUSY)
        self._waiting.append(task)
        self._go_on()

    def check_idle(self) -> None:
        """End a process that nobody has used for long."""
        if self._process and not self._running and time.monotonic() - self._last_used > IDLE_SECONDS:
            log.info("the computing process has nothing to do and ends")
            self._drop_process()

    def close(self) -> None:
        """End the process."""
        self._waiting.clear()
        self._drop_process()

    def _supersede(self, other: Task, newer: Task) -> None:
        if newer.key and other.key == newer.key and other.call.client is newer.call.client:
            other.call.fail(BackendError("a newer request took its place", code=Code.SUPERSEDED))

    def _go_on(self) -> None:
        """Start the next task that somebody still wants."""
        while self._running is None and self._waiting:
            task = self._waiting.popleft()
            if task.call.finished:
                continue
            try:
                process = self._process = self._process or self._start()
            except OSError as error:
                task.call.fail(BackendError(f"no process could be started ({error.strerror})", fix="free some memory"))
                continue
            self._last_id += 1
            self._running = number, _ = self._last_id, task
            process.send(Message(task.call.kind, number, {"work": task.work, "params": task.params}))
            task.call.at_end.append(partial(self._let_go, number))

    def _start(self) -> _Process:
        def heard(process: _Process, message: Message) -> None:
            self._loop.post(self._hear, process, message)

        def ended(process: _Process, code: int) -> None:
            self._loop.post(self._bury, process, code)

        process = _Process(self._folder / LOG_FILE, self._device, heard, ended)
        log.info("process %d computes on %s", process.pid, self._device)
        return process

    def _hear(self, process: _Process, message: Message) -> None:
        if process is not self._process or self._running is None or self._running[0] != message.id:
            return
        call = self._running[1].call
        if message.kind == Kind.PROGRESS:
            call.event(Kind.PROGRESS, {"job": "", "state": "running", "message": "", **message.body}, key="progress")
            return
        self._running, self._last_used = None, time.monotonic()
        if message.kind == Kind.OK:
            call.ok(message.body, message.arrays)
        else:
            body = message.body
            call.fail(BackendError(body["message"], fix=body["hint"], code=Code(body["code"])))
        self._go_on()

    def _bury(self, process: _Process, code: int) -> None:
        if process is not self._process:
            return
        self._process = None
        reason = how_it_ended(code)
        log.warning("the computing process %d %s", process.pid, reason)
        if self._running:
            _, task = self._running
            self._running = None
            task.call.fail(
                BackendError(
                    f"the computing process {reason}",
                    where=f"'{task.call.kind}'",
                    fix=f"{LOG_FILE} in the server's state folder says more; if memory ran out, ask for less",
                )
            )
        self._go_on()

    def _let_go(self, number: int) -> None:
        """The call of this task has ended: by its answer, or before."""
        if self._running is None or self._running[0] != number or self._process is None:
            return
        process = self._process
        process.send(Message(CANCEL, number))
        timer = threading.Timer(OBEY_SECONDS, self._loop.post, (self._insist, process, number))
        timer.daemon = True
        timer.start()

    def _insist(self, process: _Process, number: int) -> None:
        if self._running and self._running[0] == number and process is self._process:
            log.warning("a cancelled task does not end: its process is killed")
            kill_group(process.pid)

    def _drop_process(self) -> None:
        process, self._process, self._running = self._process, None, None
        if process:
            kill_group(process.pid)  # it holds nothing that could be lost


class _Process:
    """A started process, its pipes, and the threads that keep the socket's thread from waiting for them."""

    def __init__(
        self,
        log_file: Path,
        device: str,
        heard: Callable[[_Process, Message], None],
        ended: Callable[[_Process, int], None],
    ) -> None:
        with open(log_file, "ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "backend.compute.worker", engine_of(device)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                # Threads that wait for work must not spin: they stand beside Blender, which has work for the cores.
                env={"OMP_WAIT_POLICY": "passive"} | environment(device),
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="compute-tell", daemon=True).start()
        threading.Thread(target=self._listen, args=(heard, ended), name="compute-hear", daemon=True).start()

    def send(self, message: Message) -> None:
        """Give it a message soon."""
        self._outbox.put(message)

    def _write(self) -> None:
        pipe: IO[bytes] | None = self._popen.stdin
        assert pipe is not None
        try:
            while (message := self._outbox.get()) is not None:
                write_parts(pipe, wire.pack(message))
        except OSError:
            log.debug("the computing process ended before it could be told")

    def _listen(self, heard: Callable[[_Process, Message], None], ended: Callable[[_Process, int], None]) -> None:
        pipe = self._popen.stdout
        assert pipe is not None
        try:
            while (parts := read_parts(pipe)) is not None:
                heard(self, wire.unpack(parts))
                del parts  # a picture may be large, and the next may be long in coming
        except (ValueError, wire.WireError):
            log.exception("the computing process does not speak our language")
            kill_group(self.pid)
        code = self._popen.wait()
        self._outbox.put(None)
        ended(self, code)
