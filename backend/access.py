"""How a client finds a server of the same user on the same machine, or another one by its address, and their keys.

Like wire.py, beside which it lies there, the extension build copies this file: only the standard library is used.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .wire import WireError

DEFAULT_PORT = 47404
"""Of servers that other machines reach, and of addresses that name none."""

STATE_DIR_VARIABLE = "LEGS4D_STATE_DIR"
SERVER_FILE = "server.json"
CLIENT_KEYS_FILE = "keys/client.json"
"""In the state folder: this user's own CURVE keys, {"public", "secret"}, for servers beyond this machine."""


@dataclass(frozen=True)
class CurveKeys:
    """A key pair, 40 characters of Z85 each; the secret half is never shown nor sent."""

    public: str
    secret: str = field(repr=False)


_PLAIN_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z.\-:+=/@]{39}")
"""What neither POSIX shells nor Windows' read as anything but text."""


def new_keys(make: Callable[[], tuple[bytes, bytes]]) -> CurveKeys:
    """A fresh key pair, whose public half no shell takes for anything else, so that it needs no quotes.

    Z85 has characters that shells read ($ & * …): pairs are made until there is none, some 4,000, in a few tenths of a
    second. That tells no more of a secret than 12 of its 250 bits.

    Args:
        make: makes a pair, (public, secret): zmq.curve_keypair.
    """
    while True:
        public, secret = (half.decode() for half in make())
        if _PLAIN_KEY.fullmatch(public):
            return CurveKeys(public, secret)


@dataclass(frozen=True)
class ServerFile:
    """Where a running server listens, as it wrote it into `server.json` (readable by its user only).

    Attributes:
        endpoint: to connect to.
        token: for every request.
        pid: of the server.
        server_key: the server's public CURVE key, empty for a server that is spoken to in the clear (loopback).
        keys: the pair to connect with if there is a `server_key`.
    """

    endpoint: str
    token: str = field(repr=False)
    pid: int
    server_key: str = ""
    keys: CurveKeys | None = None


def endpoint_of(address: str) -> str:
    """ZeroMQ's endpoint of an address as people write it: HOST, HOST:PORT, [IPv6]:PORT, with or without tcp://.

    Raises WireError when it is none of these.
    """
    text = address.strip().removeprefix("tcp://").rstrip("/")
    if text.count(":") > 1 and not text.startswith("["):  # IPv6 by itself
        text = f"[{text}]"
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w.-]+)(?::(\d{1,5}))?", text)
    port = int(match.group(2) or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port < 65_536:
        raise WireError(f"{address[:80]!r} is no address", hint=f"write HOST or HOST:PORT, such as gpu7:{DEFAULT_PORT}")
    return f"tcp://{match.group(1)}:{port}"


def state_dir() -> Path:
    """The folder of this user's server file and jobs: $LEGS4D_STATE_DIR, else the platform's place for such state."""
    chosen = os.environ.get(STATE_DIR_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "legs4d"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "legs4d"
    return Path(os.environ.get("XDG_STATE_HOME", "").strip() or home / ".local" / "state") / "legs4d"


def read_server_file(folder: Path | None = None) -> ServerFile | None:
    """What the running server wrote in this state folder; None when no server has written there, or it has stopped.

    A server that was killed leaves its file behind: connecting to it then gets no answer. Raises WireError when the
    file is damaged.
    """
    path = (folder or state_dir()) / SERVER_FILE
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        curve = content.get("curve", {})
        keys = CurveKeys(str(curve["public"]), str(curve["secret"])) if curve else None
        server_key = str(curve["server"]) if curve else ""
        return ServerFile(str(content["endpoint"]), str(content["token"]), int(content["pid"]), server_key, keys)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WireError(
            f"{path} cannot be read ({error})", hint="stop the server, remove the file and start it again"
        ) from error


def read_client_keys(folder: Path | None = None) -> CurveKeys | None:
    """This user's own keys, as `legs4d keys new` made them in the state folder; None if there are none.

    Raises WireError when the file is damaged.
    """
    path = (folder or state_dir()) / CLIENT_KEYS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return CurveKeys(str(content["public"]), str(content["secret"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WireError(f"{path} cannot be read ({type(error).__name__})", hint="make new keys") from error


def same_token(given: str, expected: str) -> bool:
    """Compare tokens in a time that does not tell how much of them agrees."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8"))
