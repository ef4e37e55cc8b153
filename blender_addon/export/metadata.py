"""Prompts in the metadata of exported pictures, as they were typed: names of passes and files cannot hold all signs.

Blender writes these files and has no place for further metadata; so it is put into what Blender wrote.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

EXR_KEY = "legs4d/masks"
"""String attribute of an EXR file: JSON, the name of each mask's channel → its prompt."""
PNG_KEY = "Description"
"""Keyword of a PNG file's text (PNG specification, 11.3.3)."""
_PNG_HEAD = 8 + 25
"""Bytes of the signature and of IHDR, which comes first."""
_MAGIC, _TILED, _MULTIPART = 20000630, 0x200, 0x1000
"""Of OpenEXR files ("OpenEXR File Layout")."""


class UnknownLayout(Exception):
    """The file is not laid out as Blender lays files out; the message says where."""


def describe_png(path: Path, text: str) -> None:
    """Put a text into a PNG file, in place."""
    data = path.read_bytes()
    if data[12:16] != b"IHDR":
        raise UnknownLayout(f"{path.name} does not begin as a PNG file")
    body = b"iTXt" + PNG_KEY.encode() + b"\0\0\0\0\0" + text.encode(errors="replace")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(data[:_PNG_HEAD] + chunk + data[_PNG_HEAD:])


def describe_exr(path: Path, text: str) -> None:
    """Put a text into each header of an EXR file of scan lines, in place.

    What follows the headers moves, so that the tables of where its parts begin are brought up to date.
    """
    data = path.read_bytes()
    magic, version = struct.unpack_from("<II", data)
    if magic != _MAGIC or version & _TILED:
        raise UnknownLayout(f"{path.name} is no EXR file of scan lines")
    value = text.encode(errors="replace")
    attribute = EXR_KEY.encode() + b"\0string\0" + struct.pack("<I", len(value)) + value
    multipart = bool(version & _MULTIPART)
    head, place, tables = bytearray(data[:8]), 8, 0
    while (multipart and data[place]) or not tables:
        end, chunks = _header(data, place)
        head += data[place : end - 1] + attribute + b"\0"
        tables += chunks
        place = end
    if multipart:
        head.append(0)
        place += 1
    moved = len(head) - place
    offsets = struct.unpack_from(f"<{tables}Q", data, place)
    rest = place + 8 * tables
    path.write_bytes(bytes(head) + struct.pack(f"<{tables}Q", *(o + moved for o in offsets)) + data[rest:])


def _header(data: bytes, place: int) -> tuple[int, int]:
    """Where a header ends, and how many chunks its part has."""
    sizes: dict[bytes, bytes] = {}
    while data[place]:
        name, kind = data.index(b"\0", place), 0
        kind = data.index(b"\0", name + 1)
        (size,) = struct.unpack_from("<I", data, kind + 1)
        sizes[data[place:name]] = data[kind + 5 : kind + 5 + size]
        place = kind + 5 + size
    if b"chunkCount" in sizes:
        return place + 1, int(struct.unpack("<i", sizes[b"chunkCount"])[0])
    _, top, _, bottom = struct.unpack("<4i", sizes[b"dataWindow"])
    lines = _LINES.get(sizes[b"compression"][0])
    if lines is None:
        raise UnknownLayout("its compression is unknown")
    return place + 1, -(-(bottom - top + 1) // lines)


_LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Scan lines in a chunk, by the number of the compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB."""
