"""The add-on's end of the wire: a thread that owns the socket, and queues to and from Blender's main thread.

Nothing here knows Blender. `request` returns at once; what comes back is handed to callbacks by `pump`, which the
main thread calls often (a timer in Blender, a loop in tests). Arrays can be put to disk by a `sink` on the client's
own thread, so that large frames never wait for the main thread.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from .. import wire
from .conversation import RETRY_SECONDS, Conversation, Disconnected, Pending, Shared
from .types import Address, Failure, NoBackend, OnFailure, OnReceived, Received, Sink, State, Status

log = logging.getLogger(__name__)


class Client:
    """A connection that mends itself.

    Args:
        locate: called on the client's thread before each attempt; gives the address or raises NoBackend.
        version: the add-on's version, told to the backend.

    All methods are for the main thread.
    """

    def __init__(self, locate: Callable[[], Address], version: str) -> None:
        self._locate, self._shared = locate, Shared(version)
        self._wake = self._shared.context.socket(zmq.PAIR)
        self._wake.bind("inproc://wake")
        self._status = Status(State.OFF, "Not connected.")
        self._thread = threading.Thread(target=self._run, name="legs4d-client", daemon=True)
        self.server: Mapping[str, Any] = {}
        self.on_status: Callable[[Status], None] | None = None

    @property
    def status(self) -> Status:
        """State and sentence, as of the last `pump`."""
        return self._status

    def start(self) -> None:
        """Begin connecting."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection; requests under way fail at the last `pump`. Returns when the thread has ended."""
        self._shared.stopping.set()
        if self._thread.is_alive():
            self._nudge()
            self._thread.join()
        self._wake.close(0)
        self._shared.context.term()

    def request(
        self,
        kind: str,
        body: Mapping[str, Any] | None = None,
        *,
        on_reply: OnReceived | None = None,
        on_failure: OnFailure | None = None,
        on_event: OnReceived | None = None,
        sink: Sink | None = None,
    ) -> int:
        """Send a request; returns its id.

        `on_reply(reply)` or `on_failure(failure)` is called once, by `pump`, after every `on_event(event)`.
        `sink(message)` runs on the client's thread for messages with arrays, before they are announced; credit is
        given to a stream when its frame is through the sink. A request without a connection fails.
        """
        number = next(self._shared.ids)
        pending = Pending(kind, on_reply or _ignore_reply, on_failure or _ignore_failure, on_event, sink)
        self._send(number, kind, body or {}, {}, pending)
        return number

    def call(self, function: Callable[[], None]) -> None:
        """Have `pump` call this. For any thread."""
        self._shared.inbox.put(function)

    def send_piece(
        self, body: Mapping[str, Any], arrays: Mapping[str, Any], on_reply: OnReceived, on_failure: OnFailure
    ) -> None:
        """Ask `upload`; `on_reply` is called on the client's own thread, so that a piece waits for no `pump`.

        For the main thread, and from within such an `on_reply`.
        """
        pending = Pending(wire.Kind.UPLOAD, on_reply, on_failure, None, None, direct=True)
        waiting = (next(self._shared.ids), wire.Kind.UPLOAD, body, arrays, pending)
        if threading.current_thread() is self._thread:
            self._shared.outbox.put(waiting)  # it looks there when it is through with the message that it is at
        else:
            self._send(*waiting)

    def cancel(self, number: int) -> None:
        """End a request; its `on_failure` gets code "cancelled"."""
        self.request(wire.Kind.CANCEL, {"request": number})

    def aim(self, number: int, frame: int) -> None:
        """Ask a stream to send the frames around this one first."""
        self.request(wire.Kind.AIM, {"request": number, "around": frame})

    def pump(self, seconds: float = 0.01) -> bool:
        """Call what is due, for about that long; whether anything was."""
        deadline, busy = time.perf_counter() + seconds, False
        while True:
            try:
                call = self._shared.inbox.get_nowait()
            except queue.Empty:
                return busy
            call()
            busy = True
            if time.perf_counter() > deadline:
                return True

    def _send(
        self, number: int, kind: str, body: Mapping[str, Any], arrays: Mapping[str, Any], pending: Pending | None
    ) -> None:
        if self._wake.closed:  # what the last `pump` calls may ask for more
            if pending is not None:
                failure = Failure("lost", "The connection to the backend is closed.")
                self.call(lambda: pending.on_failure(failure))
            return
        self._shared.outbox.put((number, str(kind), body, arrays, pending))
        self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(zmq.Again):  # nobody listens yet, or a nudge is already waiting: both will look
            self._wake.send(b"", zmq.DONTWAIT)

    def _set_status(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            if self.on_status:
                self.on_status(status)

    def _greeted(self, server: Mapping[str, Any], status: Status) -> None:
        self.server = server
        self._set_status(status)

    # From here on: the client's thread.

    def _say(self, status: Status) -> None:
        self._shared.inbox.put(lambda: self._set_status(status))

    def _run(self) -> None:
        wake = self._shared.context.socket(zmq.PAIR)
        wake.connect("inproc://wake")
        self._say(Status(State.CONNECTING, "Connecting to the backend."))
        while not self._shared.stopping.is_set():
            pause = RETRY_SECONDS
            try:
                Conversation(self._shared, self._locate(), wake, self._greeted).hold()
            except NoBackend as absent:
                self._say(Status(State.LOST, str(absent)))
            except wire.WireError as damaged:
                self._say(Status(State.LOST, f"{damaged}."))
            except Disconnected as end:
                pause = end.pause
                self._say(end.status)
            except Exception as defect:  # the thread must outlive a defect, or every later request would wait forever
                log.exception("the client failed")
                self._say(Status(State.LOST, f"The connection failed ({defect}); connecting anew."))
            self._fail_all(Failure("lost", "The connection to the backend is gone."))
            self._wait(wake, pause)
        wake.close(0)
        self._say(Status(State.OFF, "Not connected."))

    def _wait(self, wake: zmq.Socket[bytes], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._shared.stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            if wake.poll(int(left * 1000) + 1):
                wake.recv()
            self._fail_all(Failure("lost", "No backend is connected."))

    def _fail_all(self, failure: Failure) -> None:
        waiting = list(self._shared.pending.values())
        self._shared.pending.clear()
        while not self._shared.outbox.empty():
            *_, pending = self._shared.outbox.get_nowait()
            if pending:
                waiting.append(pending)
        for pending in waiting:
            self._shared.inbox.put(functools.partial(pending.on_failure, failure))


def _ignore_reply(reply: Received) -> None:
    """For requests whose answer does not matter (credit, cancel)."""


def _ignore_failure(failure: Failure) -> None:
    """For requests whose failure shows elsewhere (the stream they steer)."""
