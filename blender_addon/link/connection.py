"""The connection to a backend as Blender's side of it: made as the preferences say, and the backend started here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bpy

from .. import access, wire
from ..ui import preferences
from . import backends, keys
from .backends import BackendError, LocalBackend
from .client import Client
from .types import Address, Failure, NoBackend, State, Status


class Link:
    """One connection.

    Attributes:
        client: None while nobody wants a connection.
        backend: the process that was started here, None if none was.
        message: what happened last that a person should know, beside the connection's status.
        on_ready: called whenever a backend answers, the first time and after each interruption.
    """

    def __init__(self) -> None:
        self.client: Client | None = None
        self.backend: LocalBackend | None = None
        self.message = ""
        self.on_ready: list[Callable[[], None]] = []

    @property
    def status(self) -> Status:
        """The connection's state and a sentence about it."""
        return self.client.status if self.client else Status(State.OFF, "Not connected.")

    @property
    def ready(self) -> bool:
        """Whether a backend listens."""
        return self.status.state is State.READY

    @property
    def server(self) -> Mapping[str, Any]:
        """What the backend says of itself; nothing before it is ready."""
        return self.client.server if self.client else {}

    def connect(self) -> None:
        """Connect as the preferences say, and stay connected: the client looks again whenever the backend goes away."""
        self.disconnect()
        self.client = Client(locator(), addon_version())
        self.client.on_status = self._status_changed
        self.client.start()

    def disconnect(self) -> None:
        """Close the connection; what is under way goes on when there is one again."""
        if self.client:
            closing, self.client = self.client, None
            closing.stop()
            closing.pump(1.0)

    def start_backend(self) -> None:
        """Start a backend on this machine and connect. BackendError if that cannot be done."""
        chosen = preferences.get()
        near = chosen.root and bpy.path.abspath(chosen.root)
        argv = backends.command(chosen.command and bpy.path.abspath(chosen.command), near)
        if not chosen.root:
            raise BackendError("Choose the folder with your runs and datasets first, in the panel or the preferences")
        root = Path(bpy.path.abspath(chosen.root))
        self.backend = LocalBackend(argv, [root], preferences.user_folder() / preferences.LOG_FILE)
        self.message = ""
        self.connect()

    def stop_backend(self) -> None:
        """Ask the backend that was started here to end."""
        if self.backend:
            self.backend.stop()
        self.disconnect()

    def close(self) -> None:
        """End both: Blender ends, or the add-on is disabled."""
        self.disconnect()
        if self.backend:
            self.backend.finish()
            self.backend = None

    def pump(self, seconds: float) -> bool:
        """Hand out what has arrived; whether there was anything."""
        changed = self.client.pump(seconds) if self.client else False
        if self.backend and not self.backend.running:
            self.message = self.backend.complaint() or self.message
            self.backend = None
            changed = True
        return changed

    def request(self, kind: str, body: Mapping[str, Any] | None = None, **options: Any) -> int | None:
        """`Client.request`; a failure nobody handles becomes the message. None if nobody wants a connection."""
        if self.client is None:
            return None
        options.setdefault("on_failure", self.say_failure)
        return self.client.request(kind, body, **options)

    def cancel(self, request: int | None) -> None:
        """End a request, if there is one."""
        if request is not None and self.client:
            self.client.cancel(request)

    def say_failure(self, failure: Failure) -> None:
        """Show why a request failed, unless the connection's own sentence says it."""
        if failure.code not in ("lost", wire.Code.CANCELLED):
            self.message = failure.sentence

    def _status_changed(self, status: Status) -> None:
        if status.state is State.READY:
            self.message = ""
            for listener in self.on_ready:
                listener()


def addon_version() -> str:
    """The extension's version, as its manifest says."""
    return str(tomllib.loads(Path(__file__).parents[1].joinpath("blender_manifest.toml").read_text())["version"])


def locator() -> Callable[[], Address]:
    """How the client finds the backend. It is called on the client's thread: no bpy in what is returned."""
    chosen = preferences.get()
    if chosen.connection == "LOCAL":
        return backends.locate
    endpoint, token = chosen.endpoint.strip(), chosen.token.strip()
    server_key = chosen.server_key.strip()
    problem = backends.obstacle(endpoint, bpy.app.online_access, server_key)
    pair = keys.ensure(preferences.user_folder()) if server_key and not problem else None

    def address() -> Address:
        if problem:
            raise NoBackend(problem)
        return Address(access.endpoint_of(endpoint), token, server_key, pair)

    return address
