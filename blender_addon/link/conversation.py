"""One connection on the client's thread: hello, requests out, replies and events in, until either side ends it."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from .. import wire
from .types import Address, Failure, OnFailure, OnReceived, Received, Sink, State, Status

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

Waiting = tuple[int, str, Mapping[str, Any], Mapping[str, Any], "Pending | None"]
"""Number, kind, body, arrays and callbacks of a request that is not sent yet."""


@dataclass
class Pending:
    """A request that is not answered yet; `direct`: its `on_reply` is called on the client's own thread."""

    kind: str
    on_reply: OnReceived
    on_failure: OnFailure
    on_event: OnReceived | None
    sink: Sink | None
    direct: bool = False


class Disconnected(Exception):
    """The conversation is over; try again after `pause` seconds."""

    def __init__(self, status: Status, pause: float = RETRY_SECONDS) -> None:
        super().__init__(status.sentence)
        self.status, self.pause = status, pause


OnReady = Callable[[Mapping[str, Any], Status], None]
"""Called on the main thread with what the backend says of itself."""


class Shared:
    """What the main thread and the client's have in common; `pending` is the client's thread's alone.

    Attributes:
        version: the add-on's, told to the backend.
        outbox: requests on their way out.
        inbox: what the main thread is to call.
        ids: of requests.
        pending: requests that were sent, by id.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.outbox: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self.inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.ids = itertools.count(1)
        self.stopping = threading.Event()
        self.pending: dict[int, Pending] = {}


class Conversation:
    """One connection, from its hello to its end; lives on the client's thread."""

    def __init__(self, shared: Shared, address: Address, wake: zmq.Socket[bytes], on_ready: OnReady) -> None:
        self._shared, self._address, self._wake, self._on_ready = shared, address, wake, on_ready
        self._socket = shared.context.socket(zmq.DEALER)
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
        """Talk until the connection ends (Disconnected) or the client stops (returns)."""
        try:
            self._connect()
            while not self._shared.stopping.is_set():
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
            raise Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS) from error
        self._hello = next(self._shared.ids)
        self._deadline = time.monotonic() + HELLO_SECONDS
        self._post(self._hello, wire.Kind.HELLO, {"client": "blender", "version": self._shared.version})

    def _turn(self) -> None:
        timeout = None if self._ready else int(max(0.0, self._deadline - time.monotonic()) * 1000)
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

    def _nobody(self) -> Disconnected:
        return Disconnected(Status(State.LOST, f"No backend answers at {self._address.endpoint}; start it."))

    def _check_link(self) -> None:
        event = recv_monitor_message(self._monitor)["event"]
        if event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
            raise Disconnected(Status(State.REFUSED, NOT_LET_IN), REFUSED_RETRY_SECONDS)
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            raise Disconnected(Status(State.REFUSED, OTHER_LANGUAGE), REFUSED_RETRY_SECONDS)
        if not self._ready:
            raise self._nobody()
        raise Disconnected(Status(State.LOST, "The backend went away; waiting for it to come back."), 0.2)

    def _post_waiting(self) -> None:
        while not self._shared.outbox.empty():
            number, kind, body, arrays, pending = self._shared.outbox.get_nowait()
            if pending:
                self._shared.pending[number] = pending
            self._post(number, kind, body, arrays)

    def _post(self, number: int, kind: str, body: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
        try:
            message = wire.Message(kind, number, body, arrays or {}, token=self._address.token)
            self._socket.send_multipart(wire.pack(message, wire.REQUEST_LIMITS), zmq.DONTWAIT)
        except wire.WireError as error:
            self._fail(number, Failure(error.code, f"{error}."))
        except zmq.Again as error:
            raise Disconnected(Status(State.LOST, "The backend takes no more requests; connecting anew.")) from error

    def _receive(self) -> None:
        """One message: what waits to be sent, an `aim` say, comes between the frames of a stream."""
        try:
            message = wire.unpack(self._socket.recv_multipart(copy=False))
        except wire.WireError as error:
            state = State.REFUSED if error.code == wire.Code.VERSION else State.LOST
            raise Disconnected(Status(state, f"The backend cannot be understood: {error}."), 2.0) from error
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
        self._shared.inbox.put(lambda: self._on_ready(server, Status(State.READY, sentence)))

    def _conclude(self, message: wire.Message) -> None:
        pending = self._shared.pending.get(message.id)
        if pending is None:
            return
        if message.kind == wire.Kind.ERROR:
            self._fail(message.id, Failure.of(message.body))
            return
        stored = self._store(message, pending)
        if stored is _NOT_STORED:
            return
        del self._shared.pending[message.id]
        if pending.direct:
            pending.on_reply(_received(message, pending, stored))
        else:
            self._shared.inbox.put(lambda: pending.on_reply(_received(message, pending, stored)))

    def _announce(self, message: wire.Message) -> None:
        pending = self._shared.pending.get(message.id)
        if pending is None:
            return
        stored = self._store(message, pending)
        if stored is _NOT_STORED:
            self._post(next(self._shared.ids), wire.Kind.CANCEL, {"request": message.id})
            return
        if message.kind == wire.Kind.FRAME:
            self._post(next(self._shared.ids), wire.Kind.CREDIT, {"request": message.id, "frames": 1})
        if on_event := pending.on_event:
            self._shared.inbox.put(lambda: on_event(_received(message, pending, stored)))

    def _store(self, message: wire.Message, pending: Pending) -> Any:
        """What the sink made of the message; its failure ends the request, never the thread."""
        if pending.sink is None or not message.arrays:
            return None
        try:
            return pending.sink(message)
        except Exception as error:  # a full disk, a wrong shape: the request's failure, said in the panel
            self._fail(message.id, Failure("local", f"What the backend sent could not be stored: {error}."))
            return _NOT_STORED

    def _fail(self, number: int, failure: Failure) -> None:
        pending = self._shared.pending.pop(number, None)
        if pending:
            self._shared.inbox.put(lambda: pending.on_failure(failure))


_NOT_STORED = object()


def _received(message: wire.Message, pending: Pending, stored: Any) -> Received:
    return Received(message.kind, message.body, {} if pending.sink else message.arrays, stored)


def _is_fatal(message: wire.Message) -> bool:
    """Errors that concern the connection, not the request."""
    return message.body.get("code") in (
        wire.Code.VERSION,
        wire.Code.TOKEN,
        wire.Code.HELLO_FIRST,
        wire.Code.SHUTDOWN,
    )


def _refusal(message: wire.Message) -> Disconnected:
    failure = Failure.of(message.body)
    if failure.code == wire.Code.TOKEN:
        sentence = "The backend refused the token: it was restarted or belongs to someone else; check the address."
        return Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS)
    if failure.code == wire.Code.VERSION:
        sentence = f"The backend is of another version: {failure.sentence}"
        return Disconnected(Status(State.REFUSED, sentence), REFUSED_RETRY_SECONDS)
    if failure.code in (wire.Code.HELLO_FIRST, wire.Code.SHUTDOWN):
        return Disconnected(Status(State.LOST, "The backend was restarted or stops; connecting anew."), 0.2)
    return Disconnected(Status(State.REFUSED, failure.sentence), REFUSED_RETRY_SECONDS)
