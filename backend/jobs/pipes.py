"""Messages of the wire format between the server and a process of its own: over a pipe, each part after its length."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import IO

from backend.wire import Buffer

_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
MAX_PARTS = 64


def write_parts(pipe: IO[bytes], parts: Sequence[Buffer]) -> None:
    """Write one message. Raises OSError when nobody reads any more."""
    pipe.write(_COUNT.pack(len(parts)))
    for part in parts:
        pipe.write(_SIZE.pack(memoryview(part).nbytes))
        pipe.write(part)
    pipe.flush()


def read_parts(pipe: IO[bytes]) -> list[memoryview] | None:
    """The next message; None at the end of the pipe, be it in the middle of a message.

    Raises ValueError when what comes is no message: something else writes into the pipe.
    """
    try:
        (count,) = _COUNT.unpack(_read(pipe, _COUNT.size))
        if count > MAX_PARTS:
            raise ValueError(f"a message of {count} parts")
        return [_read(pipe, _SIZE.unpack(_read(pipe, _SIZE.size))[0]) for _ in range(count)]
    except EOFError:
        return None


def _read(pipe: IO[bytes], size: int) -> memoryview:
    data = memoryview(bytearray(size))
    filled = 0
    while filled < size:
        count = pipe.readinto(data[filled:])  # type: ignore[attr-defined]  # every binary pipe has it, IO[bytes] does not say so
        if not count:
            raise EOFError
        filled += count
    return data
