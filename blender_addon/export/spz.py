"""3D Gaussians as .spz, Niantic's compact format, version 3: 20 bytes a Gaussian, packed by gzip. Pure numpy.

The axes of .spz are x right, y up, z towards the viewer; a capture's y points down and z away.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from .gaussians import Gaussians

Array = np.ndarray[Any, Any]

_MAGIC, _VERSION = 0x5053474E, 3
_MOST = (1 << 23) - 1
"""The largest step of a position: 24 bits with a sign."""
_FINEST = 16
"""Bits behind the point of a position, at most."""
_COLOR_SCALE = 0.15
_ROTATION_STEPS = 511
_SMALLEST = 1e-5


def write_spz(path: Path, gaussians: Gaussians) -> None:
    """Writes a file, replaced if it is there. The highlight is not part of the format: bake it into the colours."""
    flip = np.array([1, -1, -1], np.float32)
    positions, rotations = gaussians.positions * flip, gaussians.rotations * np.append(np.float32(1), flip)
    farthest = float(np.abs(positions).max(initial=1e-6))
    bits = int(min(_FINEST, np.floor(np.log2(_MOST / farthest))))
    header = struct.pack("<IIIBBBB", _MAGIC, _VERSION, len(positions), 0, bits, 0, 0)
    parts = (
        _positions(positions, bits),
        _bytes(gaussians.opacities * 255),
        _bytes(gaussians.dc * (_COLOR_SCALE * 255) + 127.5),
        _bytes((np.log(np.maximum(gaussians.scales, _SMALLEST)) + 10) * 16),
        _rotations(rotations),
    )
    path.write_bytes(gzip.compress(header + b"".join(part.tobytes() for part in parts), 6))


def _positions(positions: Array, bits: int) -> Array:
    """[N, 3, 3] bytes, the lowest first."""
    steps = np.rint(positions.astype(np.float64) * (1 << bits)).clip(-_MOST, _MOST).astype("<i4")
    return np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 3, 4)[:, :, :3]


def _bytes(values: Array) -> Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _rotations(quats: Array) -> Array:
    """[N] uint32: which component (xyzw) is largest in the top bits, then sign and 9 bits of each of the others."""
    xyzw = np.roll(quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12), -1, axis=1)
    largest = np.abs(xyzw).argmax(axis=1)
    rows = np.arange(len(xyzw))
    turned = np.signbit(xyzw[rows, largest])
    packed = largest.astype(np.uint32)
    for place in range(4):
        values = xyzw[:, place]
        size = np.rint(np.abs(values) * (_ROTATION_STEPS * np.sqrt(2))).clip(0, _ROTATION_STEPS).astype(np.uint32)
        negative = (np.signbit(values) != turned).astype(np.uint32)
        with_this = (packed << np.uint32(10)) | (negative << np.uint32(9)) | size
        packed = np.where(largest == place, packed, with_this)
    return packed.astype("<u4")
