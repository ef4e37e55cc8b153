"""A client written from backend/README.md alone: ZeroMQ, msgpack and numpy, nothing of legs4d.

The tests of the server speak through it, so that they hold the server to its document and not to our own client.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq
import zstandard

SECONDS = 20.0
"""How long to wait for anything before the test has failed."""


@dataclass
class Received:
    """A reply or an event."""

    id: int
    kind: str
    body: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class RefusedError(Exception):
    """The server answered `error`."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(f"{body['code']}: {body['message']} ({body['hint']})")
        self.body = body
        self.code, self.message, self.hint = body["code"], body["message"], body["hint"]


class PlainClient:
    """One connection."""

    found: tuple[str, str, dict[str, str]]
    """Of one to another machine: what it was made with."""

    def __init__(self, state_dir: Path, *, say_hello: bool = True) -> None:
        self._connect(json.loads((state_dir / "server.json").read_text()), say_hello)

    @classmethod
    def elsewhere(cls, endpoint: str, server_key: str, keys: dict[str, str]) -> PlainClient:
        """A connection to a server on another machine."""
        client = cls.__new__(cls)
        client.found = (endpoint, server_key, keys)
        client._connect({"endpoint": endpoint, "token": "", "curve": {"server": server_key, **keys}}, True)
        return client

    def _connect(self, found: dict[str, Any], say_hello: bool) -> None:
        self.endpoint, self.token = found["endpoint"], found["token"]
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        if "curve" in found:
            self.socket.curve_serverkey = found["curve"]["server"].encode()
            self.socket.curve_publickey = found["curve"]["public"].encode()
            self.socket.curve_secretkey = found["curve"]["secret"].encode()
        self.socket.connect(self.endpoint)
        self._last_id = 0
        self.compressed = 0
        self._waiting: defaultdict[int, deque[Received]] = defaultdict(deque)
        if say_hello:
            try:
                self.hello = self.ask("hello", client="plain", version="1")
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        self._context.destroy(linger=0)

    def send(self, kind: str, **body: Any) -> int:
        """Send a request; returns its id."""
        self._last_id += 1
        self.send_header({"v": 2, "id": self._last_id, "kind": kind, "token": self.token, "body": body})
        return self._last_id

    def send_piece(self, data: bytes, **body: Any) -> int:
        """Send a request that carries a piece of a file."""
        self._last_id += 1
        described = [{"name": "data", "dtype": "uint8", "shape": [len(data)]}]
        header = {"v": 2, "id": self._last_id, "kind": "upload", "token": self.token, "body": body}
        self.send_header({**header, "arrays": described}, data)
        return self._last_id

    def send_header(self, header: Any, *buffers: bytes) -> None:
        """Send any header."""
        self.socket.send_multipart([msgpack.packb(header), *buffers])

    def receive_any(self, seconds: float = SECONDS) -> Received:
        """The next message, whatever it belongs to."""
        assert self.socket.poll(int(seconds * 1000)), f"no message within {seconds} s"
        header_part, *buffers = self.socket.recv_multipart()
        header = msgpack.unpackb(header_part)
        assert header["v"] == 2
        assert len(header["arrays"]) == len(buffers)
        codecs = [entry.get("codec") for entry in header["arrays"]]
        self.compressed += codecs.count("zstd")
        buffers = [
            zstandard.decompress(buffer) if codec == "zstd" else buffer
            for codec, buffer in zip(codecs, buffers, strict=True)
        ]
        arrays = {
            entry["name"]: np.frombuffer(buffer, np.dtype(entry["dtype"]).newbyteorder("<")).reshape(entry["shape"])
            for entry, buffer in zip(header["arrays"], buffers, strict=True)
        }
        return Received(header["id"], header["kind"], header["body"], arrays)

    def receive(self, request: int, seconds: float = SECONDS) -> Received:
        """The next message that belongs to this request; others are kept."""
        while not self._waiting[request]:
            message = self.receive_any(seconds)
            self._waiting[message.id].append(message)
        return self._waiting[request].popleft()

    def reply(self, request: int, seconds: float = SECONDS) -> Received:
        """The reply to this request, its events skipped. Raises RefusedError."""
        while True:
            message = self.receive(request, seconds)
            if message.kind == "error":
                raise RefusedError(message.body)
            if message.kind == "ok":
                return message

    def ask(self, kind: str, **body: Any) -> dict[str, Any]:
        """Body of the reply."""
        return self.reply(self.send(kind, **body)).body

    def events(self, request: int, *, credit: bool = True, seconds: float = SECONDS) -> Iterator[Received]:
        """Events of this request until it is answered; gives credit for each frame. Raises RefusedError."""
        while (message := self.receive(request, seconds)).kind not in ("ok", "error"):
            yield message
            if credit and message.kind == "frame":
                self.send("credit", request=request, frames=1)
        if message.kind == "error":
            raise RefusedError(message.body)
        self.answer = message.body

    def quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for so long."""
        return not self.socket.poll(int(seconds * 1000))
