"""zstd, where this Python has it: in the standard library from 3.14 on, else in the package zstandard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from .splats import SplatFileError

AT_ONCE = 1 << 20
"""Bytes that are unpacked before they are handed on."""

SMALLEST_WINDOW = 23
"""log2 of the bytes that a frame may ask to look back, at least: zstd's recommendation of 8 MiB."""


def unpack_into(data: bytes, out: NDArray[np.uint8], where: str) -> Iterator[int]:
    """Put the content of one frame into `out`, which it has to fill exactly; no more is ever unpacked.

    Yields:
        How many bytes of `out` are there.

    Raises:
        SplatFileError: this Python has no zstd, the data is damaged, or its content has another size.
    """
    window = max(SMALLEST_WINDOW, len(out).bit_length())
    read = _by_the_standard_library(data, window) or _by_zstandard(data, window)
    if read is None:
        raise SplatFileError(
            "is packed by zstd, which this Python cannot read",
            where=where,
            fix="import it through the backend, or save it as .spz version 3",
        )
    there = 0
    try:
        while there < len(out) and (part := read(min(AT_ONCE, len(out) - there))):
            out[there : there + len(part)] = np.frombuffer(part, np.uint8)
            there += len(part)
            yield there
        more = bool(read(1))
    except _errors() as error:
        raise SplatFileError(f"its zstd data is damaged ({error})", where=where, fix="copy it again") from error
    if more or there < len(out):
        held = "more" if more else f"{there}"
        what = f"a packed part of it holds {held} bytes where its table says {len(out)}"
        raise SplatFileError(what, where=where, fix="copy or export it again")


def compress(data: bytes, level: int, where: str) -> bytes:
    """One frame that says how long its content is.

    Raises:
        SplatFileError: this Python has no zstd.
    """
    try:
        return bytes(import_module("compression.zstd").compress(data, level))
    except ImportError:
        pass
    try:
        return bytes(import_module("zstandard").ZstdCompressor(level=level).compress(data))
    except ImportError:
        raise SplatFileError(
            "needs zstd, which this Python does not have", where=where, fix="write .spz version 3"
        ) from None


Read = Callable[[int], bytes]
"""Gives the next bytes, at most so many; none at the end."""


def _by_the_standard_library(data: bytes, window: int) -> Read | None:
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        return None
    options = {zstd.DecompressionParameter.window_log_max: min(window, 31)}
    stream, waiting = zstd.ZstdDecompressor(options=options), [data]

    def read(most: int) -> bytes:
        if stream.eof or (stream.needs_input and not waiting):
            return b""
        return bytes(stream.decompress(waiting.pop() if waiting else b"", most))

    return read


def _by_zstandard(data: bytes, window: int) -> Read | None:
    try:
        zstandard = import_module("zstandard")
    except ImportError:
        return None
    reader: Read = zstandard.ZstdDecompressor(max_window_size=1 << min(window, 31)).stream_reader(data).read
    return reader


def _errors() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = []
    for module in ("compression.zstd", "zstandard"):
        try:
            found.append(import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(found)
