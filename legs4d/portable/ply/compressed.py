"""The chunked "compressed" .ply of PlayCanvas and SuperSplat: 16 bytes a Gaussian, in chunks of 256 with bounds.

Per Gaussian four integers: position and scale as 11, 10 and 11 bits between their chunk's bounds, the rotation's three
smaller components as 10 bits each (its largest named by 2 bits, order wxyz), RGB and opacity as 8 bits. Chunks have the
bounds of positions and log scales, and of colours in newer files; an element `sh` has 8 bits a coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sh import COEFFICIENTS
from ..splats import SplatFileError, Splats
from ..values import SH_C0, empty, make_valid
from .header import Element, Header
from .rows import Rows

CHUNK = 256
"""Gaussians that share bounds."""

SH_RANGE = 8.0
"""Coefficients lie within ±4."""

_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
_BOUNDS = tuple(f"{end}_{name}" for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z") for end in ("min", "max"))
_COLOR_BOUNDS = tuple(f"{end}_{name}" for name in "rgb" for end in ("min", "max"))


def is_compressed(header: Header) -> bool:
    """Whether the vertices are of this kind."""
    vertex = header.find("vertex")
    return vertex is not None and "packed_position" in vertex.names


def read_compressed(rows: Rows, header: Header, path: Path) -> tuple[Splats, NDArray[np.bool_]]:
    """All Gaussians, and which of them are usable.

    Raises:
        SplatFileError: an element is missing or does not fit the others.
    """
    vertex, chunk, sh = header.find("vertex"), header.find("chunk"), header.find("sh")
    assert vertex is not None  # is_compressed
    chunks = -(-vertex.count // CHUNK)
    if chunk is None or chunk.count != chunks or not set(_BOUNDS) <= set(chunk.names):
        raise SplatFileError(
            f"its packed vertices need an element chunk of {chunks} rows with the bounds of positions and scales",
            where=str(path),
            fix="export it again",
        )
    types = {p.name: p.type[1:] for p in vertex.properties if p.count_type is None}
    if any(types.get(name) not in ("u4", "i4") for name in _PACKED):
        raise SplatFileError(f"its packed vertices need {', '.join(_PACKED)} of type uint", where=str(path))
    coefficients = _coefficients(sh, vertex, path)
    splats, bounds = empty(vertex.count, coefficients), dict[str, NDArray[np.float32]]()
    done = set()
    for element in header.elements:
        if element is chunk:
            bounds = _all(rows, chunk)
        elif element is vertex:
            if not bounds:
                raise SplatFileError("its element chunk stands after its vertices", where=str(path))
            _unpack(splats, _blocks(rows, vertex), bounds)
        elif element is sh and coefficients:
            _unpack_rest(splats, rows, sh)
        else:
            rows.skip(element)
        done.add(element.name)
        if {"vertex", *(["sh"] if coefficients else [])} <= done:
            break
    usable = np.empty(vertex.count, bool)
    for first in range(0, vertex.count, 1 << 14):
        part = slice(first, first + (1 << 14))
        usable[part] = make_valid(splats, part)
    return splats, usable


def _coefficients(sh: Element | None, vertex: Element, path: Path) -> int:
    if sh is None:
        return 0
    count = len(sh.properties)
    known = [f"f_rest_{index}" for index in range(count)]
    if count % 3 or count // 3 not in COEFFICIENTS or sorted(sh.names) != sorted(known) or sh.count != vertex.count:
        raise SplatFileError(
            f"its element sh has {sh.count} rows of {count} properties; {vertex.count} rows of 9, 24 or 45 are known",
            where=str(path),
            fix="export it with spherical harmonics of degree 3 at most",
        )
    if any(p.type[1:] != "u1" or p.count_type for p in sh.properties):
        raise SplatFileError("its element sh is not of type uchar", where=str(path), fix="export it again")
    return count // 3


def _all(rows: Rows, chunk: Element) -> dict[str, NDArray[np.float32]]:
    """A table of bounds, whole."""
    blocks = list(rows.read(chunk))
    names = [name for name in (*_BOUNDS, *_COLOR_BOUNDS) if name in chunk.names]
    return {name: np.concatenate([np.asarray(block[name], np.float32) for block in blocks]) for name in names}


def _blocks(rows: Rows, vertex: Element) -> Iterator[tuple[slice, Any]]:
    first = 0
    for block in rows.read(vertex):
        count = len(block["packed_position"])
        yield slice(first, first + count), block
        first += count


def _unpack(splats: Splats, blocks: Iterator[tuple[slice, Any]], bounds: dict[str, NDArray[np.float32]]) -> None:
    has_color_bounds = set(_COLOR_BOUNDS) <= set(bounds)
    for part, block in blocks:
        chunk = np.arange(part.start, part.stop) // CHUNK
        position, rotation, scale, color = (np.asarray(block[name]).astype(np.uint32) for name in _PACKED)

        def between(name: str, share: NDArray[np.float32], chunk: NDArray[np.int64] = chunk) -> NDArray[np.float32]:
            low, high = bounds[f"min_{name}"][chunk], bounds[f"max_{name}"][chunk]
            return low * (1 - share) + high * share

        with np.errstate(over="ignore", invalid="ignore"):
            for axis, name in enumerate("xyz"):
                shift, bits = ((21, 11), (11, 10), (0, 11))[axis]
                splats.means[part, axis] = between(name, _share(position, shift, bits))
                splats.scales[part, axis] = np.exp(between(f"scale_{name}", _share(scale, shift, bits)))
            for channel, name in enumerate("rgb"):
                value = _share(color, 24 - 8 * channel, 8)
                value = between(name, value) if has_color_bounds else value
                splats.colors[part, channel] = (value - 0.5) / SH_C0
        splats.opacities[part] = _share(color, 0, 8)
        splats.quats[part] = _rotations(rotation)


def _share(values: NDArray[np.uint32], shift: int, bits: int) -> NDArray[np.float32]:
    """Some bits of an integer, as 0..1."""
    most = (1 << bits) - 1
    return ((values >> np.uint32(shift)) & np.uint32(most)).astype(np.float32) / np.float32(most)


def _rotations(values: NDArray[np.uint32]) -> NDArray[np.float32]:
    """[N, 4] wxyz."""
    parts = [(_share(values, shift, 10) - np.float32(0.5)) * np.float32(np.sqrt(2)) for shift in (20, 10, 0)]
    rest = np.float32(1) - sum(part * part for part in parts)
    return insert_largest(parts, np.sqrt(np.maximum(rest, 0)), values >> np.uint32(30))


def insert_largest(
    parts: list[NDArray[np.float32]], largest: NDArray[np.float32], place: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """[N, 4] of three components in their order and a fourth, whose place (0 to 3) is told."""
    first, second, third = parts
    return np.stack(
        [
            np.where(place == 0, largest, first),
            np.where(place == 1, largest, np.where(place == 0, first, second)),
            np.where(place == 2, largest, np.where(place == 3, third, second)),
            np.where(place == 3, largest, third),
        ],
        axis=1,
    )


def _unpack_rest(splats: Splats, rows: Rows, sh: Element) -> None:
    rest = splats.sh_rest
    assert rest is not None
    coefficients = rest.shape[1]
    # The middle of each of 256 steps, but for the two at the ends.
    levels = (np.arange(256, dtype=np.float32) + np.float32(0.5)) / np.float32(256)
    levels[[0, 255]] = 0, 1
    levels = (levels - np.float32(0.5)) * np.float32(SH_RANGE)
    first = 0
    for block in rows.read(sh):
        count = len(block["f_rest_0"])
        for index in range(3 * coefficients):
            values = levels[np.asarray(block[f"f_rest_{index}"]).astype(np.uint8)]
            rest[first : first + count, index % coefficients, index // coefficients] = values
        first += count
