"""Files of .spz, versions 1 to 4, and spoiled in header, table, streams and packing."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
import zstandard

from legs4d.portable.spz_writer import VERSIONS, spz_bytes
from tools.fuzz.makers.dice import COUNTS, Dice

MAGIC = 0x5053474E
_COEFFICIENTS = (0, 3, 8, 15, 24)


def make(dice: Dice) -> bytes:
    """A valid file."""
    if dice.chance(0.4):
        return spz_bytes(dice.splats(dice.below(300) + 1, dice.one((0, 3, 8, 15))), version=dice.one(VERSIONS))
    version = dice.one((1, 2, 3, 4))
    count, degree = dice.below(300) + 1, dice.below(5)
    widths = [6 if version == 1 else 9, 1, 3, 3, 3 if version < 3 else 4, 3 * _COEFFICIENTS[degree]]
    parts = [dice.rng.bytes(width * count) for width in widths]
    if version == 1:
        parts[0] = dice.floats(count, 3).clip(-6e4, 6e4).astype("<f2").tobytes()
    extra = _extensions(dice) if dice.chance(0.3) else b""
    flags = int(dice.chance(0.5)) | (2 if extra else 0)
    return _joined(version, count, degree, dice.below(25), flags, parts, extra)


def _joined(version: int, count: int, degree: int, bits: int, flags: int, parts: list[bytes], extra: bytes) -> bytes:
    start = struct.pack("<IIIBBB", MAGIC, version, count, degree, bits, flags)
    if version < 4:
        return gzip.compress(start + b"\0" + b"".join(parts) + extra, 1)
    streams = [part for part in parts if part]
    small = [zstandard.compress(part, 1) for part in streams]
    table = b"".join(struct.pack("<QQ", len(a), len(b)) for a, b in zip(small, streams, strict=True))
    return start + struct.pack("<BI12x", len(streams), 32 + len(extra)) + extra + table + b"".join(small)


def _extensions(dice: Dice) -> bytes:
    records = b""
    for _ in range(dice.below(3) + 1):
        if dice.chance(0.6):
            records += struct.pack("<III", 0xADBE0003, 4, dice.below(20))
        else:
            payload = dice.rng.bytes(dice.below(30))
            records += struct.pack("<II", dice.below(2**32), len(payload)) + payload
    return records


def spoil(dice: Dice, content: bytes) -> bytes:
    """Fields of the header or table set to awkward numbers, streams exchanged, bombs, or other bytes anywhere."""
    kind = dice.below(4)
    if kind == 0:
        return dice.spoiled(content)
    if content[:2] == b"\x1f\x8b":
        data = bytearray(gzip.decompress(content))
        if kind == 1:
            _set_field(dice, data)
        elif kind == 2:
            data = bytearray(dice.spoiled(bytes(data)))
        else:
            data += bytes(dice.one((1, 1000, 30_000_000)))  # more than the header tells of
        packed = gzip.compress(bytes(data), 1)
        return packed[:-8] + dice.rng.bytes(8) if dice.chance(0.1) else packed
    data = bytearray(content)
    if kind == 1:
        _set_field(dice, data)
    elif kind == 2:
        at = 32 + 8 * dice.below(2 * data[15])
        data[at : at + 8] = struct.pack("<Q", min(dice.one((*COUNTS, *range(200, 240))), 2**64 - 1))
    else:
        bomb = zstandard.compress(bytes(dice.one((0, 10, 50_000_000))))
        data[32:40] = struct.pack("<Q", len(bomb))
        start = 32 + 16 * data[15]
        data[start:] = bomb + bytes(data[start:])
    return bytes(data)


def _set_field(dice: Dice, data: bytearray) -> None:
    place, width = dice.one(((4, 4), (8, 4), (8, 4), (12, 1), (13, 1), (14, 1), (15, 1), (16, 4)))
    value = dice.one((*COUNTS, dice.below(10), dice.below(300))) % 256**width
    data[place : place + width] = value.to_bytes(width, "little")


def declared(content: bytes) -> int:
    """Bytes of the arrays, and of the bytes that they are unpacked from."""
    start = content[:16]
    if content[:2] == b"\x1f\x8b":
        try:
            start = zlib.decompressobj(wbits=31).decompress(content, 16)
        except zlib.error:
            return 0
    if len(start) < 13:
        return 0
    count, degree = struct.unpack_from("<I", start, 8)[0], start[12]
    return int(count) * (76 + 15 * int(np.clip(_COEFFICIENTS[min(degree, 4)], 0, 24)))
