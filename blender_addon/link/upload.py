"""Sending a file of this machine to a backend that does not see its disk. Nothing here knows Blender."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import wire
from .client import Client
from .types import Failure, OnFailure, Received


class Upload:
    """A file on its way into this user's inbox on the backend; a job can name it once it is there.

    Args:
        path: of the file.
        on_done: called by `pump` with what the file is called there.
        on_failure: called by `pump`, once; `begin` then goes on where it stopped.
        folder: files of one folder lie together there; by default each lies in one of its own.

    Attributes:
        done, total: bytes that have arrived, of how many; may be read at any time.
    """

    def __init__(
        self,
        client: Client,
        path: Path,
        on_done: Callable[[str], None],
        on_failure: OnFailure,
        *,
        folder: str | None = None,
    ) -> None:
        self._client, self._path, self._on_done, self._on_failure = client, path, on_done, on_failure
        self._asked: dict[str, Any] = {"name": path.name, "folder": folder}
        self._attempt = 0
        self._next = self._under_way = 0
        self.done = self.total = 0

    def begin(self) -> None:
        """Send the file, or go on with it; for the main thread, and returns at once. The file is hashed first."""
        self._attempt += 1
        attempt = self._attempt
        threading.Thread(target=self._hash, args=(attempt,), name="legs4d-upload", daemon=True).start()

    def cancel(self) -> None:
        """Send no more; what has arrived is kept for a day."""
        self._attempt += 1

    def _hash(self, attempt: int) -> None:
        try:
            with open(self._path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.total = self._path.stat().st_size
        except OSError as error:
            sentence = f"'{self._path}' cannot be read ({error.strerror})."
            self._client.call(lambda: self._fail(attempt, Failure("local", sentence)))
            return
        self._asked |= {"bytes": self.total, "sha256": digest}
        self._client.call(lambda: self._ask(attempt))

    def _ask(self, attempt: int) -> None:
        """Where it stands on the other side."""
        self._next = self._under_way = 0
        self._send(attempt, 0, b"")

    def _send(self, attempt: int, offset: int, piece: bytes) -> None:
        self._under_way += 1
        self._client.send_piece(
            self._asked | {"offset": offset},
            {"data": np.frombuffer(piece, np.uint8)} if piece else {},
            lambda reply: self._heard(attempt, bool(piece), reply),
            lambda failure: self._fail(attempt, failure),
        )

    def _heard(self, attempt: int, piece: bool, reply: Received) -> None:
        """On the client's thread: a piece has arrived, the next ones follow."""
        if attempt != self._attempt:
            return
        self._under_way -= 1
        self.done = int(reply.body["offset"])
        if (name := reply.body["name"]) is not None:
            self._attempt += 1  # what else is under way comes from before
            self._client.call(lambda: self._on_done(str(name)))
            return
        if not piece or (not self._under_way and self._next >= self.total):
            self._next = self.done
        try:
            self._send_more(attempt)
        except OSError as error:
            sentence = f"'{self._path}' cannot be read ({error.strerror})."
            self._client.call(lambda: self._fail(attempt, Failure("local", sentence)))

    def _send_more(self, attempt: int) -> None:
        with open(self._path, "rb") as file:
            file.seek(self._next)
            while self._under_way < wire.UPLOAD_PIECES and (piece := file.read(wire.UPLOAD_BYTES)):
                self._send(attempt, self._next, piece)
                self._next += len(piece)
        if not self._under_way:
            sentence = f"'{self._path}' became shorter while it was sent; send it again."
            self._client.call(lambda: self._fail(attempt, Failure("local", sentence)))

    def _fail(self, attempt: int, failure: Failure) -> None:
        if attempt == self._attempt:
            self._attempt += 1
            self._on_failure(failure)
