"""3D Gaussians from .spz, Niantic's compact format, versions 1 to 4: 8 bits for most numbers, 24 for positions.

Versions 1 to 3 are one gzip stream; version 4 has a plain header, a table and a zstd frame for each kind of number. The
axes are x right, y up, z towards the viewer, unless the file says otherwise (an extension of Adobe's).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .kinds import cut_short, size_of, unreadable, wrong_kind
from .parallel import for_each
from .ply.compressed import insert_largest
from .sh import COEFFICIENTS, basis_parity
from .splats import SplatFileError, Splats
from .values import empty, finish, make_valid
from .zstd import unpack_into

MAGIC = 0x5053474E
COLOR_SCALE = 0.15
LOG_SCALE_OFFSET, LOG_SCALE_STEPS = 10.0, 16.0
ROTATION_STEPS = 511
"""Of each of the three smaller quaternion components, from 0 to √½."""
ANTIALIASED, HAS_EXTENSIONS = 1, 2
"""Bits of `flags`."""
AXES = "as .spz has it: y up"

SH_COUNTS = (*COEFFICIENTS, 24)
"""Coefficients by degree; the fourth degree's are left out."""
MOST_PACKED = 1032
"""Bytes that one byte of deflate can stand for, at most."""
MOST_PACKED_BY_ZSTD = 1 << 15
"""The same of zstd: a block of 128 KiB in 4 bytes."""
MOST_FRACTION_BITS = 24
MOST_EXTENSIONS = 1 << 20
"""Bytes of extensions that are looked at."""
_COORDINATES = 0xADBE0003
"""The extension that names the axes by a number, by place in this list (none, then x, y, z each by a letter)."""
_SYSTEMS = (
    *("RUB", "LDB", "RDB", "LUB", "RUB", "LDF", "RDF", "LUF", "RUF"),
    *("LFD", "RFD", "LFU", "RFU", "LBD", "RBD", "LBU", "RBU"),
)
_ROWS = 1 << 15
"""Gaussians that are worked on at once."""
_GZIP_HEADER, _PLAIN_HEADER = struct.Struct("<IIIBBBB"), struct.Struct("<IIIBBBBI12x")


@dataclass(frozen=True)
class _Header:
    version: int
    count: int
    degree: int
    fraction_bits: int
    flags: int

    def sections(self) -> list[tuple[str, int]]:
        """What follows, in its order, with the bytes of one Gaussian."""
        return [
            ("positions", 6 if self.version == 1 else 9),
            ("opacities", 1),
            ("colors", 3),
            ("scales", 3),
            ("rotations", 3 if self.version < 3 else 4),
            ("rest", 3 * SH_COUNTS[self.degree]),
        ]

    @property
    def row(self) -> int:
        """Bytes of a Gaussian."""
        return sum(width for _, width in self.sections())


def read_spz(path: Path) -> Splats:
    """Read a file whole. Of degree 4 the first three degrees are kept, which `notes` tells.

    Raises:
        SplatFileError: it is no such file, is cut short or damaged, holds no Gaussian, or needs a zstd that this Python
            does not have.
    """
    size = size_of(path)
    try:
        with open(path, "rb") as file:
            start = file.read(4)
            file.seek(0)
            if start[:2] == b"\x1f\x8b":
                source: _Gzip | _Plain = _Gzip(file, size, path)
            elif start == b"NGSP":
                source = _Plain(file, size, path)
            else:
                raise wrong_kind(path, start, ".spz")
            splats, usable = _read(source)
    except OSError as error:
        raise unreadable(path, error) from error
    notes = ("its view dependence of degree 4 is left out",) if source.header.degree > 3 else ()
    splats, axes = _right_handed(splats, source.extensions)
    antialiased = bool(source.header.flags & ANTIALIASED)
    return finish(splats, usable, str(path), axes=axes, antialiased=antialiased, notes=notes)


class _Gzip:
    """Versions 1 to 3. Unpacks no more than the header tells of."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file, self._path, self._stream = file, path, zlib.decompressobj(wbits=31)
        self._packed = b""
        fields = self._take(_GZIP_HEADER.size)
        if len(fields) < _GZIP_HEADER.size or not fields.startswith(b"NGSP"):
            raise SplatFileError("is no .spz file but other gzip data", where=str(path), fix="give it its right name")
        _, *values, _ = _GZIP_HEADER.unpack(fields)
        self.header = _checked(_Header(*values), (1, 2, 3), path)
        self._needed = self.header.count * self.header.row
        if self._needed > MOST_PACKED * size:
            raise cut_short(path, size, -(-self._needed // MOST_PACKED))
        self.extensions = b""

    def fill(self, payload: NDArray[np.uint8]) -> Iterator[int]:
        """Unpack into `payload`; yields how many bytes of it are there."""
        at = 0
        while at < self._needed:
            part = self._take(min(1 << 20, self._needed - at))
            if not part:
                raise SplatFileError(
                    f"is cut short: {at} bytes are there of the {self._needed} of its {self.header.count} Gaussians",
                    where=str(self._path),
                    fix="copy or export it again",
                )
            payload[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
            yield at
        after = self._take(MOST_EXTENSIONS)  # at the stream's end its checksum is compared
        if self.header.flags & HAS_EXTENSIONS:
            self.extensions = after
        if len(after) < MOST_EXTENSIONS and not self._stream.eof:
            raise SplatFileError("is cut short in its last bytes", where=str(self._path), fix="copy or export it again")

    def _take(self, most: int) -> bytes:
        """Up to this many bytes, fewer only at the end."""
        parts, missing = [], most
        while missing and not self._stream.eof:
            self._packed = self._packed or self._file.read(1 << 18)
            if not self._packed:
                break
            try:
                part = self._stream.decompress(self._packed, missing)
            except zlib.error as error:
                raise SplatFileError(
                    f"its gzip data is damaged ({error})", where=str(self._path), fix="copy or export it again"
                ) from error
            self._packed = self._stream.unconsumed_tail
            missing -= len(part)
            parts.append(part)
        return b"".join(parts)


class _Plain:
    """Version 4."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file, self._size, self._path = file, size, path
        fields = file.read(_PLAIN_HEADER.size)
        if len(fields) < _PLAIN_HEADER.size:
            raise cut_short(path, size, _PLAIN_HEADER.size)
        _, *values, streams, table = _PLAIN_HEADER.unpack(fields)
        self.header = _checked(_Header(*values), (4,), path)
        wanted = [width * self.header.count for _, width in self.header.sections() if width]
        if not _PLAIN_HEADER.size <= table <= size - 16 * streams:
            raise SplatFileError(f"its table of streams lies at byte {table} of {size}", where=str(path))
        between = file.read(table - _PLAIN_HEADER.size)
        self.extensions = between if self.header.flags & HAS_EXTENSIONS else b""
        needed = sum(wanted)
        if needed > MOST_PACKED_BY_ZSTD * size:
            raise cut_short(path, size, -(-needed // MOST_PACKED_BY_ZSTD))
        entries = [struct.unpack("<QQ", file.read(16)) for _ in range(streams)]
        self._packed = [packed for packed, unpacked in entries if unpacked]
        if [unpacked for _, unpacked in entries if unpacked] != wanted:
            raise SplatFileError(
                f"its streams do not fit {self.header.count} Gaussians of degree {self.header.degree}",
                where=str(path),
                fix="export it again",
            )
        end = table + 16 * streams + sum(packed for packed, _ in entries)
        if end > size:
            raise cut_short(path, size, end)
        self._unpacked = wanted

    def fill(self, payload: NDArray[np.uint8]) -> Iterator[int]:
        """As `_Gzip.fill`."""
        at = 0
        for packed, unpacked in zip(self._packed, self._unpacked, strict=True):
            data = self._file.read(packed)
            for there in unpack_into(data, payload[at : at + unpacked], str(self._path)):
                yield at + there
            at += unpacked


def _checked(header: _Header, versions: tuple[int, ...], path: Path) -> _Header:
    where = str(path)
    if header.version not in versions:
        raise SplatFileError(f"is of .spz version {header.version}; 1 to 4 are known", where=where, fix="update legs4d")
    if header.count == 0:
        raise SplatFileError("holds no Gaussians", where=where, fix="export it again")
    if header.degree >= len(SH_COUNTS):
        raise SplatFileError(f"has spherical harmonics of degree {header.degree}; 0 to 4 are known", where=where)
    if header.fraction_bits > MOST_FRACTION_BITS:
        raise SplatFileError(f"its positions have {header.fraction_bits} fraction bits of 24", where=where)
    return header


# -- from bytes to numbers ---------------------------------------------------------------------------------------------


def _read(source: _Gzip | _Plain) -> tuple[Splats, NDArray[np.bool_]]:
    header = source.header
    sections = header.sections()
    ends = np.cumsum([width for _, width in sections]) * header.count
    payload = np.empty(4 + header.count * header.row, np.uint8)  # positions are read as 32 bits from a byte before
    splats = empty(header.count, min(SH_COUNTS[header.degree], COEFFICIENTS[-1]))

    def arriving() -> Iterator[tuple[str, int, slice]]:
        """Kind, place of its first byte, rows: as soon as their bytes are there."""
        section, row = 0, 0
        for there in source.fill(payload[4:]):
            while section < len(sections):
                name, width = sections[section]
                start = int(ends[section]) - width * header.count
                whole = header.count if there >= ends[section] else (there - start) // max(width, 1)
                while row + _ROWS <= whole or (row < whole == header.count):
                    part = slice(row, min(row + _ROWS, whole))
                    yield name, 4 + start, part
                    row = part.stop
                if whole < header.count:
                    break
                section, row = section + 1, 0

    def unpack(task: tuple[str, int, slice]) -> None:
        name, start, rows = task
        width = dict(sections)[name]
        first = start + rows.start * width
        count = rows.stop - rows.start
        if name == "positions" and header.version > 1:
            # The last byte of a number before, then three bytes: the shift takes the first away and keeps the sign.
            found = np.ndarray((count, 3), "<i4", payload.data, first - 1, (9, 3)) >> np.int32(8)
            np.multiply(found, np.float32(2.0**-header.fraction_bits), out=splats.means[rows], dtype=np.float32)
            return
        _UNPACK[name](splats, rows, payload[first : first + count * width], header)

    for_each(unpack, arriving())
    if header.version > 1:
        return splats, np.ones(len(splats), bool)
    return splats, make_valid(splats, slice(0, len(splats)))  # of float16, which may be no number


def _unpack_halves(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    splats.means[rows] = data.view("<f2").reshape(-1, 3)


def _unpack_opacities(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    splats.opacities[rows] = data / np.float32(255)


def _unpack_colors(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    np.take(_levels("color"), data.reshape(-1, 3), out=splats.colors[rows], mode="clip")


def _unpack_scales(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    np.take(_levels("scale"), data.reshape(-1, 3), out=splats.scales[rows], mode="clip")


def _unpack_rotations(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    if header.version < 3:
        xyz = data.reshape(-1, 3) / np.float32(127.5) - np.float32(1)
        w = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", xyz, xyz), 0))
        wxyz = np.column_stack([w, xyz])
    else:
        packed = data.view("<u4")
        levels = _levels("rotation")
        parts = [levels[(packed >> np.uint32(shift)) & np.uint32(1023)] for shift in (20, 10, 0)]
        rest = 1 - sum(part * part for part in parts)
        xyzw = insert_largest(parts, np.sqrt(np.maximum(rest, 0)), packed >> np.uint32(30))
        wxyz = xyzw[:, [3, 0, 1, 2]]
    splats.quats[rows] = wxyz / np.sqrt(np.einsum("ij,ij->i", wxyz, wxyz))[:, None]


def _unpack_rest(splats: Splats, rows: slice, data: NDArray[np.uint8], header: _Header) -> None:
    rest = splats.sh_rest
    if rest is None:
        return
    signed = (data ^ np.uint8(128)).view(np.int8)  # 0 … 255 as -128 … 127
    kept = signed.reshape(-1, SH_COUNTS[header.degree], 3)[:, : rest.shape[1]]
    np.multiply(kept, np.float32(1 / 128), out=rest[rows], dtype=np.float32)


_UNPACK = {
    "positions": _unpack_halves,
    "opacities": _unpack_opacities,
    "colors": _unpack_colors,
    "scales": _unpack_scales,
    "rotations": _unpack_rotations,
    "rest": _unpack_rest,
}


@cache
def _levels(kind: str) -> NDArray[np.float32]:
    """What each byte (of a rotation each 10 bits) stands for."""
    byte = np.arange(256) / 1.0
    if kind == "color":
        found = (byte / 255 - 0.5) / COLOR_SCALE
    elif kind == "scale":
        found = np.exp(byte / LOG_SCALE_STEPS - LOG_SCALE_OFFSET)
    else:
        size = np.arange(512) * (np.sqrt(0.5) / ROTATION_STEPS)
        found = np.concatenate([size, -size])
    return found.astype(np.float32)


# -- axes --------------------------------------------------------------------------------------------------------------


def _right_handed(splats: Splats, extensions: bytes) -> tuple[Splats, str]:
    """With `up`, and mirrored if the file says that its axes are left-handed; with words for what was assumed."""
    letters = _SYSTEMS[_coordinate_system(extensions)]
    x, y, z = ({"U": 1.0, "D": -1.0}.get(letter, 0.0) for letter in letters)
    axes = AXES if letters == "RUB" else f"as the file says: {letters} (x, y, z: right/left, up/down, front/back)"
    signs = [1.0 if letter in "RUB" else -1.0 for letter in letters]
    # R, U, B in this order are right-handed; so is every even number of reversals, an exchange of axes counting as one.
    reversals = signs.count(-1.0) + (letters[1] in "FB")
    if reversals % 2:
        mirror = np.array([-1, 1, 1], np.float32)
        rest = splats.sh_rest
        splats = replace(
            splats,
            means=splats.means * mirror,
            quats=splats.quats * np.array([1, 1, -1, -1], np.float32),
            sh_rest=None if rest is None else rest * basis_parity(rest.shape[1], 0)[:, None],
        )
        axes += ", mirrored"
    return replace(splats, up=(x, y, z)), axes


def _coordinate_system(extensions: bytes) -> int:
    """The number of the axes' names; 0 where nothing is said. Records: type, length, that many bytes."""
    at = 0
    while at + 8 <= len(extensions):
        kind, length = struct.unpack_from("<II", extensions, at)
        if kind == _COORDINATES and length == 4 and at + 12 <= len(extensions):
            (number,) = struct.unpack_from("<I", extensions, at + 8)
            return number if number < len(_SYSTEMS) else 0
        at += 8 + length
    return 0
