"""Asking the backend from a render, which waits: on a connection of its own, as renders have their own thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .. import wire
from ..link.client import Client
from ..link.types import Address, Failure, Received, State

FIRST_SECONDS, AGAIN_SECONDS = 5.0, 20.0
"""How long a render waits for a backend: the first time, and for one that was there to come back."""
LOOK_SECONDS = 0.02
ATTEMPTS = 3
"""A picture is asked for again when the backend was lost meanwhile."""


class PictureFailed(Exception):
    """The backend gave no picture; the message is a sentence for the artist."""


class Cancelled(Exception):
    """The artist does not want it any more."""


class Service:
    """A connection for requests that are waited for. One thread at a time may use it.

    Args:
        locate: gives the backend's address, or raises NoBackend; called on the connection's own thread.
        version: the add-on's.
    """

    def __init__(self, locate: Callable[[], Address], version: str) -> None:
        self._client = Client(locate, version)
        self._patience = FIRST_SECONDS
        self._client.start()

    def close(self) -> None:
        """End the connection."""
        self._client.stop()

    def ask(
        self,
        kind: str,
        body: Mapping[str, Any],
        *,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Received:
        """Send a request and wait for its reply.

        Args:
            cancelled: asked often; True cancels the request.
            progress: called with (done, total) as the backend reports.

        Raises:
            PictureFailed: no backend, or it refused.
            Cancelled: `cancelled` said so.
        """
        for attempt in range(ATTEMPTS):
            self._wait_for_backend(cancelled)
            reply = self._ask_once(kind, body, cancelled, progress)
            if isinstance(reply, Received):
                return reply
            if reply.code != "lost" or attempt == ATTEMPTS - 1:
                raise PictureFailed(reply.sentence)
        raise AssertionError("unreachable")

    def _wait_for_backend(self, cancelled: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._patience
        while True:
            self._client.pump()
            status = self._client.status
            if status.state is State.READY:
                self._patience = AGAIN_SECONDS
                return
            if cancelled():
                raise Cancelled
            if status.state is State.REFUSED or time.monotonic() > deadline:
                raise PictureFailed(status.sentence)
            time.sleep(LOOK_SECONDS)

    def _ask_once(
        self, kind: str, body: Mapping[str, Any], cancelled: Callable[[], bool], progress: Callable[[int, int], None]
    ) -> Received | Failure:
        answers: list[Received | Failure] = []

        def event(received: Received) -> None:
            if received.kind == wire.Kind.PROGRESS:
                progress(received.body["done"], received.body["total"])

        number = self._client.request(kind, body, on_reply=answers.append, on_failure=answers.append, on_event=event)
        while not answers:
            if not self._client.pump():
                time.sleep(LOOK_SECONDS)
            if cancelled():
                self._client.cancel(number)
                raise Cancelled
        return answers[0]
