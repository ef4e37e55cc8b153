"""A bit for each of some Gaussians, deflated, as clients send them: read back without trusting them."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from backend.service.errors import BackendError
from backend.wire import Code


def unpacked(told: bytes, count: int, part: str, where: str) -> NDArray[np.bool_]:
    """[count] which of them are told.

    Args:
        part: what a person calls these Gaussians; where: the request.

    Raises:
        BackendError: the bits are damaged, or of another number of Gaussians.
    """
    size = (count + 7) // 8
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(told, size + 1)  # no more than are wanted, whatever they claim to be
    except zlib.error as error:
        raise _refused(f"the bits of the {part} Gaussians are damaged ({error})", where) from error
    if len(raw) != size or not reader.eof:
        raise _refused(f"the bits of the {part} Gaussians are not those of {count:,}", where)
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)


def _refused(message: str, where: str) -> BackendError:
    return BackendError(message, where=where, fix="open the run again", code=Code.BODY)
