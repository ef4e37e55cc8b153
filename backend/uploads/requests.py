"""The request that sends a file to the server, piece by piece, and the sweeping of what was sent."""

from __future__ import annotations

import logging
import time

import numpy as np

from backend.jobs.queue import Jobs
from backend.runs.requests import Handler, in_pool
from backend.service import requests
from backend.service.clients import Call
from backend.service.errors import BackendError
from backend.service.loop import Loop, Pool
from backend.uploads.inbox import Inbox
from backend.wire import Code, Kind

log = logging.getLogger("legs4d.backend")

MAX_PIECES = 8
"""Pieces of one client that wait to be written; what they weigh is the memory that an upload takes here."""
SWEEP_SECONDS = 600.0


class UploadRequests:
    """Handlers; they are called in the socket's thread and return at once. Files are written in a thread of their own,
    one piece after the other, in the order in which they came."""

    def __init__(self, inbox: Inbox, jobs: Jobs, loop: Loop) -> None:
        self._inbox, self._jobs, self._loop = inbox, jobs, loop
        self._writing = Pool("uploads", 1, loop)
        self._next_sweep = 0.0
        self.handlers: dict[str, Handler] = {Kind.UPLOAD: self._upload}

    def check_sweep(self) -> None:
        """Now and then, delete what is old; but nothing that a job which is not over works on."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_SECONDS

        def sweep(used: set[str]) -> None:
            self._writing.submit(lambda: self._inbox.sweep(used), lambda swept: None, _not_swept)

        self._jobs.ask(self._jobs.paths_in_use, sweep, _not_swept, self._loop.post)

    def close(self) -> None:
        self._writing.close()

    def _upload(self, call: Call, body: requests.Upload) -> None:
        data = None
        if call.arrays:
            array = call.arrays.get("data")
            if array is None or array.dtype != np.uint8 or array.ndim != 1 or not array.size:
                raise BackendError("a piece is one array 'data', uint8 [n]", where="'upload'", code=Code.BODY)
            data = array.data
            call.arrays = {}
        waiting = sum(other.kind == Kind.UPLOAD for other in call.client.calls.values())
        if waiting > MAX_PIECES:
            raise BackendError(f"{MAX_PIECES} pieces wait to be written", fix="wait for their replies", code=Code.BUSY)
        in_pool(self._writing, call, lambda: self._inbox.take(call.client.who, body, data), call.ok)


def _not_swept(error: Exception) -> None:
    log.warning("what clients have sent was not swept: %s", error)
