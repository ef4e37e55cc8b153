"""The header of a .ply file: which elements it holds, and where their rows begin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..kinds import cut_short, wrong_kind
from ..splats import SplatFileError

LARGEST_HEADER = 1 << 20
"""Bytes; headers of real files have a few thousand."""

_TYPES = {
    **{"char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1"},
    **{"short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2"},
    **{"int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4"},
    **{"long": "i8", "int64": "i8", "ulong": "u8", "uint64": "u8"},
    **{"float": "f4", "float32": "f4", "double": "f8", "float64": "f8"},
}
"""The format's names, old and new → numpy's."""

_BYTE_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One number of each row, or a list of numbers: then `count_type` is the type of its length."""

    name: str
    type: str
    count_type: str | None = None

    @property
    def smallest(self) -> int:
        """Bytes that it takes at least, in binary."""
        return np.dtype(self.count_type or self.type).itemsize


@dataclass(frozen=True)
class Element:
    """A table: `count` rows of `properties`."""

    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def has_lists(self) -> bool:
        return any(p.count_type for p in self.properties)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its properties that are one number, as lists are left out on reading."""
        return tuple(p.name for p in self.properties if p.count_type is None)

    def dtype(self) -> np.dtype:
        """Of a row without lists."""
        return np.dtype([(p.name, p.type) for p in self.properties])


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        encoding: "ascii", "binary_little_endian" or "binary_big_endian".
        elements: in the order of the file; their properties' types are numpy's, with the file's byte order.
        comments: texts of `comment` and `obj_info` lines.
        start: where the first row begins, bytes.
        size: of the whole file, bytes.
    """

    encoding: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    start: int
    size: int

    def find(self, name: str) -> Element | None:
        """The element of this name."""
        return next((e for e in self.elements if e.name == name), None)


def read_header(file: BinaryIO, size: int, path: Path) -> Header:
    """Parse the header of an open file and check what it tells of against the file's size.

    Raises:
        SplatFileError: it is no .ply, its header is not the format's, or more rows are told of than can be in the file.
    """
    head = file.read(min(size, LARGEST_HEADER))
    if head.split(b"\n", 1)[0].split(b"\r", 1)[0].strip() != b"ply":
        raise wrong_kind(path, head[:32], ".ply")
    lines, start = _lines(head, size, path)
    encoding, comments, elements = "", [], list[tuple[str, int, list[Property]]]()
    for line in lines[1:]:
        words = line.split()
        if not words:
            continue
        if words[0] in ("comment", "obj_info"):
            comments.append(line.partition(" ")[2].strip())
        elif words[0] == "format" and len(words) >= 2:
            encoding = words[1]
        elif words[0] == "element" and len(words) == 3 and words[2].isdigit():
            elements.append((words[1], int(words[2]), []))
        elif words[0] == "property" and elements:
            elements[-1][2].append(_property(words, encoding, line, path))
        else:
            raise _bad_line(line, path)
    if encoding not in _BYTE_ORDERS:
        raise SplatFileError(
            f"its format is {encoding!r}, known are {', '.join(_BYTE_ORDERS)}", where=str(path), fix="export it again"
        )
    tables = tuple(Element(name, count, tuple(properties)) for name, count, properties in elements)
    for table in tables:
        if len({p.name for p in table.properties}) != len(table.properties):
            raise SplatFileError(f"element {table.name} has two properties of one name", where=str(path))
    header = Header(encoding, tables, tuple(comments), start, size)
    _check_size(header, path)
    return header


def _lines(head: bytes, size: int, path: Path) -> tuple[list[str], int]:
    """The header's lines before `end_header`, which may end in LF, CR LF or CR, and where the rows begin."""
    at = 0
    while True:
        at = head.find(b"end_header", at)
        if at < 0:
            if size > len(head):
                raise SplatFileError(f"its header does not end within {LARGEST_HEADER} bytes", where=str(path))
            raise SplatFileError("is cut short within its header", where=str(path), fix="copy or export it again")
        end = at + len(b"end_header")
        if head[at - 1 : at] in (b"\n", b"\r"):
            break
        at = end
    while head[end : end + 1] in (b" ", b"\t"):
        end += 1
    if head[end : end + 2] == b"\r\n":
        end += 2
    elif head[end : end + 1] in (b"\n", b"\r"):
        end += 1
    text = head[:at].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n"), end


def _property(words: list[str], encoding: str, line: str, path: Path) -> Property:
    order = _BYTE_ORDERS.get(encoding, "=")
    if len(words) == 3 and words[1] in _TYPES:
        return Property(words[2], order + _TYPES[words[1]])
    if len(words) == 5 and words[1] == "list" and words[2] in _TYPES and words[3] in _TYPES:
        count_type = _TYPES[words[2]]
        if count_type[0] == "f":
            raise SplatFileError(f"the length of list {words[4]} is no integer type", where=str(path))
        return Property(words[4], order + _TYPES[words[3]], order + count_type)
    raise _bad_line(line, path)


def _bad_line(line: str, path: Path) -> SplatFileError:
    shown = line if len(line) <= 60 else f"{line[:57]}..."
    return SplatFileError(f"its header has the line {shown!r}, which the format does not know", where=str(path))


def _check_size(header: Header, path: Path) -> None:
    """What is told of must fit: in binary to the byte but for lists, in ascii with a digit and a space a number."""
    wanted = header.start
    for element in header.elements:
        if header.encoding == "ascii":
            wanted += 2 * element.count * len(element.properties)
        else:
            wanted += element.count * sum(p.smallest for p in element.properties)
    if wanted > header.size + (header.encoding == "ascii"):
        raise cut_short(path, header.size, wanted)
