"""A small client for programs that may wait: the `legs4d` command, scripts."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray
from zmq.utils.monitor import recv_monitor_message

from backend import access, wire
from backend.access import ServerFile
from backend.service.errors import BackendError
from backend.service.keys import is_key
from backend.wire import Code, Kind, Message
from legs4d import __version__

CONNECT_SECONDS = 0.6
"""For the network's own handshake, one journey there and back: nobody is there after that."""
GREET_SECONDS = {"local": 0.6, "elsewhere": 4.0}
"""For ZeroMQ's handshake, of several journeys with CURVE, which a server that lives does in threads of its own."""
ANSWER_SECONDS = 10.0
"""A server that lives answers small requests much sooner."""
HASH_SECONDS = 600.0
"""… but may have to read again what it has of a large file."""

_REFUSED = zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED | zmq.EVENT_DISCONNECTED
_FAILED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


class Client:
    """One connection that has said hello. Use it in a `with` block.

    Raises BackendError when no server answers or it refuses.
    """

    def __init__(self, found: ServerFile) -> None:
        self._found = found
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.REPLY_LIMITS.part + wire.CURVE_BYTES)
        if found.server_key and found.keys:
            self._socket.curve_serverkey = found.server_key.encode()
            self._socket.curve_publickey = found.keys.public.encode()
            self._socket.curve_secretkey = found.keys.secret.encode()
        events = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        self._monitor = self._socket.get_monitor_socket(events | _REFUSED | _FAILED)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._last_id = 0
        try:
            self._connect(found.endpoint)
            self.server = self.ask(Kind.HELLO, client="legs4d", version=__version__)
        except BaseException:
            self.close()
            raise

    def _connect(self, endpoint: str) -> None:
        """Until the server's ZeroMQ has greeted. Raises BackendError."""
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise BackendError(
                f"is no address ({error.strerror})", where=endpoint, fix="write HOST:PORT, as `legs4d serve` prints it"
            ) from error
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            if not self._monitor.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise _nobody(endpoint)
            event = self._event()
            if event == zmq.EVENT_CONNECTED:
                local = endpoint.startswith(("tcp://127.", "tcp://[::1]", "tcp://localhost"))
                deadline = time.monotonic() + GREET_SECONDS["local" if local else "elsewhere"]
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return

    def _event(self) -> int:
        """What happened to the connection. Raises BackendError when that is its end."""
        event = int(recv_monitor_message(self._monitor)["event"])
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            fix = "its keeper lets you in with `legs4d keys authorize KEY NAME`"
            raise BackendError("the server does not know your key", where=self._found.endpoint, fix=fix)
        if event & _FAILED:
            fix = "a server that asks for keys needs --server-key; look at the address and the key too"
            raise BackendError("what answers is no such server", where=self._found.endpoint, fix=fix)
        if event & _REFUSED:
            raise _nobody(self._found.endpoint)
        return event

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.disable_monitor()
        self._context.destroy(linger=0)

    def ask(self, kind: str, **body: Any) -> dict[str, Any]:
        """Body of the reply. Raises BackendError."""
        return self._reply(self._send(kind, body))

    def _reply(self, request: int, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            message = self._receive(deadline - time.monotonic())
            if message.id in (request, 0) and message.kind in wire.REPLIES:
                return _body(message)

    def listed(self, kind: str) -> Iterator[dict[str, Any]]:
        """Everything in a list that comes in pages: "runs", "datasets" or "jobs"."""
        after: dict[str, Any] = {}
        while True:
            page = self.ask(kind, **after)
            yield from page[kind]
            if page["next"] is None:
                return
            after = {"after": page["next"]}

    def upload(
        self, path: Path, *, folder: str | None = None, progress: Callable[[int, int], None] | None = None
    ) -> str:
        """Send a file into this user's inbox on the server; what it is called there, for a job to name.

        What arrived of it before is not sent again.

        Args:
            folder: files of one folder lie together there; by default each lies in one of its own.
            progress: told of the bytes that have arrived, and of how many there are.

        Raises:
            BackendError: it is too large, there is no room, or it changed while it was sent.
        """
        size = path.stat().st_size
        with open(path, "rb") as file:
            asked: dict[str, Any] = {
                "name": path.name,
                "bytes": size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
                "folder": folder,
            }
            there = self._reply(self._send(Kind.UPLOAD, asked), HASH_SECONDS)
            waiting: deque[int] = deque()
            offset = there["offset"]
            while there["name"] is None:
                file.seek(offset)
                while len(waiting) < wire.UPLOAD_PIECES and (piece := file.read(wire.UPLOAD_BYTES)):
                    waiting.append(self._send(Kind.UPLOAD, asked | {"offset": offset}, {"data": _bytes(piece)}))
                    offset += len(piece)
                if not waiting and offset == there["offset"]:
                    raise BackendError("became shorter while it was sent", where=str(path), fix="send it again")
                if not waiting:  # another program sends the same file
                    offset = there["offset"]
                    continue
                there = self._reply(waiting.popleft(), HASH_SECONDS)
                if progress:
                    progress(there["offset"], size)
        return str(there["name"])

    def events(self, kind: str, **body: Any) -> Iterator[Message]:
        """Events of a request, then its reply; waits for them as long as it takes."""
        request = self._send(kind, body)
        while True:
            message = self._receive(None)
            if message.id not in (request, 0):
                continue
            if message.kind == Kind.ERROR:
                _body(message)
            yield message
            if message.kind == Kind.OK:
                return

    def _send(self, kind: str, body: dict[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> int:
        self._last_id += 1
        message = Message(kind, self._last_id, body, arrays or {}, token=self._found.token)
        self._socket.send_multipart(wire.pack(message, wire.REQUEST_LIMITS))
        return self._last_id

    def _receive(self, seconds: float | None) -> Message:
        due = dict(self._poller.poll(None if seconds is None else max(0, int(seconds * 1000))))
        if not due:
            raise _nobody(self._found.endpoint)
        if self._socket not in due:
            self._event()
            return self._receive(seconds)
        try:
            return wire.unpack(self._socket.recv_multipart(copy=False))
        except wire.WireError as error:
            raise BackendError(error.message, where=self._found.endpoint, fix=error.hint, code=error.code) from error


def find_server(state_dir: Path | None) -> ServerFile:
    """The server of this state folder. Raises BackendError when none is running."""
    try:
        found = access.read_server_file(state_dir)
    except wire.WireError as error:
        raise BackendError(error.message, fix=error.hint) from error
    if found is None:
        where = str(state_dir or access.state_dir())
        raise BackendError("no server runs", where=where, fix="start one with `legs4d serve`, or name its --state-dir")
    return found


def remote_server(endpoint: str, server_key: str, state_dir: Path | None) -> ServerFile:
    """A server elsewhere, spoken to with this user's own keys; `endpoint` as `access.endpoint_of` reads it.

    Raises BackendError when there are no keys, or that is no address or no key.
    """
    if not is_key(server_key):
        fix = "it is on the first line of `legs4d keys list` on the server"
        raise BackendError(f"{server_key[:60]!r} is no public key: it has 40 characters", where="--server-key", fix=fix)
    try:
        endpoint = access.endpoint_of(endpoint)
        keys = access.read_client_keys(state_dir)
    except wire.WireError as error:
        raise BackendError(error.message, fix=error.hint) from error
    if keys is None:
        raise BackendError("there are no keys of yours", fix="make some with `legs4d keys new`")
    return ServerFile(endpoint, "", 0, server_key, keys)


def _bytes(piece: bytes) -> NDArray[Any]:
    return np.frombuffer(piece, np.uint8)


def _body(message: Message) -> dict[str, Any]:
    body = dict(message.body)
    if message.kind == Kind.ERROR:
        raise BackendError(body["message"], fix=body["hint"], code=Code(body["code"]))
    return body


def _nobody(endpoint: str) -> BackendError:
    return BackendError(
        "no server answers",
        where=endpoint,
        fix="start it with `legs4d serve`; look at the address and the server's key",
    )
