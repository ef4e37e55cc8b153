"""Compression of arrays, for clients that ask for it."""

from __future__ import annotations

import zstandard

from backend.wire import Buffer, WireError

LEVEL = 1
"""Higher ones cost more time than they save bytes of relevancy."""


def compress(data: Buffer) -> bytes:
    """One zstd frame that says how long its content is."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)


def decompress(data: Buffer, limit: int) -> bytes:
    """The content of a frame, at most `limit` bytes of it. Raises WireError when it is no zstd frame."""
    try:
        return zstandard.ZstdDecompressor().stream_reader(data).read(limit)
    except zstandard.ZstdError as error:
        raise WireError(f"a compressed array is not a zstd frame ({error})") from error
