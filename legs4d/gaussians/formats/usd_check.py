"""Looks at a binary USD file before USD does, which makes room for whatever number a damaged one tells.

A crate is `PXR-USDC`, its version (8 bytes), the place of its table of contents (8), and the table: a count, then each
section's name (16 bytes), start and size. Every section that is read at once begins with how many things are in it.
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
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
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
            name, start, length = struct.unpack("<16sqq", _bytes(file, size, table + 8 + 32 * index, 32))
            _check_section(file, size, name.rstrip(b"\0").decode("ascii", "replace"), start, length)
    except (ValueError, struct.error, OverflowError) as error:
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


def _bytes(file: IO[bytes], size: int, start: int, length: int) -> bytes:
    if start < 0 or start + length > size:
        raise ValueError("its table of contents lies outside of it")
    file.seek(start)
    return file.read(length)
