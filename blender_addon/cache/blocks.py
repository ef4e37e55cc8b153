"""Files of arrays, memory-mapped: a block is its arrays, raw, one after another, in the order of its layout.

A block appears by rename, so it is complete or absent, and two Blenders may write one at once: they write the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]
Layout = tuple[tuple[str, int, str], ...]
"""Arrays of a block: (name, components per point, dtype)."""

MOST_SH = 15
STEPS: dict[str, np.float32] = {
    "quats": np.float32(1 / 32767),
    "colors": np.float32(8 / 32767),
    "opacities": np.float32(1 / 32767),
    **{f"sh_{index}": np.float32(4 / 32767) for index in range(MOST_SH)},
}
"""What an integer step of an array stands for. SH DC coefficients beyond ±8 and others beyond ±4 are clipped: no screen
shows them."""

_COUNTED = struct.Struct("<4sIII")
"""Before the arrays of a block that tells its own number of points: magic, points, SH coefficients, unused."""
_MAGIC = b"L4DL"


class CacheError(Exception):
    """A cache is missing or damaged; the message is one sentence for the panel."""


def sh_layout(count: int) -> Layout:
    """View dependence, a coefficient after the other: each goes into an attribute of its own."""
    return tuple((f"sh_{index}", 3, "int16") for index in range(count))


def with_sh(arrays: Mapping[str, Array], count: int) -> dict[str, Array]:
    """`sh_rest` [n, K, 3] as the arrays of `sh_layout(count)`; zeros where it is missing or shorter."""
    rest = arrays.get("sh_rest")
    known = 0 if rest is None else rest.shape[1]
    points = len(arrays["means"] if "means" in arrays else arrays["scales"])
    nothing = np.zeros((points, 3), np.float32)
    found = {f"sh_{index}": rest[:, index] if rest is not None and index < known else nothing for index in range(count)}
    return {**arrays, **found}


def write(file: Path, layout: Layout, points: int, arrays: Mapping[str, Array], head: bytes = b"") -> None:
    """Store arrays. CacheError where one has not as many values as so many points need."""
    with replacing(file) as stream:
        stream.write(head)
        for name, width, dtype in layout:
            array = _encoded(name, arrays[name]) if dtype == "int16" else np.ascontiguousarray(arrays[name], dtype)
            if array.size != points * width:
                raise CacheError(f"{name} has {array.size} values, but {points} points need {points * width}")
            stream.write(array.data.cast("B") if array.size else b"")


def read(file: Path, layout: Layout, points: int, skip: int = 0) -> dict[str, Array]:
    """The arrays, memory-mapped; integers of "int16" as multiples of STEPS. CacheError: missing or of another size."""
    expected = skip + sum(width * points * np.dtype(dtype).itemsize for _, width, dtype in layout)
    try:
        size = file.stat().st_size
        raw = np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)
    except OSError as error:
        raise CacheError(f"{file} is not in the cache; fetch the run again") from error
    if size != expected:
        raise CacheError(f"{file} has {size} bytes instead of {expected}; remove the cache and fetch the run again")
    arrays, start = {}, skip
    for name, width, dtype in layout:
        end = start + width * points * np.dtype(dtype).itemsize
        array = raw[start:end].view(dtype)
        arrays[name] = array.reshape(points, width) if width > 1 else array
        start = end
    return arrays


def counted_layout(sh: int) -> Layout:
    """Of a frame's points without identity."""
    wide = (("means", 3, "float32"), ("scales", 3, "float32"), ("ranks", 1, "float32"))
    small = (("quats", 4, "int16"), ("colors", 3, "int16"), ("opacities", 1, "int16"))
    return (*wide, *small, *sh_layout(sh), ("seen", 1, "uint8"))


def write_counted(file: Path, arrays: Mapping[str, Array], sh: int) -> None:
    """Store as many points as there are, with `sh` SH coefficients; the file tells both."""
    points = len(arrays["means"])
    write(file, counted_layout(sh), points, with_sh(arrays, sh), _COUNTED.pack(_MAGIC, points, sh, 0))


def read_counted(file: Path) -> tuple[int, int, dict[str, Array]]:
    """(points, SH coefficients, arrays of `counted_layout`). CacheError as `read`."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_COUNTED.size)
    except OSError as error:
        raise CacheError(f"{file} is not in the cache; fetch the run again") from error
    if len(head) < _COUNTED.size or not head.startswith(_MAGIC):
        raise CacheError(f"{file} is damaged; remove the cache and fetch the run again")
    _, points, sh, _ = _COUNTED.unpack(head)
    if sh > MOST_SH:
        raise CacheError(f"{file} is damaged; remove the cache and fetch the run again")
    return points, sh, read(file, counted_layout(sh), points, _COUNTED.size)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Store a JSON object, complete or not at all."""
    with replacing(file) as stream:
        stream.write(json.dumps(content).encode())


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes `file` when the block ends without error."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _encoded(name: str, values: Array) -> Array:
    """As multiples of the array's step."""
    scaled = np.multiply(values, 1 / STEPS[name], dtype=np.float32)
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -32767, 32767, out=scaled).astype(np.int16)
