"""How the socket's thread and the working threads hand things to each other.

One thread owns the socket and all state of clients, calls and streams; the others only compute. They give their
results back as callbacks that the socket's thread runs, so that nothing here needs a lock.
"""

from __future__ import annotations

import logging
import queue
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("legs4d.backend")


class Loop:
    """Callbacks for the thread that polls; `post` may be called from any thread and from signal handlers."""

    def __init__(self) -> None:
        self._posted: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.setblocking(False)

    def fileno(self) -> int:
        """Readable when something was posted."""
        return self._woken.fileno()

    def wake_on_signals(self) -> None:
        """End the poll when a signal comes, so that its Python handler runs: the system may give the signal to another
        thread, and then nothing else would. For the main thread."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def post(self, callback: Callable[..., Any], *args: Any) -> None:
        """Have the polling thread call this soon."""
        self._posted.append((callback, args))
        try:
            self._waker.send(b"\0")
        except (BlockingIOError, InterruptedError):
            pass  # already awake: the pipe is full of wake-ups
        except OSError:
            log.debug("posted to a loop that is closed")

    def run_posted(self) -> None:
        """Call what was posted until now. A callback that fails is a defect: it is logged, the others still run."""
        try:
            while self._woken.recv(4096):
                pass
        except (BlockingIOError, InterruptedError):
            pass
        for _ in range(len(self._posted)):
            callback, args = self._posted.popleft()
            try:
                callback(*args)
            except Exception:
                log.exception("defect in a callback of the server")

    def close(self) -> None:
        self._waker.close()
        self._woken.close()


class Pool:
    """Threads that work off a queue, first come first served."""

    def __init__(self, name: str, threads: int, loop: Loop) -> None:
        self._loop = loop
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True) for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Run `work` in a thread, then `done(its result)` or `failed(its exception)` in the loop.

        `wanted` is asked in the thread just before: if False, nothing is done at all.
        """
        self._queue.put(_Task(work, done, failed, wanted))

    def close(self) -> None:
        """Let the threads end after what they are at; they are daemons and do not hold up the process."""
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            if not task.wanted():
                continue
            try:
                result = task.work()
            except Exception as error:  # handed to the request that wanted it
                self._loop.post(task.failed, error)
            else:
                self._loop.post(task.done, result)
                del result  # it may be tens of megabytes, and this thread may now wait for long
            del task


class _Task:
    __slots__ = ("done", "failed", "wanted", "work")

    def __init__(
        self,
        work: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        wanted: Callable[[], bool],
    ) -> None:
        self.work, self.done, self.failed, self.wanted = work, done, failed, wanted
