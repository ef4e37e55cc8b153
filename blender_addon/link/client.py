"""The add-on's end of the wire: a thread that owns the socket, and queues to and from Blender's main thread.

Nothing here knows Blender. `request` returns at once; what comes back is handed to callbacks by `pump`, which the
main thread calls often (a timer in Blender, a loop in tests). Arrays can be put to disk by a `sink` on the client's
own thread, so that large frames never wait for the main thread.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from .. import wire

log = logging.getLogger(__name__)

HELLO_SECONDS = 3.0
"""How long a backend may take to answer `hello` before it counts as absent."""
RETRY_SECONDS = 1.0
REFUSED_RETRY_SECONDS = 5.0
HEARTBEAT_MS = 2000
"""A peer silent for three of these is gone, even if its connection stands (a pulled cable, a stopped machine)."""

NOT_LET_IN = (
    "The backend does not let this Blender in: have its keeper run 'legs4d keys authorize' with the public key that "
    "the preferences show, and check the server's key there."
)
OTHER_LANGUAGE = "What answers there asks for keys, or is no 4-LEGS backend; check the address and the server's key."


class State(Enum):
    """Where the connection stands."""

    OFF = "off"
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"
    """Nobody answers; the client keeps trying."""
    REFUSED = "refused"
    """Somebody answers, but not us: another version or a wrong token; the client keeps trying, slowly."""


@dataclass(frozen=True)
class Status:
    """State and one sentence for the panel."""

    state: State
    sentence: str


@dataclass(frozen=True)
class Address:
    """Where a backend listens, and what it asks for.

    Attributes:
        token: of a backend on this machine; others look at the keys.
        server_key: its public CURVE key; empty speaks in the clear, which is for this machine only.
        keys: our pair, where there is a `server_key`.
    """

    endpoint: str
    token: str
    server_key: str = ""
    keys: wire.CurveKeys | None = None


@dataclass(frozen=True)
class Failure:
    """Why a request was not answered.

    Attributes:
        code: a `wire.Code`, or "lost" (no connection), or "local" (this side could not store what came).
        sentence: for the panel.
    """

    code: str
    sentence: str


class NoBackend(Exception):
    """No address is known; the message is one sentence for the panel."""


@dataclass
class Received:
    """A reply to a request, or an event before it.

    Attributes:
        kind: "ok", "answer", "frame", "progress" or "log".
        body: as in backend/README.md.
        arrays: views of the received buffers; empty when a sink took them.
        stored: what the sink returned.
    """

    kind: str
    body: Mapping[str, Any]
    arrays: Mapping[str, Any]
    stored: Any = None


OnReceived = Callable[[Received], None]
_Waiting = tuple[int, str, Mapping[str, Any], Mapping[str, Any], "_Pending | None"]
"""Number, kind, body, arrays and callbacks of a request that is not sent yet."""
OnFailure = Callable[[Failure], None]
Sink = Callable[[wire.Message], Any]


@dataclass
class _Pending:
    kind: str
    on_reply: OnReceived
    on_failure: OnFailure
    on_event: OnReceived | None
    sink: Sink | None
    direct: bool = False


class _Disconnected(Exception):
    """The conversation is over; try again after `pause` seconds."""

    def __init__(self, status: Status, pause: float = RETRY_SECONDS) -> None:
        super().__init__(status.sentence)
        self.status, self.pause = status, pause


class Client:
    """A connection that mends itself.

    Args:
        locate: called on the client's thread before each attempt; gives the address or raises NoBackend.
        version: the add-on's version, told to the backend.

    All methods are for the main thread.
    """

    def __init__(self, locate: Callable[[], Address], version: str) -> None:
        self._locate, self._version = locate, version
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._wake = self._context.socket(zmq.PAIR)
        self._wake.bind("inproc://wake")
        self._outbox: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._stopping = threading.Event()
        self._pending: dict[int, _Pending] = {}  # the thread's
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
        self._stopping.set()
        if self._thread.is_alive():
            self._nudge()
            self._thread.join()
        self._wake.close(0)
        self._context.term()

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
        number = next(self._ids)
        pending = _Pending(kind, on_reply or _ignore_reply, on_failure or _ignore_failure, on_event, sink)
        self._send(number, kind, body or {}, {}, pending)
        return number

    def call(self, function: Callable[[], None]) -> None:
        """Have `pump` call this. For any thread."""
        self._inbox.put(function)

    def send_piece(
        self, body: Mapping[str, Any], arrays: Mapping[str, Any], on_reply: OnReceived, on_failure: OnFailure
    ) -> None:
        """Ask `upload`; `on_reply` is called on the client's own thread, so that a piece waits for no `pump`.

        For the main thread, and from within such an `on_reply`.
        """
        pending = _Pending(wire.Kind.UPLOAD, on_reply, on_failure, None, None, direct=True)
        waiting = (next(self._ids), wire.Kind.UPLOAD, body, arrays, pending)
        if threading.current_thread() is self._thread:
            self._outbox.put(waiting)  # it looks there when it is through with the message that it is at
        else:
            self._send(*waiting)

    def cancel(self, number: int) -> None:
        """End a request of ours; its `on_failure` gets code "cancelled"."""
        self.request(wire.Kind.CANCEL, {"request": number})

    def aim(self, number: int, frame: int) -> None:
        """Ask a stream to send the frames around this one first."""
        self.request(wire.Kind.AIM, {"request": number, "around": frame})

    def pump(self, seconds: float = 0.01) -> bool:
        """Call what is due, for about that long; whether anything was."""
        deadline, busy = time.perf_counter() + seconds, False
        while True:
            try:
                call = self._inbox.get_nowait()
            except queue.Empty:
                return busy
            call()
            busy = True
            if time.perf_counter() > deadline:
                return True

    def _send(
        self, number: int, kind: str, body: Mapping[str, Any], arrays: Mapping[str, Any], pending: _Pending | None
    ) -> None:
        self._outbox.put((number, str(kind), body, arrays, pending))
        self._nudge()

    def _nudge(self) -> None:
        with contextlib.suppress(zmq.Again):  # nobody listens yet, or a nudge is already waiting: both will look
            self._wake.send(b"", zmq.DONTWAIT)

    def _set_status(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            if self.on_status:
                self.on_status(status)

    # From here on: the client's thread.

    def _say(self, status: Status) -> None:
        self._inbox.put(lambda: self._set_status(status))

    def _run(self) -> None:
        wake = self._context.socket(zmq.PAIR)
        wake.connect("inproc://wake")
        self._say(Status(State.CONNECTING, "Connecting to the backend."))
        while not self._stopping.is_set():
            pause = RETRY_SECONDS
            try:
                _Conversation(self, self._locate(), wake).hold()
            except NoBackend as absent:
                self._say(Status(State.LOST, str(absent)))
            except wire.WireError as damaged:
                self._say(Status(State.LOST, f"{damaged}."))
            except _Disconnected as end:
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
        while not self._stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            if wake.poll(int(left * 1000) + 1):
                wake.recv()
            self._fail_all(Failure("lost", "No backend is connected."))

    def _fail_all(self, failure: Failure) -> None:
        waiting = list(self._pending.values())
        self._pending.clear()
        while not self._outbox.empty():
            *_, pending = self._outbox.get_nowait()
            if pending:
                waiting.append(pending)
        for pending in waiting:
            self._inbox.put(lambda p=pending: p.on_failure(failure))


class _Conversation:
    """One connection, from its hello to its end; lives on the client's thread."""

    def __init__(self, client: Client, address: Address, wake: zmq.Socket[bytes]) -> None:
        self._client, self._address, self._wake = client, address, wake
        self._socket = client._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.HEARTBEAT_IVL, HEARTBEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS),
            (zmq.MAXMSGSIZE, wire.REPLY_LIMITS.part + wire.CURVE_BYTES),
        ):
            self._socket.setsockopt(option, value)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_DISCONNECTED
            | zmq.EVENT_CONNECT_RETRIED
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        self._poller = zmq.Poller()
        for socket in (self._socket, self._wake, self._monitor):
            self._poller.register(socket, zmq.POLLIN)
        self._ready = False

    def hold(self) -> None:
        """Talk until the connection ends (_Disconnected) or the client stops (returns)."""
        try:
            self._connect()
            while not self._client._stopping.is_set():
                self._turn()
        finally:
            self._socket.disable_monitor()
            self._monitor.close(0)
            self._socket.close(0)

    def _connect(self) -> None:
        try:
            if self._address.server_key and self._address.keys:
                self._socket.curve_serverkey = self._address.server_key.encode()
                self._socket.curve_publickey = self._address.keys.public.encode()
                self._socket.curve_secretkey = self._address.keys.secret.encode()
            self._socket.connect(self._address.endpoint)
        except zmq.ZMQError as error:
            sentence = f"The backend's address '{self._address.endpoint}' is not usable ({error.strerror})."
            raise _Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS) from error
        self._hello = next(self._client._ids)
        self._deadline = time.monotonic() + HELLO_SECONDS
        self._post(self._hello, wire.Kind.HELLO, {"client": "blender", "version": self._client._version})

    def _turn(self) -> None:
        timeout = None if self._ready else max(0.0, self._deadline - time.monotonic()) * 1000
        due = dict(self._poller.poll(timeout))
        if not due and not self._ready:
            raise self._nobody()
        if self._socket in due:
            self._receive()
        if self._monitor in due:
            self._check_link()
        if self._wake in due:
            while self._wake.poll(0):
                self._wake.recv()
        if self._ready:
            self._post_waiting()

    def _nobody(self) -> _Disconnected:
        return _Disconnected(Status(State.LOST, f"No backend answers at {self._address.endpoint}; start it."))

    def _check_link(self) -> None:
        event = recv_monitor_message(self._monitor)["event"]
        if event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
            raise _Disconnected(Status(State.REFUSED, NOT_LET_IN), REFUSED_RETRY_SECONDS)
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            raise _Disconnected(Status(State.REFUSED, OTHER_LANGUAGE), REFUSED_RETRY_SECONDS)
        if not self._ready:
            raise self._nobody()
        raise _Disconnected(Status(State.LOST, "The backend went away; waiting for it to come back."), 0.2)

    def _post_waiting(self) -> None:
        while not self._client._outbox.empty():
            number, kind, body, arrays, pending = self._client._outbox.get_nowait()
            if pending:
                self._client._pending[number] = pending
            self._post(number, kind, body, arrays)

    def _post(self, number: int, kind: str, body: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        try:
            message = wire.Message(kind, number, body, arrays or {}, token=self._address.token)
            self._socket.send_multipart(wire.pack(message, wire.REQUEST_LIMITS), zmq.DONTWAIT)
        except wire.WireError as error:
            self._fail(number, Failure(error.code, f"{error}."))
        except zmq.Again as error:
            raise _Disconnected(Status(State.LOST, "The backend takes no more requests; connecting anew.")) from error

    def _receive(self) -> None:
        """One message: what waits to be sent, an `aim` say, comes between the frames of a stream."""
        try:
            message = wire.unpack(self._socket.recv_multipart(copy=False))
        except wire.WireError as error:
            state = State.REFUSED if error.code == wire.Code.VERSION else State.LOST
            raise _Disconnected(Status(state, f"The backend cannot be understood: {error}."), 2.0) from error
        self._take(message)

    def _take(self, message: wire.Message) -> None:
        if message.kind == wire.Kind.ERROR and (message.id in (0, self._hello) or _is_fatal(message)):
            raise _refusal(message)
        if message.id == self._hello:
            self._greeted(message)
        elif message.kind in wire.REPLIES:
            self._conclude(message)
        else:
            self._announce(message)

    def _greeted(self, message: wire.Message) -> None:
        self._ready = True
        server = dict(message.body)
        sentence = f"Connected to {server.get('server', 'a backend')} {server.get('version', '')}."
        client = self._client

        def ready() -> None:
            client.server = server
            client._set_status(Status(State.READY, sentence))

        client._inbox.put(ready)

    def _conclude(self, message: wire.Message) -> None:
        pending = self._client._pending.get(message.id)
        if pending is None:
            return
        if message.kind == wire.Kind.ERROR:
            self._fail(message.id, _failure(message))
            return
        stored = self._store(message, pending)
        if stored is _NOT_STORED:
            return
        del self._client._pending[message.id]
        if pending.direct:
            pending.on_reply(_received(message, pending, stored))
        else:
            self._client._inbox.put(lambda: pending.on_reply(_received(message, pending, stored)))

    def _announce(self, message: wire.Message) -> None:
        pending = self._client._pending.get(message.id)
        if pending is None:
            return
        stored = self._store(message, pending)
        if stored is _NOT_STORED:
            self._post(next(self._client._ids), wire.Kind.CANCEL, {"request": message.id})
            return
        if message.kind == wire.Kind.FRAME:
            self._post(next(self._client._ids), wire.Kind.CREDIT, {"request": message.id, "frames": 1})
        if on_event := pending.on_event:
            self._client._inbox.put(lambda: on_event(_received(message, pending, stored)))

    def _store(self, message: wire.Message, pending: _Pending) -> Any:
        """What the sink made of the message; its failure ends the request, never the thread."""
        if pending.sink is None or not message.arrays:
            return None
        try:
            return pending.sink(message)
        except Exception as error:  # a full disk, a wrong shape: the request's failure, said in the panel
            self._fail(message.id, Failure("local", f"What the backend sent could not be stored: {error}."))
            return _NOT_STORED

    def _fail(self, number: int, failure: Failure) -> None:
        pending = self._client._pending.pop(number, None)
        if pending:
            self._client._inbox.put(lambda: pending.on_failure(failure))


_NOT_STORED = object()


def _received(message: wire.Message, pending: _Pending, stored: Any) -> Received:
    return Received(message.kind, message.body, {} if pending.sink else message.arrays, stored)


def _is_fatal(message: wire.Message) -> bool:
    """Errors that concern the connection, not the request."""
    return message.body.get("code") in (
        wire.Code.VERSION,
        wire.Code.TOKEN,
        wire.Code.HELLO_FIRST,
        wire.Code.SHUTDOWN,
    )


def _failure(message: wire.Message) -> Failure:
    body = message.body
    sentence, hint = str(body.get("message", "The backend gave no reason")), str(body.get("hint", ""))
    text = f"{sentence.rstrip('.')}; {hint.rstrip('.')}." if hint else f"{sentence.rstrip('.')}."
    return Failure(str(body.get("code", wire.Code.INTERNAL)), text)


def _refusal(message: wire.Message) -> _Disconnected:
    failure = _failure(message)
    if failure.code == wire.Code.TOKEN:
        sentence = "The backend refused the token: it was restarted or belongs to someone else; check the address."
        return _Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS)
    if failure.code == wire.Code.VERSION:
        sentence = f"The backend is of another version: {failure.sentence}"
        return _Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS)
    if failure.code in (wire.Code.HELLO_FIRST, wire.Code.SHUTDOWN):
        return _Disconnected(Status(State.LOST, "The backend was restarted or stops; connecting anew."), 0.2)
    return _Disconnected(Status(State.REFUSED, failure.sentence), REFUSED_RETRY_SECONDS)


def _ignore_reply(reply: Received) -> None:
    """For requests whose answer does not matter (credit, cancel)."""


def _ignore_failure(failure: Failure) -> None:
    """For requests whose failure shows elsewhere (the stream they steer)."""
