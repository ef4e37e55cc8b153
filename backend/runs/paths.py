"""What clients may name on this machine's disk: folders under the configured roots, and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from backend.service.errors import BackendError
from backend.wire import Code

MAX_NAME_BYTES = 512
MAX_DEPTH = 5
"""How many folders below a root are searched for runs and datasets."""
MAX_FOLDERS = 20_000
"""How many folders one search may visit."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_DRIVE = re.compile(r"^[A-Za-z]:")


class Roots:
    """The folders that are served. Every path that comes out of here lies under one of them, links resolved.

    Raises BackendError at the start when a root is not a folder.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders: list[Path] = []
        for folder in folders:
            if not folder.is_dir():
                raise BackendError("is not a folder", where=str(folder), fix="give --root a folder that exists")
            resolved = folder.resolve()
            if resolved not in self.folders:
                self.folders.append(resolved)

    def find(self, name: str) -> Path:
        """The folder of this name in the first root that has it; in the first root when none has.

        Raises BackendError `path` when the name cannot be one inside a root.
        """
        candidates = [self._inside(root, name) for root in self.folders]
        return next((path for path in candidates if path.exists()), candidates[0])

    def output(self, name: str) -> Path:
        """The folder of this name to write to, which need not exist; never a root itself."""
        path = self.find(name)
        if path in self.folders:
            raise _refused(name, "is a root itself", "name a folder below it")
        return path

    def search(self, kind_of: Callable[[Path], str | None]) -> Iterator[tuple[str, Path, str]]:
        """(name, folder, kind) of every folder that has a kind; such a folder is not searched further."""
        for root in self.folders:
            for folder, kind in _walk(root, kind_of):
                yield folder.relative_to(root).as_posix(), folder, kind

    def _inside(self, root: Path, name: str) -> Path:
        _check_text(name)
        try:
            path = (root / name).resolve()
            path.exists()  # raises for names that the file system cannot have
        except (OSError, RuntimeError, ValueError) as error:  # too long, or a loop of links
            reason = getattr(error, "strerror", None) or "it is a loop of links"
            raise _refused(name, f"cannot be a path ({reason})") from error
        if not path.is_relative_to(root):
            raise _refused(name, "leads outside the roots of the server", "remove the link, or serve its target")
        return path


def _check_text(name: str) -> None:
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise _refused(name, f"has not between 1 and {MAX_NAME_BYTES} bytes")
    if _FORBIDDEN.search(name):
        raise _refused(name, "holds a control character or a backslash", "put '/' between folders")
    if name.startswith(("/", "~")) or _DRIVE.match(name):
        raise _refused(name, "is an absolute path", "give it relative to one of the roots that 'hello' lists")
    if ".." in name.split("/"):
        raise _refused(name, "holds '..'", "give it relative to one of the roots that 'hello' lists")


def _refused(name: str, what: str, fix: str = "give the name of a folder under the roots") -> BackendError:
    shown = name if len(name) <= 60 else name[:60] + "…"
    return BackendError(f"the name {shown!r} {what}", fix=fix, code=Code.PATH)


def _walk(root: Path, kind_of: Callable[[Path], str | None]) -> Iterator[tuple[Path, str]]:
    """Breadth first, so that a limit cuts off the deepest; links to folders are not followed."""
    level, visited = [root], 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Path] = []
        for folder in level:
            visited += 1
            if visited > MAX_FOLDERS:
                return
            if kind := kind_of(folder):
                yield folder, kind
            else:
                below += _subfolders(folder)
        level = below


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            ]
    except OSError:  # vanished, or not readable: then it holds nothing to serve
        return []
