"""A small client for programs that may wait: the `legs4d` command, scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from backend import wire
from backend.errors import BackendError
from backend.wire import Code, Kind, Message, ServerFile

ANSWER_SECONDS = 10.0
"""A server that lives answers small requests much sooner."""


class Client:
    """One connection that has said hello. Use it in a `with` block.

    Raises BackendError when no server answers or it refuses.
    """

    def __init__(self, found: ServerFile) -> None:
        self._found = found
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.REPLY_LIMITS.part)
        if found.server_key and found.keys:
            self._socket.curve_serverkey = found.server_key.encode()
            self._socket.curve_publickey = found.keys.public.encode()
            self._socket.curve_secretkey = found.keys.secret.encode()
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._socket.connect(found.endpoint)
        self._last_id = 0
        try:
            self.server = self.ask(Kind.HELLO, client="legs4d", version="1")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.disable_monitor()
        self._context.destroy(linger=0)

    def ask(self, kind: str, **body: Any) -> dict[str, Any]:
        """Body of the reply. Raises BackendError."""
        request = self._send(kind, body)
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            message = self._receive(deadline - time.monotonic())
            if message.id in (request, 0) and message.kind in wire.REPLIES:
                return _body(message)

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

    def _send(self, kind: str, body: dict[str, Any]) -> int:
        self._last_id += 1
        message = Message(kind, self._last_id, body, token=self._found.token)
        self._socket.send_multipart(wire.pack(message, wire.REQUEST_LIMITS))
        return self._last_id

    def _receive(self, seconds: float | None) -> Message:
        due = dict(self._poller.poll(None if seconds is None else max(0, int(seconds * 1000))))
        if self._monitor in due:
            fix = "its keeper lets you in with `legs4d keys authorize KEY NAME`"
            raise BackendError("the server does not know your key", where=self._found.endpoint, fix=fix)
        if not due:
            raise _nobody(self._found.endpoint)
        return wire.unpack(self._socket.recv_multipart(copy=False))


def find_server(state_dir: Path | None) -> ServerFile:
    """The server of this state folder. Raises BackendError when none is running."""
    try:
        found = wire.read_server_file(state_dir)
    except wire.WireError as error:
        raise BackendError(error.message, fix=error.hint) from error
    if found is None:
        where = str(state_dir or wire.state_dir())
        raise BackendError("no server runs", where=where, fix="start one with `legs4d serve`, or name its --state-dir")
    return found


def remote_server(endpoint: str, server_key: str, state_dir: Path | None) -> ServerFile:
    """A server elsewhere, spoken to with this user's own keys. Raises BackendError when there are none."""
    try:
        keys = wire.read_client_keys(state_dir)
    except wire.WireError as error:
        raise BackendError(error.message, fix=error.hint) from error
    if keys is None:
        raise BackendError("there are no keys of yours", fix="make some with `legs4d keys new`")
    return ServerFile(endpoint, "", 0, server_key, keys)


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
