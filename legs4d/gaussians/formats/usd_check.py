"""Looks at a binary USD file before USD does, which makes room for whatever number a damaged one tells.

A crate is `PXR-USDC`, its version (8 bytes), the place of its table of contents (8), and the table: a count, then each
section's name (16 bytes), start and size. Every section that is read at once begins with how many things are in it.
FIELDS hold, packed, eight bytes a value: flags, its type, and itself or the place where it is; there lists begin with
how many things are in them.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO

from legs4d.errors import DatasetError

MAGIC = b"PXR-USDC"
_SECTIONS = ("TOKENS", "STRINGS", "FIELDS", "FIELDSETS", "PATHS", "SPECS")
_ALWAYS = 200_000
"""Things for which there is room in any case."""
_DENSEST = 40
"""Things that a byte of a section stands for, at most, beyond those: their numbers are packed, but not as tight."""
_TIGHTEST = 255
"""Bytes that one of LZ4 can stand for."""
_MOST_SECTIONS = 1000
_PACKED_FIELDS = (0, 4, 0)
"""Version of a crate from which FIELDS are packed."""
_IS_ARRAY, _IS_HERE, _IS_PACKED = 1 << 63, 1 << 62, 1 << 61
_PLACE = (1 << 48) - 1
_TIME_SAMPLES = 46
_BYTES_OF = {
    **dict.fromkeys((31, 45), 8),  # dictionaries, variants chosen
    **dict.fromkeys((40, 41, 50), 4),  # paths, tokens, strings
    **dict.fromkeys((48, 49), 8),  # doubles, layers' offsets
}
"""Types that are lists → bytes of one thing, at least."""
_CHANGES = range(32, 40)
"""Types that say what a list gains and loses: flags (1 byte), then a list for each."""
_DENSEST_ARRAY = 4 * _TIGHTEST
"""Numbers of a packed array that a byte can stand for: differences have two bits each, before LZ4."""


def check_crates(path: Path) -> None:
    """Raises DatasetError when a binary layer (in a package: one of its layers) tells more than its bytes can hold."""
    try:
        with open(path, "rb") as file:
            if file.read(4) != b"PK\x03\x04":
                _check(file, path.stat().st_size, path)
                return
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                # USD itself reads members in place, so they are not compressed, and seeking is free.
                if member.compress_type == zipfile.ZIP_STORED:
                    with archive.open(member) as layer:
                        _check(layer, member.file_size, path)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot be read ({error})", where=str(path), fix="export it again") from error


def _check(file: IO[bytes], size: int, path: Path) -> None:
    file.seek(0)
    head = file.read(24)
    if not head.startswith(MAGIC):
        return
    try:
        (table,) = struct.unpack("<q", head[16:24])
        (count,) = struct.unpack("<Q", _bytes(file, size, table, 8))
        if count > _MOST_SECTIONS:
            raise ValueError(f"{count} sections")
        for index in range(count):
            said, start, length = struct.unpack("<16sqq", _bytes(file, size, table + 8 + 32 * index, 32))
            name = said.rstrip(b"\0").decode("ascii", "replace")
            _check_section(file, size, name, start, length)
            if name == "FIELDS" and tuple(head[8:11]) >= _PACKED_FIELDS:
                for value in _values(file, size, start):
                    _check_value(file, size, value)
    except (ValueError, IndexError, struct.error, OverflowError) as error:
        raise DatasetError(f"is damaged ({error})", where=str(path), fix="export it again") from error


def _check_section(file: IO[bytes], size: int, name: str, start: int, length: int) -> None:
    if name not in _SECTIONS:
        return
    if start < 0 or length < 8 or start + length > size:
        raise ValueError(f"its {name} lie outside of it")
    (count,) = struct.unpack("<Q", _bytes(file, size, start, 8))
    if count > max(_ALWAYS, _DENSEST * length):
        raise ValueError(f"it tells {count} {name} in {length} bytes")
    if name == "TOKENS":
        plain, packed = struct.unpack("<QQ", _bytes(file, size, start + 8, 16))
        if packed > length or plain > _TIGHTEST * packed + 64 or count > plain:
            raise ValueError(f"it tells {count} {name} of {plain} bytes in {packed}")


def _values(file: IO[bytes], size: int, start: int) -> list[int]:
    """The values of the section FIELDS that begins at `start`."""
    count, names = struct.unpack("<QQ", _bytes(file, size, start, 16))
    place = start + 16 + names
    (packed,) = struct.unpack("<Q", _bytes(file, size, place, 8))
    content = _unpacked(_bytes(file, size, place + 8, packed), 8 * count)
    return list(struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8]))


def _check_value(file: IO[bytes], size: int, value: int) -> None:
    """Raises ValueError where a value tells of more things than there are bytes for them."""
    kind, place = value >> 48 & 0xFF, value & _PLACE
    if value & _IS_HERE or not 0 < place <= size - 8:
        return  # USD itself sees what lies outside
    left = size - place - 8
    if value & _IS_ARRAY:
        most = max(_ALWAYS, _DENSEST_ARRAY * left) if value & _IS_PACKED else left
    elif kind in _BYTES_OF:
        most = left // _BYTES_OF[kind]
    elif kind in _CHANGES:
        place, most = place + 1, left
    elif kind == _TIME_SAMPLES:
        # Steps: to the value that holds the times, and from behind that to how many values there are.
        (step,) = struct.unpack("<q", _bytes(file, size, place, 8))
        times = place + step
        _check_value(file, size, struct.unpack("<Q", _bytes(file, size, times, 8))[0])
        (step,) = struct.unpack("<q", _bytes(file, size, times + 8, 8))
        place, most = times + 8 + step, left // 8
    else:
        return
    (count,) = struct.unpack("<Q", _bytes(file, size, place, 8))
    if count > most:
        raise ValueError(f"it tells a list of {count} in {left} bytes")
    if kind == _TIME_SAMPLES and not value & _IS_ARRAY:
        for sample in struct.unpack(f"<{count}Q", _bytes(file, size, place + 8, 8 * count)):
            if sample >> 48 & 0xFF != _TIME_SAMPLES:
                _check_value(file, size, sample)


def _unpacked(packed: bytes, most: int) -> bytes:
    """What USD packed: the number of LZ4 blocks, where there are several each with its size (4 bytes) before it."""
    if not packed or not packed[0]:
        return _lz4(packed[1:], most)
    parts, place = [], 1
    for _ in range(packed[0]):
        (length,) = struct.unpack("<i", packed[place : place + 4])
        parts.append(_lz4(packed[place + 4 : place + 4 + length], most))
        place += 4 + length
    return b"".join(parts)


def _lz4(block: bytes, most: int) -> bytes:
    """Unpack an LZ4 block (github.com/lz4/lz4, doc/lz4_Block_format.md). Raises ValueError or IndexError."""
    out, at = bytearray(), 0

    def more(length: int) -> int:
        nonlocal at
        if length == 15:
            while True:
                at += 1
                length += block[at - 1]
                if block[at - 1] != 255:
                    break
        return length

    while at < len(block):
        token = block[at]
        at += 1
        literals = more(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at >= len(block):
            break
        back = block[at] | block[at + 1] << 8
        at += 2
        length = more(token & 15) + 4
        if not 0 < back <= len(out) or len(out) + length > most:
            raise ValueError("its fields cannot be unpacked")
        repeated = bytes(out[len(out) - back : len(out) - back + length])
        out += (repeated * (length // len(repeated) + 1))[:length]
    return bytes(out)


def _bytes(file: IO[bytes], size: int, start: int, length: int) -> bytes:
    if start < 0 or start + length > size:
        raise ValueError("its table of contents lies outside of it")
    file.seek(start)
    return file.read(length)
