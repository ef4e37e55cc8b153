"""Rows of a .ply file's elements, a block at a time, however they are encoded."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from ..kinds import cut_short
from ..splats import SplatFileError
from .header import Element, Header

BLOCK = 1 << 19
"""Bytes that are read and worked on at once: few enough to stay in a core's cache."""

TEXT = 1 << 18
"""The same of text, whose numbers take several times their bytes while they are parsed."""

LONGEST_NUMBER = 400
"""Characters: more than the longest decimal that a program writes of a double."""

Columns = Mapping[str, NDArray[Any]] | NDArray[Any]
"""Property → values of the rows of one block. Lists are left out."""


def copy_columns(block: Columns, names: tuple[str, ...], out: NDArray[Any]) -> None:
    """Put these properties of a block's n rows into the columns of `out` [n, len(names)], as its type."""
    if isinstance(block, np.ndarray) and out.flags.c_contiguous:
        places = _places_in_table(block.dtype, names, out.dtype)
        if places is not None:
            table = block.view(out.dtype).reshape(len(block), -1)
            np.take(table, places, axis=1, out=out, mode="clip")  # three times as quick as column by column
            return
    for column, name in enumerate(names):
        out[:, column] = block[name]


@lru_cache(maxsize=64)
def _places_in_table(row: np.dtype[Any], names: tuple[str, ...], wanted: np.dtype[Any]) -> NDArray[np.intp] | None:
    """The columns of `names`, if a row is a plain array of the wanted type."""
    if row.names is None or any(row[name] != wanted for name in row.names):
        return None
    return np.array([row.names.index(name) for name in names], np.intp)


class Rows:
    """Reads the elements of an open file in their order.

    Args:
        file: open in binary mode.
        header: of this file.
        path: for messages.
    """

    def __init__(self, file: BinaryIO, header: Header, path: Path) -> None:
        self.file, self.header, self.path = file, header, path
        file.seek(header.start)
        self._ascii = _Numbers(file, path) if header.encoding == "ascii" else None

    def read(self, element: Element) -> Iterator[Columns]:
        """Blocks of an element's rows. Elements are to be read, or skipped, in the order of the file.

        Raises:
            SplatFileError: the file ends before the rows do, or a number is none.
        """
        if self._ascii is not None:
            yield from self._ascii.lists(element) if element.has_lists else self._ascii.table(element)
        elif element.has_lists:
            yield from self._lists(element)
        else:
            yield from self._table(element)

    def skip(self, element: Element) -> None:
        """Go on to the next element."""
        if element.has_lists or self._ascii is not None:
            for _ in self.read(element):
                pass
        else:
            self.file.seek(element.count * element.dtype().itemsize, io.SEEK_CUR)

    def _table(self, element: Element) -> Iterator[NDArray[Any]]:
        dtype = element.dtype()
        if dtype.itemsize == 0:
            return
        step = max(1, BLOCK // dtype.itemsize)
        for first in range(0, element.count, step):
            wanted = min(step, element.count - first)
            block = np.fromfile(self.file, dtype, wanted)
            if len(block) < wanted:
                raise cut_short(self.path, self.header.size, self.header.size + (wanted - len(block)) * dtype.itemsize)
            yield block

    def _lists(self, element: Element) -> Iterator[Columns]:
        """Rows of different lengths: the places of their single numbers are found first, then these are gathered."""
        begin = self.file.tell()
        data = self.file.read()
        places, end = _places(element, data, self.path)
        self.file.seek(begin + end)
        everything = np.frombuffer(data, np.uint8)
        step = max(1, BLOCK // (8 * len(element.properties)))
        for first in range(0, element.count, step):
            yield {
                p.name: _gather(everything, places[p.name][first : first + step], np.dtype(p.type))
                for p in element.properties
                if p.count_type is None
            }


def _places(element: Element, data: bytes, path: Path) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Where each row's single numbers begin, by property, and where the element ends: bytes of `data`.

    Raises:
        SplatFileError: a list is longer than the file, or shorter than nothing.
    """
    even = _even_places(element, data)
    if even is not None:
        return even
    big = any(p.type.startswith(">") for p in element.properties)
    items = [(p, np.dtype(p.type).itemsize, np.dtype(p.count_type or "u1")) for p in element.properties]
    places = {p.name: np.empty(element.count, np.int64) for p in element.properties if p.count_type is None}
    at = 0
    for row in range(element.count):
        for prop, width, count in items:
            if prop.count_type is None:
                places[prop.name][row] = at
                at += width
            else:
                length = _length(data, at, count, big)
                if length < 0:
                    raise SplatFileError(f"its list {prop.name} has a length of {length}", where=str(path))
                at += count.itemsize + length * width
        if at > len(data):
            raise cut_short(path, len(data), at)
    return places, at


def _even_places(element: Element, data: bytes) -> tuple[dict[str, NDArray[np.int64]], int] | None:
    """As `_places` for rows whose lists are as long as those of the first row; None for others."""
    big = any(p.type.startswith(">") for p in element.properties)
    at, offsets, lengths = 0, {}, []
    for prop in element.properties:
        width = np.dtype(prop.type).itemsize
        if prop.count_type is None:
            offsets[prop.name] = at
            at += width
        else:
            count = np.dtype(prop.count_type)
            length = _length(data, at, count, big)
            lengths.append((at, count, length))
            at += count.itemsize + length * width
    if at <= 0 or element.count * at > len(data):
        return None
    table = np.frombuffer(data, np.uint8, element.count * at).reshape(element.count, at)
    for place, count, length in lengths:
        found = np.ascontiguousarray(table[:, place : place + count.itemsize]).view(count)[:, 0]
        if length < 0 or (found != length).any():
            return None
    starts = np.arange(element.count, dtype=np.int64) * at
    return {name: starts + offset for name, offset in offsets.items()}, element.count * at


def _length(data: bytes, at: int, count: np.dtype[Any], big: bool) -> int:
    order: Literal["big", "little"] = "big" if big else "little"
    return int.from_bytes(data[at : at + count.itemsize], order, signed=count.kind == "i")


def _gather(data: NDArray[np.uint8], places: NDArray[np.int64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """[len(places)] numbers that begin at these bytes."""
    found = data[places[:, None] + np.arange(dtype.itemsize)]
    return np.ascontiguousarray(found).view(dtype)[:, 0]


class _Numbers:
    """The numbers of an ascii file, in their order."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self._rest = b""
        self._ended = False
        self._pending = np.empty(0)

    def table(self, element: Element) -> Iterator[Columns]:
        """Blocks of an element without lists, as float64."""
        width = len(element.properties)
        if width == 0:
            return
        step = max(1, TEXT // (4 * width))
        for first in range(0, element.count, step):
            rows = min(step, element.count - first)
            block = self.take(rows * width).reshape(rows, width)
            yield {name: block[:, place] for place, name in enumerate(element.names)}

    def lists(self, element: Element) -> Iterator[Columns]:
        """The same of an element with lists, which are left out."""
        scalars = [p.name for p in element.properties if p.count_type is None]
        step = max(1, TEXT // (4 * len(element.properties)))
        for first in range(0, element.count, step):
            rows = min(step, element.count - first)
            block = {name: np.empty(rows) for name in scalars}
            for row in range(rows):
                for prop in element.properties:
                    number = self.take(1)[0]
                    if prop.count_type is None:
                        block[prop.name][row] = number
                    elif 0 <= number < np.inf:
                        self._leave_out(int(number))
                    else:
                        raise SplatFileError(f"its list {prop.name} has a length of {number:g}", where=str(self.path))
            yield block

    def take(self, count: int) -> NDArray[np.float64]:
        """[count] numbers.

        Raises:
            SplatFileError: the file has fewer, or a word that is no number.
        """
        parts, missing = [], count
        while missing > len(self._pending):
            parts.append(self._pending)
            missing -= len(self._pending)
            self._pending = self._more()
        parts.append(self._pending[:missing])
        self._pending = self._pending[missing:]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _leave_out(self, count: int) -> None:
        while count > len(self._pending):
            count -= len(self._pending)
            self._pending = self._more()
        self._pending = self._pending[count:]

    def _more(self) -> NDArray[np.float64]:
        """The next numbers of the file, at least one."""
        while not self._ended:
            text = self.file.read(TEXT)
            self._ended = len(text) < TEXT
            words = (self._rest + text).split()
            whole = self._ended or text[-1:].isspace()
            self._rest = b"" if whole or not words else words.pop()
            if len(self._rest) > LONGEST_NUMBER:
                raise self._no_number(self._rest)
            if words:
                return self._parsed(words)
        raise SplatFileError(
            "is cut short: it ends before all the numbers that its header tells of",
            where=str(self.path),
            fix="copy or export it again",
        )

    def _parsed(self, words: list[bytes]) -> NDArray[np.float64]:
        try:
            return np.fromiter(map(float, words), np.float64, len(words))
        except ValueError:
            raise self._no_number(next(word for word in words if not _is_number(word))) from None

    def _no_number(self, word: bytes) -> SplatFileError:
        shown = word[:20].decode("latin-1")
        return SplatFileError(f"{shown!r} stands where a number should", where=str(self.path), fix="export it again")


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
