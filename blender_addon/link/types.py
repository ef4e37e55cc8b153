"""What a connection is about, for both of its threads: where a backend listens, how it stands, what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .. import access, wire


class State(Enum):
    """Where the connection stands."""

    OFF = "off"
    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"
    """Nobody answers; the client keeps trying."""
    REFUSED = "refused"
    """Somebody answers, but lets nobody in: another version or a wrong token; the client keeps trying, slowly."""


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
        keys: this Blender's pair, where there is a `server_key`.
    """

    endpoint: str
    token: str
    server_key: str = ""
    keys: access.CurveKeys | None = None


@dataclass(frozen=True)
class Failure:
    """Why a request was not answered.

    Attributes:
        code: a `wire.Code`, or "lost" (no connection), or "local" (this side could not store what came).
        sentence: for the panel.
    """

    code: str
    sentence: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Failure:
        """What an error's body says, with what to do about it."""
        sentence, hint = str(body.get("message", "The backend gave no reason")), str(body.get("hint", ""))
        text = f"{sentence.rstrip('.')}; {hint.rstrip('.')}." if hint else f"{sentence.rstrip('.')}."
        return cls(str(body.get("code", wire.Code.INTERNAL)), text)


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
OnFailure = Callable[[Failure], None]
Sink = Callable[[wire.Message], Any]
