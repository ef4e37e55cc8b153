"""Files that clients send: a picture, a video or splats on the artist's disk, for a server that is elsewhere.

    <first root>/.legs4d-inbox/<client>/<first 16 of its sha256, or the folder asked for>/<name>
    <first root>/.legs4d-inbox/<client>/.partial/<sha256>.<bytes>       what has come so far

A file gets its name only when it is complete and its hash is right. Names of runs and datasets do not lead into hidden
folders when the roots are searched, so what lies here is listed nowhere. No sockets; for one thread at a time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.service.config import Limits
from backend.service.errors import BackendError
from backend.service.requests import Upload
from backend.wire import Code
from legs4d.errors import disk_is_full
from legs4d.gaussians.store.files import sync_folder

log = logging.getLogger("legs4d.backend")

FOLDER = ".legs4d-inbox"
PARTIAL = ".partial"
LOCAL = "local"
"""Whose inbox it is when clients have no keys: all programs of this machine's user."""
MAX_FILES = 10_000
"""In one client's inbox, complete or not."""
MAX_NAME_BYTES = 160
SPARE_BYTES = 1 << 30
"""That an upload leaves free on the disk."""
MAX_HASHES = 64
"""Files whose hash is kept in memory; others' is computed again when it is needed."""
READ_BYTES = 1 << 20

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


@dataclass
class _Standing:
    """How far an upload is, and the hash of what has come."""

    offset: int
    sha256: Any


class Inbox:
    """The inboxes of all clients, below one root."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._root, self._limits = root, limits
        self._home = root / FOLDER
        self._standing: OrderedDict[Path, _Standing] = OrderedDict()
        self._known_hashes: OrderedDict[Path, tuple[int, int, str]] = OrderedDict()
        """Of complete files: size and time of the last change, for which the hash holds."""

    def take(self, client: str, asked: Upload, data: memoryview | None) -> dict[str, Any]:
        """Take a piece of a file, or tell how far it is; the body of the reply.

        A piece that does not begin where the upload stands is left out: the reply says where it stands. So pieces may
        be under way while another one is lost, and an upload goes on after a new connection, or another server.

        Raises BackendError `upload`: too large, no room, or a hash that is wrong (then what has come is deleted).
        """
        name = safe_name(asked.name)
        folder = self._home / client / (safe_name(asked.folder) if asked.folder else asked.sha256[:16])
        path, partial = folder / name, self._home / client / PARTIAL / f"{asked.sha256}.{asked.bytes}"
        with _clear_errors(name):
            if path.exists():
                return self._known(path, asked)
            standing = self._begin(client, partial, asked)
            if data is not None and asked.offset == standing.offset:
                self._append(partial, standing, asked, data)
            if standing.offset == asked.bytes:
                self._finish(partial, path, standing, asked)
                return self._reply(asked.bytes, path)
        return self._reply(standing.offset, None)

    def sweep(self, used: Collection[str], now: float | None = None) -> int:
        """Delete what nobody has touched for the configured time and no path in `used` names; the number of files."""
        oldest = (time.time() if now is None else now) - 3600 * self._limits.inbox_hours
        swept = 0
        for folder, _, names in os.walk(self._home, topdown=False):
            for name in names:
                path = Path(folder, name)
                try:
                    if path.lstat().st_mtime < oldest and not {str(path), folder} & set(used):
                        path.unlink()
                        self._standing.pop(path, None)
                        swept += 1
                except FileNotFoundError:  # another server of the same root was quicker
                    continue
            if Path(folder) != self._home and not os.listdir(folder):
                os.rmdir(folder)
        if swept:
            log.info("%d files that clients had sent were deleted: untouched for %g h", swept, self._limits.inbox_hours)
        return swept

    def _known(self, path: Path, asked: Upload) -> dict[str, Any]:
        """The reply about a file that is there already."""
        known = self._known_hashes.get(path)
        if known is None or known[:2] != _state_of(path):
            known = self._note(path, _hash_of(path, path.stat().st_size).hexdigest())
        if (known[0], known[2]) != (asked.bytes, asked.sha256):
            raise _refused(f"another file is called {path.name!r} in that folder", "send it into another folder")
        os.utime(path)
        self._note(path, known[2])
        return self._reply(asked.bytes, path)

    def _note(self, path: Path, sha256: str) -> tuple[int, int, str]:
        known = self._known_hashes[path] = (*_state_of(path), sha256)
        while len(self._known_hashes) > MAX_HASHES:
            self._known_hashes.popitem(last=False)
        return known

    def _begin(self, client: str, partial: Path, asked: Upload) -> _Standing:
        """Where this upload stands; begun if it is new and there is room for it."""
        if not partial.exists():
            self._check_room(client, asked)
            partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not partial.parent.resolve().is_relative_to(self._root):
                raise _refused(f"{FOLDER} leads outside the root", "remove the link")
            partial.touch(mode=0o600)
        size = partial.stat().st_size
        standing = self._standing.get(partial)
        if standing is None or standing.offset != size:
            standing = self._standing[partial] = _Standing(size, _hash_of(partial, size))
        self._standing.move_to_end(partial)
        while len(self._standing) > MAX_HASHES:
            self._standing.popitem(last=False)
        return standing

    def _append(self, partial: Path, standing: _Standing, asked: Upload, data: memoryview) -> None:
        if standing.offset + len(data) > asked.bytes:
            raise _refused(f"more came than the {asked.bytes:,} bytes that were announced", "send the file anew")
        with open(partial, "ab") as file:
            file.write(data)
        standing.sha256.update(data)
        standing.offset += len(data)

    def _finish(self, partial: Path, path: Path, standing: _Standing, asked: Upload) -> None:
        self._standing.pop(partial, None)
        if standing.sha256.hexdigest() != asked.sha256:
            partial.unlink()
            raise _refused("what arrived has another sha256 than was announced", "send it anew: nothing is kept of it")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
        self._note(path, asked.sha256)

    def _check_room(self, client: str, asked: Upload) -> None:
        largest, quota = self._limits.upload_mib << 20, self._limits.inbox_mib << 20
        if asked.bytes > largest:
            raise _refused(
                f"it has {asked.bytes:,} bytes, at most {largest:,} are taken", "its keeper sets limits.upload_mib"
            )
        sizes = list(self._sizes(client))
        if sum(sizes) + asked.bytes > quota or len(sizes) >= MAX_FILES:
            raise _refused(
                f"the inbox holds {sum(sizes):,} bytes in {len(sizes)} files, at most {quota:,} in {MAX_FILES}",
                f"what is {self._limits.inbox_hours:g} h old is deleted; its keeper sets limits.inbox_mib",
            )
        if shutil.disk_usage(self._root).free < asked.bytes + SPARE_BYTES:
            raise _refused("no space is left on the server's disk", "have its keeper free some")

    def _sizes(self, client: str) -> Iterator[int]:
        """Bytes of every file in a client's inbox; of one that is not complete, what it will have."""
        for folder, _, names in os.walk(self._home / client):
            for name in names:
                partial = Path(folder).name == PARTIAL
                yield int(name.rpartition(".")[2]) if partial else Path(folder, name).lstat().st_size

    def _reply(self, offset: int, path: Path | None) -> dict[str, Any]:
        return {"offset": offset, "name": None if path is None else path.relative_to(self._root).as_posix()}


def safe_name(name: str) -> str:
    """A file's name as every system takes it: the last part of a path, without what has a meaning somewhere.

    Letters of any script stay, and so does the suffix.
    """
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    plain = "".join("_" if c in '<>:"|?*' or not c.isprintable() else c for c in last).strip(". ")
    stem, dot, suffix = plain.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem and len(suffix) <= 16 else (plain, "")
    while len((stem + suffix).encode("utf-8", "replace")) > MAX_NAME_BYTES:
        stem = stem[:-1]
    whole = (stem + suffix).encode("utf-8", "replace").decode()
    return f"_{whole}" if not whole or _RESERVED.match(whole) else whole


def _state_of(path: Path) -> tuple[int, int]:
    """Size and time of the last change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _hash_of(path: Path, size: int) -> Any:
    """sha256 of the first `size` bytes, to go on with."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while size > 0 and (piece := file.read(min(READ_BYTES, size))):
            sha256.update(piece)
            size -= len(piece)
    return sha256


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if disk_is_full(error):
            raise _refused("no space is left on the server's disk", "have its keeper free some") from error
        raise _refused(f"{name!r} cannot be written there ({error.strerror})", "have its keeper look") from error


def _refused(what: str, fix: str) -> BackendError:
    return BackendError(what, fix=fix, code=Code.UPLOAD)
