"""Files are known by what they hold: neither where they lie nor when they were written there makes them other ones.

A file's hash is kept beside its size, times and number (inode) in this user's cache, so that a file is read anew only
where one of these has changed. Losing the cache costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

import platformdirs

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.scene.footage.names import is_left_behind

CACHE_VARIABLE = "LEGS4D_CACHE_DIR"
"""Environment variable that says where caches are, in place of the platform's folder for them."""

FRESH_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again within the clock's step: its hash is not kept."""
QUIET_SECONDS = 0.5
"""What is read in less is not told of."""
_READERS = 8
_BLOCK = 1 << 22
_MIB = 1 << 20
_DIGEST_BYTES = 16

State = tuple[int, int, int, int]
"""Size, time of the last change of content, time of the last change of anything (both in ns), and inode of a file."""


@dataclass(frozen=True)
class Content:
    """The files that footage is read from.

    Attributes:
        root: the dataset folder.
        footage: its files of cameras, pictures, masks and points.
        language: those that matter to the lift alone: captions, object masks.
        found: folder of objects that were found in it, wherever that lies; its files are called "found/…".
    """

    root: Path
    footage: tuple[Path, ...]
    language: tuple[Path, ...] = ()
    found: Path | None = None
    _known: dict[str, dict[str, str]] = field(default_factory=dict, repr=False, compare=False)

    def hashes(self, context: Context = QUIET, *, language: bool = False) -> dict[str, str]:
        """Name in the dataset ("ims/0/000003.jpg") → hash, of the footage's files or of those of language.

        Raises:
            DatasetError: a file cannot be read.
            Stopped: `stop` was set.
        """
        kind = "language" if language else "footage"
        if kind not in self._known:
            paths = self.language if language else self.footage
            self._known[kind] = hash_files(self.root, paths, context, self.found)
        return self._known[kind]

    def fingerprint(self, *, language: bool = False) -> str:
        """Hash of the footage's names and hashes; with `language`, of those of language too."""
        kinds = (False, True) if language else (False,)
        return digest_of([self.hashes(language=kind) for kind in kinds])


def digest_of(value: object) -> str:
    """Hash of a JSON value."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def hash_files(
    root: Path, paths: Iterable[Path], context: Context = QUIET, objects: Path | None = None
) -> dict[str, str]:
    """Name relative to `root`, with "/" between folders, → hash of each file's bytes. Several are read at once.

    Args:
        objects: `found` of `Content`.

    Raises:
        DatasetError: a file cannot be read.
        Stopped: `stop` was set.
    """
    began = time.time_ns()
    files = {_name(root, path, objects): path for path in paths}
    states = {name: _state(path) for name, path in files.items()}
    cache = _cache_file(root)
    kept = _read_cache(cache)
    found = {name: kept[name][1] for name, state in states.items() if kept.get(name, (None,))[0] == state}
    unread = {name: path for name, path in files.items() if name not in found}
    if unread:
        found |= _read_all(unread, states, context)
        fresh = {
            name: (states[name], found[name])
            for name, path in unread.items()
            if max(states[name][1:3]) < began - FRESH_NS and _state(path) == states[name]
        }
        _write_cache(cache, {name: entry for name, entry in kept.items() if name not in unread} | fresh)
    return {name: found[name] for name in files}


def digest_at(path: Path, context: Context = QUIET, files: Iterable[Path] | None = None) -> str:
    """Hash of what a file holds, whatever it is called; or of files in a folder, with their names in it.

    Args:
        files: those that count; by default all but what systems leave behind.

    Raises:
        DatasetError: a file cannot be read.
        Stopped: `stop` was set.
    """
    if not path.is_dir():
        return digest_of([*hash_files(path.parent, [path], context).values()])
    if files is None:
        there = sorted(file for file in path.rglob("*") if file.is_file())
        files = [file for file in there if not any(map(is_left_behind, file.relative_to(path).parts))]
    return digest_of(hash_files(path, files, context))


def hash_file(path: Path) -> str:
    """Hash of one file's bytes. Raises OSError when it cannot be read."""
    return _Reading().hash(path)


def cache_folder() -> Path:
    """Where this user's caches are: $LEGS4D_CACHE_DIR, else the platform's place for them."""
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("legs4d", appauthor=False))


class _Reading:
    """Bytes read so far, by all threads together, and whether to stop."""

    def __init__(self) -> None:
        self.done, self.over = 0, Event()
        self._lock = Lock()

    def hash(self, path: Path) -> str:
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        with open(path, "rb", buffering=0) as file:
            while not self.over.is_set() and (block := file.read(_BLOCK)):
                digest.update(block)
                with self._lock:
                    self.done += len(block)
        return digest.hexdigest()


def _read_all(files: Mapping[str, Path], states: Mapping[str, State], context: Context) -> dict[str, str]:
    reading, started = _Reading(), time.monotonic()
    reporter = context.reporter("reading_footage_(MiB)")
    total = -(-sum(states[name][0] for name in files) // _MIB)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="legs4d-hash") as pool:
        waiting = {name: pool.submit(reading.hash, path) for name, path in files.items()}
        try:
            for job in waiting.values():
                while not job.done():
                    with suppress(TimeoutError):
                        job.exception(timeout=StageReporter.INTERVAL)
                    reporter.check()
                    if time.monotonic() - started > QUIET_SECONDS:
                        reporter.step(min(reading.done // _MIB, total), total)
        except BaseException:
            reading.over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        found = {}
        for name, job in waiting.items():
            try:
                found[name] = job.result()
            except OSError as error:
                what = f"cannot be read ({error.strerror})"
                raise DatasetError(what, where=str(files[name]), fix="check the file") from error
    return found


def _name(root: Path, path: Path, found: Path | None) -> str:
    if found is not None and path.is_relative_to(found):
        return f"found/{path.relative_to(found).as_posix()}"
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        pass
    return path.as_posix()  # what a dataset names elsewhere is known by where that is


def _state(path: Path) -> State:
    try:
        found = path.stat()
    except OSError as error:
        raise DatasetError(f"cannot be read ({error.strerror})", where=str(path), fix="check the file") from error
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _cache_file(root: Path) -> Path:
    name = hashlib.blake2b(str(root.resolve()).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
    return cache_folder() / "content" / f"{name}.json"


def _read_cache(path: Path) -> dict[str, tuple[State, str]]:
    """What is kept of a dataset; nothing where it cannot be read, as it is then made anew."""
    try:
        content = json.loads(path.read_text())
        return {name: ((int(s), int(m), int(c), int(i)), str(digest)) for name, (s, m, c, i, digest) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_cache(path: Path, entries: Mapping[str, tuple[State, str]]) -> None:
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with suppress(OSError):  # a home that cannot be written to makes the next start slower, not wrong
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({name: [*state, digest] for name, (state, digest) in entries.items()}))
        os.replace(temporary, path)
