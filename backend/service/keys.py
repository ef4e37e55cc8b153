"""CURVE keys: the server's own pair, a client's own pair, and whom the server lets in.

    <state folder>/keys/server.json     {"public", "secret"} of the server, mode 0600
    <state folder>/keys/client.json     {"public", "secret"} of this user as a client, mode 0600
    <state folder>/keys/authorized/     NAME.pub, one line: the public key of a client that is let in

Keys are 40 characters of Z85, as ZeroMQ has them.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import zmq

from backend.access import CLIENT_KEYS_FILE, CurveKeys, new_keys, read_client_keys
from backend.service.errors import BackendError
from backend.uploads.inbox import LOCAL
from backend.wire import WireError
from legs4d.gaussians.store.files import clear_write_errors

SERVER_KEYS_FILE = "keys/server.json"
AUTHORIZED_FOLDER = "keys/authorized"
SUFFIX = ".pub"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class Authorized:
    """A client that is let in."""

    name: str
    public: str


def new_pair() -> CurveKeys:
    """A fresh key pair, whose public half needs no quotes in a shell."""
    return new_keys(zmq.curve_keypair)


def make_client_keys(state_dir: Path, *, force: bool = False) -> CurveKeys:
    """Make this user's own pair. Raises BackendError if there is one, or what may be one, and `force` is False."""
    try:
        found = None if force else read_client_keys(state_dir)
    except WireError as error:
        raise BackendError(error.message, fix="restore the file, or give --force for new keys") from error
    if found:
        raise BackendError(
            f"there are keys already (public: {found.public})",
            where=str(state_dir / CLIENT_KEYS_FILE),
            fix="use these, or give --force for new ones, which servers must authorize again",
        )
    keys = new_pair()
    _write_secret(state_dir / CLIENT_KEYS_FILE, keys)
    return keys


def server_keys(state_dir: Path) -> CurveKeys:
    """The server's pair, made when it is first asked for."""
    path = state_dir / SERVER_KEYS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return CurveKeys(str(content["public"]), str(content["secret"]))
    except FileNotFoundError:
        keys = new_pair()
        _write_secret(path, keys)
        return keys
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(
            "the server's keys cannot be read", where=str(path), fix="restore the file, or delete it for new keys"
        ) from error


def is_key(text: str) -> bool:
    """Whether this is how a key is written."""
    return _KEY.fullmatch(text) is not None


def authorize(state_dir: Path, name: str, public: str) -> None:
    """Let the client with this public key in, from now on. Raises BackendError for what is no name or no key."""
    if not _NAME.fullmatch(name):
        raise BackendError(
            f"{name[:80]!r} is no name for a key", fix="use 1 to 64 letters, digits, and . _ @ -, a letter first"
        )
    if not is_key(public):
        raise BackendError(
            "is no public key: it has 40 characters of Z85", where=public[:60], fix="copy it from `legs4d keys new`"
        )
    taken = next((one.name for one in authorized(state_dir) if one.public == public and one.name != name), None)
    if taken:
        raise BackendError(f"this key is authorized already, as {taken!r}", fix="revoke that first to rename it")
    folder = state_dir / AUTHORIZED_FOLDER
    with clear_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = folder / f".{name}.new"
        temporary.write_text(public + "\n")
        os.replace(temporary, folder / (name + SUFFIX))


def revoke(state_dir: Path, name: str) -> None:
    """Let this client in no longer; a running server stops answering it at once. Raises BackendError if unknown."""
    known = [one.name for one in authorized(state_dir)]
    if name not in known:
        raise BackendError(f"no key is called {name[:80]!r}", fix=f"there are: {', '.join(known) or 'none'}")
    (state_dir / AUTHORIZED_FOLDER / (name + SUFFIX)).unlink()


def authorized(state_dir: Path) -> list[Authorized]:
    """Everybody who is let in, by name. A file that holds no key lets nobody in."""
    folder = state_dir / AUTHORIZED_FOLDER
    if not folder.is_dir():
        return []
    found = [
        Authorized(path.name.removesuffix(SUFFIX), path.read_text().strip()) for path in folder.glob(f"[!.]*{SUFFIX}")
    ]
    return sorted((one for one in found if _KEY.fullmatch(one.public)), key=lambda one: one.name)


class Gate:
    """Says who is let in: authorized keys as they are on the disk now, and the pair that this start made for itself."""

    def __init__(self, state_dir: Path, own: str) -> None:
        self._state_dir, self._own = state_dir, own
        self._folder = state_dir / AUTHORIZED_FOLDER
        self._seen: int | None = None
        self._keys: dict[str, str] = {}

    def name_of(self, public: str) -> str | None:
        """The name of the client with this key, None if it is not let in."""
        if public == self._own:
            return LOCAL
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed != self._seen:
            self._keys = {one.public: one.name for one in authorized(self._state_dir)}
            self._seen = changed
        return self._keys.get(public)


def _write_secret(path: Path, keys: CurveKeys) -> None:
    with clear_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({"public": keys.public, "secret": keys.secret}, file)
        os.replace(temporary, path)
