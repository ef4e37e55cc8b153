"""Folders on machines that share no file system: each works on a copy of its own, kept level through an object store.

The store is a URL that fsspec knows (s3://bucket/run, gs://…, file:///mnt/…). Files of a run are whole or not there,
and so are objects, so that a copy is level once it has all that the listing (`LISTING`), written last, tells of.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from legs4d.errors import RunError
from legs4d.gaussians.store.files import TEMPORARY_PREFIX, clear_write_errors, new_file

LISTING = "legs4d-files.json"
"""What the store holds: name → version of its content."""

PLACES: dict[str, Path] = {}
"""Of this process: a folder's name on the machine that handed out the work → its copy here."""


def here(path: str | Path) -> Path:
    """This machine's copy of a folder, or of what is in it, that another machine named; else the path itself."""
    named = Path(path)
    for folder, copy in PLACES.items():
        if named == Path(folder) or Path(folder) in named.parents:
            return copy / named.relative_to(folder)
    return named


class Mirror:
    """A folder here and what the store holds of it.

    Args:
        folder: need not exist yet.
        url: where the store keeps it.

    Raises:
        RunError: fsspec knows no such store, or the package that speaks to it is not installed.
    """

    def __init__(self, folder: Path, url: str) -> None:
        import fsspec

        self.folder, self.url = folder, url
        try:
            self._store, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise RunError(
                f"cannot be used as a store ({error})", where=url, fix="give a URL that fsspec knows, with its package"
            ) from error
        self._known: dict[str, str] = {}

    def push(self, check: Callable[[], None] = lambda: None) -> list[str]:
        """Send what is new or changed since this was last level; returns the names.

        Args:
            check: called before each file; what it raises ends the work.

        Raises:
            RunError: the store takes nothing.
        """
        present = {name: _version(self.folder / name) for name in _names(self.folder)}
        changed = [name for name, version in present.items() if self._known.get(name) != version]
        with self._errors():
            for name in changed:
                check()
                self._store.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
                self._store.put_file(str(self.folder / name), f"{self._root}/{name}")
        self._known = present
        return changed

    def publish(self, check: Callable[[], None] = lambda: None) -> None:
        """`push`, and say in the listing what there is: for the one who hands out work, before it does."""
        self.push(check)
        with self._errors():
            self._store.pipe_file(f"{self._root}/{LISTING}", json.dumps(self._known).encode())

    def pull(self) -> None:
        """Make the folder level with the listing: for those who are handed work.

        Raises:
            RunError: the store does not answer, or holds nothing.
        """
        with self._errors():
            listing = json.loads(self._store.cat_file(f"{self._root}/{LISTING}"))
        record = self.folder / f".{LISTING}"
        level = json.loads(record.read_text()) if record.exists() else {}
        missing = [name for name, version in listing.items() if level.get(name) != version]
        self.fetch(missing)
        for name in missing:  # what was read of footage is known by its files' times too
            written = int(listing[name].partition(" ")[2])
            os.utime(self.folder / name, ns=(written, written))
        for name in set(level) - set(listing):
            (self.folder / name).unlink(missing_ok=True)
        if missing or set(level) != set(listing):
            with new_file(record) as file:
                file.write(json.dumps(listing).encode())
        self._known = {name: _version(self.folder / name) for name in _names(self.folder)}

    def fetch(self, names: Iterable[str]) -> None:
        """Get these files from the store; each appears complete or not at all."""
        for name in names:
            target = self.folder / name
            with self._errors():
                content = self._store.cat_file(f"{self._root}/{name}")
            with clear_write_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            with new_file(target) as file:
                file.write(content)
            self._known[name] = _version(target)

    def _errors(self) -> _StoreErrors:
        return _StoreErrors(self.url)


class _StoreErrors:
    """Turns what a store raises into a RunError that names it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (OSError, ValueError)):
            raise RunError(
                f"the store does not do what it is asked ({error})",
                where=self.url,
                fix="check the URL and what you may do there, and run the same command again to resume",
            ) from error


def copy_of(url: str) -> Path:
    """Where this machine keeps its copy of what a store holds: in $LEGS4D_COPIES, else in the temporary folder."""
    parent = Path(os.environ.get("LEGS4D_COPIES") or Path(tempfile.gettempdir()) / "legs4d-copies")
    return parent / hashlib.sha256(url.encode()).hexdigest()[:16]


def _names(folder: Path) -> list[str]:
    """Of all finished files, relative to the folder; those that start with a dot are this machine's alone."""
    return [
        str(path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith((".", TEMPORARY_PREFIX))
    ]


def _version(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"
