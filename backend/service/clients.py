"""Who is connected, which of their requests are unanswered, and how messages leave when a client is slow."""

from __future__ import annotations

import errno
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import zmq
from numpy.typing import NDArray

from backend.service.errors import BackendError, error_body
from backend.wire import Buffer, Code, Kind, Message, WireError, pack
from legs4d.errors import Legs4dError

log = logging.getLogger("legs4d.backend")

MAX_CLIENTS = 64
MAX_CALLS = 64
"""Unanswered requests of one client."""
MAX_OUTBOX = 256
"""Messages kept for a client whose ZeroMQ queue is full; past that the client is forgotten."""

SETTLED_SECONDS = 2.0
"""After which libzmq has told of a connection that it accepted; it may hand over the first message before."""

Arrays = Mapping[str, NDArray[Any]]


class Client:
    """A connection that said hello.

    Args:
        identity: ZeroMQ's name for it.
        who: the name of its key, or what stands for those that have none; it is the same after a new connection.
        key: public, empty for those that have none.
        descriptor: of its TCP connection, by which its end is noticed.
    """

    def __init__(self, identity: bytes, who: str = "", key: str = "", descriptor: int = -1) -> None:
        self.identity, self.who, self.key, self.descriptor = identity, who, key, descriptor
        self.name = ""
        self.calls: dict[int, Call] = {}
        self.outbox: deque[tuple[str | None, list[Buffer]]] = deque()
        self.bytes_under_way = 0
        """Of frame events for which no credit came back yet."""
        self.last_heard = time.monotonic()

    def __str__(self) -> str:
        return f"{self.name} ({self.identity.hex()[-8:]})"


class Call:
    """One request that is not answered yet. Used in the socket's thread only; after the reply it does nothing."""

    def __init__(self, outlet: Outlet, client: Client, request_id: int, kind: str) -> None:
        self._outlet = outlet
        self.client, self.id, self.kind = client, request_id, kind
        self.finished = False
        self.began = time.monotonic()
        self.at_end: list[Callable[[], None]] = []
        """Called once, when the call is answered or its client is gone."""
        self.arrays: Arrays = {}
        """That came with the request."""
        self.compress: Callable[[Buffer], bytes] | None = None
        """To zstd, if the client asked for that."""
        client.calls[request_id] = self

    def event(self, kind: Kind, body: Mapping[str, Any], arrays: Arrays | None = None, *, key: str = "") -> None:
        """Send an event. While the client is slow, a newer event replaces an older one of the same `key`.

        Raises WireError when it is too large.
        """
        self.send(self.pack(kind, body, arrays or {}), key=key)

    def pack(self, kind: Kind, body: Mapping[str, Any], arrays: Arrays) -> list[Buffer]:
        """The parts of an event, for `send`. May be called in any thread. Raises WireError when it is too large."""
        return pack(Message(kind, self.id, body, arrays), compress=self.compress)

    def send(self, parts: list[Buffer], *, key: str = "") -> None:
        """Send an event that `pack` made; see `event`."""
        if not self.finished:
            self._outlet.send(self.client, parts, f"{self.id}/{key}" if key else None)

    def ok(self, body: Mapping[str, Any], arrays: Arrays | None = None) -> None:
        """Answer, and end the call."""
        if self.finished:
            return
        try:
            parts = pack(Message(Kind.OK, self.id, body, arrays or {}))
        except WireError as error:
            self.fail(error)
            return
        self.end("ok")
        self._outlet.send(self.client, parts)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, and end the call. A defect of the server is logged with its traceback."""
        if self.finished:
            return
        if not isinstance(error, Legs4dError | WireError):
            log.error("request '%s' of %s failed", self.kind, self.client, exc_info=error)
        body = error_body(error)
        self.end(body["code"])
        self._outlet.send(self.client, pack(Message(Kind.ERROR, self.id, body)))

    def end(self, outcome: str = "gone") -> None:
        """Stop everything that works for this call, without an answer; `outcome` is for the metrics."""
        if self.finished:
            return
        self.finished = True
        self._outlet.answered(self.kind, outcome, time.monotonic() - self.began)
        self.client.calls.pop(self.id, None)
        for callback in self.at_end:
            callback()
        self.at_end.clear()


class Outlet:
    """The sending side of the ROUTER socket."""

    def __init__(self, socket: zmq.Socket[bytes], gone: Callable[[Client, str], None]) -> None:
        self._socket = socket
        self._gone = gone
        self._waiting: dict[bytes, Client] = {}
        self.sent = 0
        """Bytes."""
        self.answered: Callable[[str, str, float], None] = lambda kind, outcome, seconds: None
        """Told of every request that ends: its kind, "ok" or an error's code, and how long it took."""

    @property
    def waiting(self) -> bool:
        """Whether some client's queue is full, so that `flush` must be tried again soon."""
        return bool(self._waiting)

    def send(self, client: Client, parts: list[Buffer], key: str | None = None) -> None:
        """Send now, or keep in order behind what the client has not taken in yet."""
        if client.outbox or (problem := self._try(client.identity, parts)) == zmq.EAGAIN:
            self._keep(client, parts, key)
        elif problem:
            self._gone(client, "it has disconnected")

    def send_to_stranger(self, identity: bytes, message: Message) -> None:
        """Answer somebody who has not said hello: once, and not at all if their queue is full."""
        self._try(identity, pack(message))

    def flush(self) -> None:
        """Send what was kept, as far as the queues have room."""
        for client in list(self._waiting.values()):
            problem = 0
            while client.outbox and not (problem := self._try(client.identity, client.outbox[0][1])):
                client.outbox.popleft()
            if problem not in (0, zmq.EAGAIN):
                self._gone(client, "it has disconnected")
            elif not client.outbox:
                self._waiting.pop(client.identity, None)

    def drop(self, client: Client) -> None:
        client.outbox.clear()
        self._waiting.pop(client.identity, None)

    def _keep(self, client: Client, parts: list[Buffer], key: str | None) -> None:
        if key is not None:
            for index, (other, _) in enumerate(client.outbox):
                if other == key:
                    client.outbox[index] = (key, parts)
                    return
        if len(client.outbox) >= MAX_OUTBOX:
            self._gone(client, f"it does not read: {MAX_OUTBOX} messages wait for it")
            return
        client.outbox.append((key, parts))
        self._waiting[client.identity] = client

    def _try(self, identity: bytes, parts: list[Buffer]) -> int:
        """0, zmq.EAGAIN (queue full) or another errno (gone). The ROUTER decides on the first part, so never half."""
        try:
            self._socket.send_multipart([identity, *parts], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH, errno.ECONNRESET, errno.EPIPE):
                raise
            return int(error.errno)
        self.sent += sum(memoryview(part).nbytes for part in parts)
        return 0


class Clients:
    """All clients, by the identity that ZeroMQ gave to their connection."""

    def __init__(self, socket: zmq.Socket[bytes], max_clients: int = MAX_CLIENTS, max_calls: int = MAX_CALLS) -> None:
        self.outlet = Outlet(socket, self._forget)
        self._max_clients, self._max_calls = max_clients, max_calls
        self._known: dict[bytes, Client] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def waiting(self) -> int:
        """Messages that are kept for clients that are slow."""
        return sum(len(client.outbox) for client in self._known.values())

    @property
    def unanswered(self) -> int:
        """Requests that are worked on; subscriptions are not."""
        calls = (call for client in self._known.values() for call in client.calls.values())
        return sum(call.kind != Kind.SUBSCRIBE for call in calls)

    def get(self, identity: bytes) -> Client | None:
        """The client of this connection, if it has said hello; this counts as hearing from it."""
        client = self._known.get(identity)
        if client:
            client.last_heard = time.monotonic()
        return client

    def admit(self, identity: bytes, name: str, who: str = "", key: str = "", descriptor: int = -1) -> Client:
        """The client of this connection. Raises BackendError `busy` when there are too many that have work waiting."""
        client = self.get(identity)
        if client is None:
            if len(self._known) >= self._max_clients:
                self._make_room()
            client = self._known[identity] = Client(identity, who, key, descriptor)
            log.info("client %s (%s) connected", _printable(name), identity.hex()[-8:])
        client.name = _printable(name)
        return client

    def sign_off(self, descriptor: int) -> None:
        """Forget whoever was on this TCP connection, which has ended."""
        for client in [client for client in self._known.values() if client.descriptor == descriptor]:
            self._forget(client, "it left")

    def sign_off_absent(self, is_open: Callable[[int], bool]) -> None:
        """Forget whoever's connection had ended before the client was admitted, so that no end of it was to be told.

        Its descriptor may belong to a later connection by then. One descriptor is one connection, so of two clients
        that share it the one heard long after the other is the one that is still there.
        """
        before = time.monotonic() - SETTLED_SECONDS
        heard = {client.descriptor: 0.0 for client in self._known.values() if client.descriptor >= 0}
        for client in self._known.values():
            if client.descriptor in heard:
                heard[client.descriptor] = max(heard[client.descriptor], client.last_heard)
        for client in list(self._known.values()):
            if client.descriptor in heard and client.last_heard < before:
                outlived = client.last_heard + SETTLED_SECONDS < heard[client.descriptor]
                if outlived or not is_open(client.descriptor):
                    self._forget(client, "it left")

    def shut_out(self, is_let_in: Callable[[str], bool]) -> list[int]:
        """Forget whoever's key was revoked, with all that is under way to them; descriptors of their connections."""
        revoked = [client for client in self._known.values() if client.key and not is_let_in(client.key)]
        for client in revoked:
            self._forget(client, "its key was revoked")
        return [client.descriptor for client in revoked]

    def end_all(self, error: BackendError) -> None:
        """Answer every call with this error."""
        for client in list(self._known.values()):
            for call in list(client.calls.values()):
                call.fail(error)

    def begin(self, client: Client, request_id: int, kind: str) -> Call:
        """A new call. Raises BackendError when the id is in use or the client has too many."""
        if request_id in client.calls:
            raise BackendError(f"request {request_id} is not answered yet: take a new id", code=Code.BODY)
        if len(client.calls) >= self._max_calls:
            raise BackendError(
                f"{self._max_calls} requests of this client are unanswered", fix="wait for some of them", code=Code.BUSY
            )
        return Call(self.outlet, client, request_id, kind)

    def _make_room(self) -> None:
        # A subscription is no work: every Blender has one open.
        idle = [
            client
            for client in self._known.values()
            if all(call.kind == Kind.SUBSCRIBE for call in client.calls.values())
        ]
        if not idle:
            raise BackendError(f"{self._max_clients} clients are busy already", fix="try again later", code=Code.BUSY)
        quietest = min(idle, key=lambda client: client.last_heard)
        for call in list(quietest.calls.values()):  # if it lives after all, it says hello again
            call.fail(BackendError("others took this client's place", fix="say hello again", code=Code.HELLO_FIRST))
        self._forget(quietest, "it was idle longest and others came")

    def _forget(self, client: Client, reason: str) -> None:
        if self._known.get(client.identity) is not client:
            return
        log.info("client %s forgotten: %s", client, reason)
        del self._known[client.identity]
        self.outlet.drop(client)
        for call in list(client.calls.values()):
            call.end()


def _printable(name: str) -> str:
    """As it may stand in the log: what a client says of itself must not look like a line of the server's."""
    return "".join(character if character.isprintable() else "?" for character in name)
