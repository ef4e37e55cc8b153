"""File names as people and systems write them: order by number, either slash, letters in either Unicode form, and files
that systems leave behind."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from legs4d.errors import DatasetError

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".jp2"))
VIDEOS = frozenset((".mp4", ".mov", ".mkv", ".m4v", ".avi", ".webm", ".mts", ".ts"))
"""Suffixes, in small letters."""

LISTED = 8
"""Names that an error lists; more are counted."""

_LEFT_BEHIND = {"thumbs.db", "desktop.ini", "__macosx"}
_DIGITS = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[int, Any], ...]:
    """For sorting: numbers in a name compare as numbers, letters without regard to their case or Unicode form."""
    parts = _DIGITS.split(folded(name))
    return tuple((0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts))


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or left by a system: `._x.png`, `.DS_Store`, `Thumbs.db`, `__MACOSX`."""
    return name.startswith(".") or name.casefold() in _LEFT_BEHIND


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order, without what systems leave behind; nothing where there is none."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if not is_left_behind(path.name))
    return sorted(found, key=lambda path: (natural_key(path.name), path.name))


def list_files(folder: Path, suffixes: frozenset[str], *, deep: bool = False) -> list[Path]:
    """Files in a folder with one of these suffixes, in natural order; with `deep`, in its folders too."""
    found: list[Path] = []
    for path in list_folder(folder):
        if path.is_dir():
            found += list_files(path, suffixes, deep=True) if deep else []
        elif path.suffix.casefold() in suffixes:
            found.append(path)
    return found


def in_order(names: Iterable[str], what: str, where: str) -> list[str]:
    """Different names of one style, in natural order.

    Args:
        what: is named by them, in the plural.

    Raises:
        DatasetError: they differ in more than their numbers, or two have the same number: their order is a guess.
    """
    ordered = sorted(set(names), key=lambda name: (natural_key(name), name))
    styles: dict[str, str] = {}
    for name in ordered:
        styles.setdefault(_DIGITS.sub("#", folded(name)), name)
    if len(styles) > 1:
        first, second = list(styles.values())[:2]
        raise DatasetError(
            f"names its {what} in more than one way ({first!r} and {second!r}), so that their order is a guess",
            where=where,
            fix="name them by numbers alone, or by one text and a number",
        )
    for first, second in pairwise(ordered):
        if natural_key(first) == natural_key(second):
            raise DatasetError(
                f"has two {what} of one number ({first!r} and {second!r})", where=where, fix="keep one of them"
            )
    return ordered


def numbers_of(names: Sequence[str]) -> list[int]:
    """A number for each camera: the last in its name, where that tells them all apart, else its place."""
    found = [_DIGITS.findall(name) for name in names]
    numbers = [int(digits[-1]) for digits in found if digits]
    return numbers if len(set(numbers)) == len(names) else list(range(len(names)))


def as_posix(name: str) -> PurePosixPath:
    """A file name inside a dataset, whichever slash separates its parts."""
    return PurePosixPath(name.replace("\\", "/"))


def find_inside(root: Path, name: str, where: str, *, suffixes: frozenset[str] = frozenset()) -> Path | None:
    """The file that a dataset means by `name`, relative to `root`; None where there is none.

    Names match whatever slash, letter case and Unicode form they were written in, an exact match first.

    Args:
        where: what names the file, for errors.
        suffixes: that may be left out of the name.

    Raises:
        DatasetError: the name leads out of the folder: a dataset from elsewhere must not have other files read.
    """
    parts = as_posix(name).parts
    if not parts or ".." in parts or parts[0] == "/" or PureWindowsPath(name).drive or "\0" in name:
        raise DatasetError(f"names the file {name!r}", where=where, fix="name files inside the dataset folder")
    try:
        exact = root.joinpath(*parts)
        if exact.is_file():
            return exact
        path: Path | None = root
        for part in parts[:-1]:
            path = _match(path, part) if path is not None else None
        return None if path is None else _match(path, parts[-1], suffixes)
    except OSError as error:  # a name that is too long, or a folder that may not be read
        raise DatasetError(f"{name[:80]!r} cannot be looked for ({error.strerror})", where=where) from error


def some(names: Sequence[str]) -> str:
    """Names as a list in an error, cut off when it grows long."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def _match(folder: Path, part: str, suffixes: frozenset[str] = frozenset()) -> Path | None:
    exact = folder / part
    if exact.exists() and not (suffixes and exact.is_dir()):
        return exact
    for suffix in suffixes:  # before the folder is listed: names without suffix come by the thousand
        if exact.with_name(part + suffix).is_file():
            return exact.with_name(part + suffix)
    wanted = folded(part)
    alike = [path for path in list_folder(folder) if folded(path.name) == wanted]
    if not alike and suffixes:
        alike = [p for p in list_files(folder, suffixes) if folded(p.name[: -len(p.suffix)]) == wanted]
    return alike[0] if alike else None


def folded(name: str) -> str:
    """A name without regard to letter case and Unicode form, for comparing."""
    return unicodedata.normalize("NFC", name).casefold()
