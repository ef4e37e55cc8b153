"""Splat files of any program: found in the order that a person means, and read by the reader of their format."""

from __future__ import annotations

import glob
import gzip
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.deformed_folder import DeformedFrames, is_deformed
from legs4d.gaussians.formats.splat_errors import told_of
from legs4d.portable.kinds import SPLAT_FILES, size_of, unreadable
from legs4d.portable.ply.file import read_ply
from legs4d.portable.ply.header import read_header
from legs4d.portable.splat import read_splat
from legs4d.portable.splats import Splats
from legs4d.portable.spz import read_spz
from legs4d.scene.footage.names import list_folder, natural_key, some
from legs4d.scene.given import which_takes
from legs4d.scene.layouts import RESULT

if TYPE_CHECKING:
    from legs4d.gaussians.formats.usd import UsdSplats

SOG_INDEX = "meta.json"
"""Of a SOG whose images lie beside it; the folder is one frame."""
_FIX = f"name a file, a folder, or a pattern of {', '.join(SPLAT_FILES)} files"


class Frames(Protocol):
    """A sequence of splats that are not read yet."""

    @property
    def kind(self) -> str:
        """Its format."""
        ...

    @property
    def numbers(self) -> tuple[int, ...]:
        """The number that each frame has for its maker."""
        ...

    @property
    def fps(self) -> float | None:
        """Frames a second, where the files say."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what was assumed."""
        ...

    def __len__(self) -> int: ...

    def path(self, frame: int) -> Path:
        """The file of a frame."""
        ...

    def files(self) -> list[Path]:
        """Every file that is read."""
        ...

    def count(self, frame: int) -> int:
        """The most Gaussians that a frame can have."""
        ...

    def read(self, frame: int) -> Splats:
        """The Gaussians of a frame, in the files' own axes. Raises DatasetError."""
        ...


@dataclass(frozen=True)
class SplatFrames:
    """A sequence of files; see `Frames`.

    Attributes:
        paths: a file (or a SOG's folder) a frame, in order; a USD stage holds all frames alone.
        kind: one of the values of SPLAT_FILES.
        numbers: the number of each frame in its name, or counted from 0.
    """

    paths: tuple[Path, ...]
    kind: str
    numbers: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def fps(self) -> float | None:
        """Frames a second, where the files say."""
        return self._stage.fps if self.kind == "usd" and len(self.paths) == 1 and len(self) > 1 else None

    def path(self, frame: int) -> Path:
        """The file of a frame."""
        return self.paths[0] if len(self.paths) == 1 else self.paths[frame]

    def files(self) -> list[Path]:
        """Every file that is read, those of a SOG's folder one by one."""
        folders = [list_folder(path) if path.is_dir() else [path] for path in self.paths]
        return [path for folder in folders for path in folder if path.is_file()]

    def count(self, frame: int) -> int:
        """The most Gaussians that a frame can have: what its header tells, where it has one."""
        told = _COUNTED.get(self.kind)
        return len(self.read(frame)) if told is None else told_of(lambda: told(self.path(frame)))

    def read(self, frame: int) -> Splats:
        """The Gaussians of a frame, in the file's own axes.

        Raises:
            DatasetError: the file cannot be read, or holds no Gaussian.
        """
        path = self.path(frame)
        splats = told_of(lambda: self._read(path, frame))
        if not len(splats):
            raise DatasetError("holds no Gaussian that could be used", where=str(path), fix="leave it out")
        return splats

    def _read(self, path: Path, frame: int) -> Splats:
        if self.kind == "usd":
            return self._stage.read(frame) if len(self.paths) == 1 else _usd(path).read(0)
        return _reader(self.kind)(path)

    @cached_property
    def _stage(self) -> UsdSplats:
        return _usd(self.paths[0])


def find_splats(
    named: Sequence[str | Path], *, total: int | None = None, heads: tuple[str, ...] | None = None
) -> Frames:
    """The sequence that files, folders and patterns name.

    One name is taken apart: a folder or pattern gives its files in natural order, which must be numbered without gaps
    (a constant step is none). Several names are one frame each, in the order that they are given in.

    Args:
        total, heads: of a folder with a field that deforms; see `deformed_folder`.

    Raises:
        DatasetError: nothing is there, formats are mixed, a number is missing, or `total` or `heads` are given for
            files that do not deform.
    """
    if not named:
        raise DatasetError("nothing is named", where="PATH", fix=_FIX)
    parts = [_expand(str(name)) for name in named]
    paths = [path for part in parts for path in part]
    if len(paths) == 1 and is_deformed(paths[0]):
        return DeformedFrames(paths[0], total, heads)
    for option, value in (("--frames", total), ("--heads", heads)):
        if value is not None:
            what = "nothing here deforms in time: its frames are its files"
            raise DatasetError(what, where=option, fix="leave it out, or name a folder that 4DGaussians trained")
    kinds = {_kind(path) for path in paths}
    if len(kinds) > 1:
        raise DatasetError(
            f"mixes formats ({', '.join(sorted(kinds))})",
            where=some([str(name) for name in named]),
            fix="import the files of one format, or name them by a pattern such as '*.ply'",
        )
    (kind,) = kinds
    numbers = _numbers(paths) if len(named) == 1 and len(paths) > 1 else None
    frames = SplatFrames(tuple(paths), kind, tuple(numbers or range(len(paths))))
    if kind == "usd" and len(paths) == 1:
        times = told_of(lambda: _usd(paths[0]).times)
        return replace(frames, numbers=tuple(range(max(len(times), 1))))  # what stands still has no samples
    return frames


def _expand(name: str) -> list[Path]:
    """The files that one name means, in order."""
    path = Path(name)
    if path.is_dir():
        return [path] if _is_sog(path) else _in_folder(path)
    if path.exists():
        return [path.parent] if path.name == SOG_INDEX else [path]
    if glob.has_magic(name):
        found = [Path(each) for each in glob.glob(_pattern(name))]
        found = [each for each in found if _is_splats(each)]
        if found:
            return sorted(found, key=lambda each: natural_key(str(each)))
    raise DatasetError("there is no such file", where=name, fix=_FIX)


def _pattern(name: str) -> str:
    """A pattern in which the folders that are there are no patterns, whatever signs their names have."""
    parts = Path(name).parts
    there = 0
    while there < len(parts) - 1 and Path(*parts[: there + 1]).is_dir():
        there += 1
    return str(Path(*(glob.escape(part) for part in parts[:there]), *parts[there:]))


def _in_folder(folder: Path) -> list[Path]:
    """The frames in a folder: its files of splats, or the one of each of its folders."""
    result = _trained(folder) or (_trained(folder.absolute().parent) if folder.absolute().name == RESULT else None)
    if result is not None:
        return [result]
    inside = list_folder(folder)
    found = [path for path in inside if _is_splats(path)]
    if found:
        return found
    for path in inside:
        if path.is_dir() and (one := _trained(path) or _only(path)) is not None:
            found.append(one)
    if not found:
        raise DatasetError("holds no splats", where=str(folder), fix=which_takes(folder) or _FIX)
    return found


def _trained(folder: Path) -> Path | None:
    """The result of a training that lies as 3DGS writes it."""
    iterations = [path for path in list_folder(folder / RESULT) if (path / f"{RESULT}.ply").is_file()]
    return iterations[-1] / f"{RESULT}.ply" if iterations else None


def _only(folder: Path) -> Path | None:
    found = [path for path in list_folder(folder) if _is_splats(path)]
    return found[0] if len(found) == 1 else None


def _is_splats(path: Path) -> bool:
    return _is_sog(path) if path.is_dir() else path.suffix.lower() in SPLAT_FILES


def _is_sog(folder: Path) -> bool:
    """Whether a folder is one SOG; a `meta.json` among files of splats is somebody's notes on them."""
    inside = (folder / SOG_INDEX).is_file()
    return inside and not any(path.suffix.lower() in SPLAT_FILES for path in list_folder(folder))


def _kind(path: Path) -> str:
    if path.is_dir():
        return "sog"
    kind = SPLAT_FILES.get(path.suffix.lower())
    if kind is None:
        what = f"is no kind of splat file that is read ({path.suffix or 'no suffix'})"
        raise DatasetError(what, where=str(path), fix=which_takes(path) or _FIX)
    return kind


def _numbers(paths: Sequence[Path]) -> list[int] | None:
    """The number of each file, None where they have none. Raises DatasetError where one is missing."""
    names = [path.name if len({p.name for p in paths}) == len(paths) else str(path) for path in paths]
    digits = [re.findall(r"\d+", name) for name in names]
    if len({re.sub(r"\d+", "#", name) for name in names}) > 1 or not all(digits):
        return None
    varying = [column for column in zip(*digits, strict=True) if len(set(column)) > 1]
    if len(varying) != 1:
        return None
    numbers = [int(text) for text in varying[0]]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = min(steps)
    if usual == 0:
        twice = steps.index(0)
        raise DatasetError(
            f"number {numbers[twice]} is there twice ({names[twice]} and {names[twice + 1]})",
            where=str(paths[twice].parent),
            fix="keep one of them, or name the files one by one in their order",
        )
    for position, step in enumerate(steps):
        if step != usual:
            raise DatasetError(
                f"number {numbers[position] + usual} is missing between {names[position]} and {names[position + 1]}",
                where=str(paths[position].parent),
                fix="add it, or name the files one by one in their order",
            )
    return numbers


def _reader(kind: str) -> Callable[[Path], Splats]:
    if kind == "ply":
        return read_ply
    if kind == "spz":
        return read_spz
    if kind == "splat":
        return read_splat
    if kind == "sog":
        from legs4d.gaussians.formats.sog import read_sog

        return read_sog
    from legs4d.gaussians.formats.gltf import read_gltf

    return read_gltf


def _count_ply(path: Path) -> int:
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            vertex = read_header(file, size, path).find("vertex")
    except OSError as error:
        raise unreadable(path, error) from error
    return 0 if vertex is None else vertex.count


def _count_spz(path: Path) -> int:
    """All versions begin alike: magic, version, count; those before the fourth inside a gzip."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if packed else open(path, "rb") as opened:
            start = opened.read(12)
        return int(struct.unpack("<III", start)[2])
    except (OSError, EOFError, zlib.error, struct.error):
        return len(read_spz(path))  # or the sentence that says what is wrong with it


_COUNTED: dict[str, Callable[[Path], int]] = {
    "ply": _count_ply,
    "spz": _count_spz,
    "splat": lambda path: size_of(path) // 32,
}
"""By formats that tell without being read whole."""


def _usd(path: Path) -> UsdSplats:
    from legs4d.gaussians.formats.usd import UsdSplats

    return UsdSplats(path)
