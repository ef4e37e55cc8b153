"""Colour tags in ProRes movies: Blender writes BT.709 and does not say so, and editing programs then guess.

They are told in two places that programs look at: each picture's header (Apple, "ProRes Bitstream Syntax and
Semantics", SMPTE RDD 36, section 5.1) and the sample description (QuickTime File Format, "Color parameter atoms").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

BT709 = (1, 1, 1)
"""Primaries, transfer function and matrix, by their numbers in ITU-T H.273."""
COLR = struct.pack(">I4s4s3H", 18, b"colr", b"nclc", *BT709)
TABLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
"""Boxes from the file down to the tables of samples."""
ENTRY_HEAD = 86
"""Bytes of a sample description before the boxes in it."""
PICTURE_TAGS = 22
"""Where a picture has its three tags, from its beginning; its name, icpf, is at 4."""


class NotProRes(Exception):
    """The file is not a QuickTime movie of ProRes pictures; the message says what is missing."""


def tag_bt709(path: Path) -> None:
    """Write BT.709's tags into a movie, in place. The movie's tables must stand at its end, where FFmpeg puts them.

    Raises:
        NotProRes: it is something else.
    """
    with path.open("r+b") as file:
        start, size = _last_box(file)
        file.seek(start)
        moov = bytearray(file.read(size))
        tables = _inside(moov, TABLES)
        for offset in _samples(moov, tables):
            file.seek(offset + 4)
            if file.read(4) != b"icpf":
                raise NotProRes(f"there is no picture at {offset}")
            file.seek(offset + PICTURE_TAGS)
            file.write(bytes(BT709))
        _insert_colr(moov)
        file.seek(start)
        file.write(moov)


def _last_box(file: BinaryIO) -> tuple[int, int]:
    """Start and size of `moov`, which must be the file's last box."""
    file.seek(0, 2)
    end, at = file.tell(), 0
    while at + 8 <= end:
        file.seek(at)
        size, name = struct.unpack(">I4s", file.read(8))
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
        if size < 8:
            break
        if name == b"moov" and at + size == end:
            return at, size
        at += size
    raise NotProRes("it has no tables at its end")


def _boxes(data: bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each box between two places."""
    while start + 8 <= end:
        size, name = struct.unpack_from(">I4s", data, start)
        if size < 8:
            raise NotProRes("its tables are damaged")
        yield bytes(name), start, start + size
        start += size


def _inside(data: bytearray, names: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """Start and end of the boxes of these names, each inside the one before, the first video track's."""
    found, start, end = [], 0, len(data)
    for name in names:
        place = next(((first, last) for n, first, last in _boxes(data, start, end) if n == name), None)
        if place is None:
            raise NotProRes(f"it has no {name.decode()}")
        found.append(place)
        start, end = place[0] + 8, place[1]
    return found


def _table(data: bytearray, tables: list[tuple[int, int]], name: bytes) -> tuple[int, int] | None:
    first, last = tables[-1]
    return next(((a, b) for n, a, b in _boxes(data, first + 8, last) if n == name), None)


def _samples(data: bytearray, tables: list[tuple[int, int]]) -> Iterator[int]:
    """Where each picture begins in the file."""
    sizes, spans = _table(data, tables, b"stsz"), _table(data, tables, b"stsc")
    place, letter = _table(data, tables, b"stco"), "I"
    if place is None:
        place, letter = _table(data, tables, b"co64"), "Q"
    if sizes is None or spans is None or place is None:
        raise NotProRes("its tables are incomplete")
    same, count = struct.unpack_from(">II", data, sizes[0] + 12)
    lengths = [same] * count if same else list(struct.unpack_from(f">{count}I", data, sizes[0] + 20))
    (number,) = struct.unpack_from(">I", data, place[0] + 12)
    starts = struct.unpack_from(f">{number}{letter}", data, place[0] + 16)
    (runs,) = struct.unpack_from(">I", data, spans[0] + 12)
    rows = [struct.unpack_from(">III", data, spans[0] + 16 + 12 * row) for row in range(runs)]
    sample = 0
    for chunk, offset in enumerate(starts, 1):
        in_chunk = next(per for first, per, _ in reversed(rows) if first <= chunk)
        for length in lengths[sample : sample + in_chunk]:
            yield offset
            offset += length
        sample += in_chunk


def _insert_colr(data: bytearray) -> None:
    """Put the tags into the sample description, unless there are some, and make all boxes around it longer."""
    around = _inside(data, (*TABLES, b"stsd"))
    entry = around[-1][0] + 16
    size = struct.unpack_from(">I", data, entry)[0]
    if any(name == b"colr" for name, _, _ in _boxes(data, entry + ENTRY_HEAD, entry + size)):
        return
    data[entry + size : entry + size] = COLR
    for start in (*(first for first, _ in around), entry):
        struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + len(COLR))
