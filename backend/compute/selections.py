"""Which of a run's Gaussians a `render` request means: bits that were deflated, read back without trusting them."""

from __future__ import annotations

import zlib

import numpy as np
import torch

from backend.service.errors import BackendError
from backend.service.requests import RenderPoints
from backend.wire import Code


def chosen(points: RenderPoints | None, part: str, count: int, device: str, frame: int = 0) -> torch.Tensor | None:
    """[count] bool on the device: which of a part's Gaussians are told; None where nothing is said of them.

    Args:
        part: "static", "dynamic" or "loose".
        count: how many Gaussians it has.
        frame: of loose ones.

    Raises:
        BackendError: the bits are damaged, or of another number of Gaussians.
    """
    if points is None:
        return None
    if part == "loose":
        told = next((one.points for one in points.loose if one.frame == frame), None)
    else:
        told = points.static if part == "static" else points.dynamic
    return None if told is None else torch.as_tensor(_unpacked(told, count, part), device=device)


def _unpacked(told: bytes, count: int, part: str) -> np.ndarray:
    size = (count + 7) // 8
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(told, size + 1)  # no more than are wanted, whatever they claim to be
    except zlib.error as error:
        raise _refused(f"the bits of the {part} Gaussians are damaged ({error})") from error
    if len(raw) != size or not reader.eof:
        raise _refused(f"the bits of the {part} Gaussians are not those of {count:,}")
    return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(bool)


def _refused(message: str) -> BackendError:
    return BackendError(message, where="render", fix="open the run again", code=Code.BODY)
