"""zstd, where this Python has it: in the standard library from 3.14 on, else in the package zstandard."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from .splats import SplatFileError

SMALLEST_WINDOW = 23
"""log2 of the bytes that a frame may ask to look back, at least: zstd's recommendation of 8 MiB."""


def decompress(data: bytes, size: int, where: str) -> bytes:
    """The content of one frame, which has to be `size` bytes; no more is ever unpacked.

    Raises:
        SplatFileError: this Python has no zstd, the data is damaged, or its content has another size.
    """
    window = max(SMALLEST_WINDOW, size.bit_length())
    for reader in (_by_the_standard_library, _by_zstandard):
        unpack = reader(window)
        if unpack is None:
            continue
        try:
            found = unpack(data, size + 1)
        except _errors() as error:
            raise SplatFileError(f"its zstd data is damaged ({error})", where=where, fix="copy it again") from error
        if len(found) != size:
            held = "more" if len(found) > size else f"{len(found)}"
            what = f"a packed part of it holds {held} bytes where its table says {size}"
            raise SplatFileError(what, where=where, fix="copy or export it again")
        return found
    raise SplatFileError(
        "is packed by zstd, which this Python cannot read",
        where=where,
        fix="import it through the backend, or save it as .spz version 3",
    )


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


Unpack = Callable[[bytes, int], bytes]


def _by_the_standard_library(window: int) -> Unpack | None:
    try:
        zstd = import_module("compression.zstd")
    except ImportError:
        return None
    options = {zstd.DecompressionParameter.window_log_max: min(window, 31)}
    return lambda data, most: bytes(zstd.ZstdDecompressor(options=options).decompress(data, most))


def _by_zstandard(window: int) -> Unpack | None:
    try:
        zstandard = import_module("zstandard")
    except ImportError:
        return None
    context = zstandard.ZstdDecompressor(max_window_size=1 << min(window, 31))
    return lambda data, most: bytes(context.stream_reader(data).read(most))


def _errors() -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = []
    for module in ("compression.zstd", "zstandard"):
        try:
            found.append(import_module(module).ZstdError)
        except ImportError:
            continue
    return tuple(found)
