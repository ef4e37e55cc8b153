"""3D Gaussians as .spz, Niantic's compact format, version 3: 20 bytes a Gaussian, packed by gzip.

The axes of .spz are fixed: x right, y up, z towards the viewer. Positions are whole multiples of a power of two, all
else is rounded to 8 bits (rotations to 10), so a file is for showing; .ply keeps everything.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import RunError
from legs4d.gaussians.files import write_file
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.upright import turned

_MAGIC, _VERSION = 0x5053474E, 3
_POSITION_LIMIT = (1 << 23) - 1
"""Positions have 24 bits, with a sign."""
_FINEST = 20
"""Fraction bits of positions, at most: 1e-6 of a scene unit."""
_COLOR_SCALE = 0.15
_LOG_SCALE_OFFSET, _LOG_SCALE_STEPS = 10.0, 16.0
_ROTATION_STEPS = 511
"""Of each of the three smaller quaternion components, from 0 to √½."""


def write_spz(path: Path, gaussians: Gaussians, turn: NDArray[np.float64]) -> None:
    """Write one frame.

    Args:
        path: the file, replaced if it exists.
        gaussians: N numpy Gaussians.
        turn: [4] wxyz, the rotation to the axes of .spz (`upright.upright_turn`).

    Raises:
        RunError: a Gaussian is too far away for this format, or the file cannot be written.
    """
    upright = turned(gaussians, turn)
    bits = _fraction_bits(upright.means, path)
    header = struct.pack("<IIIBBBB", _MAGIC, _VERSION, len(upright), 0, bits, 0, 0)
    log_scales = np.log(np.maximum(upright.scales, np.exp(-_LOG_SCALE_OFFSET)))
    parts = (
        _positions(upright.means, bits),
        _bytes(upright.opacities * 255),
        _bytes(upright.colors * (_COLOR_SCALE * 255) + 0.5 * 255),
        _bytes((log_scales + _LOG_SCALE_OFFSET) * _LOG_SCALE_STEPS),
        _rotations(upright.quats),
    )
    # mtime 0: the same Gaussians give the same file.
    write_file(path, gzip.compress(header + b"".join(part.tobytes() for part in parts), 6, mtime=0))


def _fraction_bits(means: NDArray[np.float32], path: Path) -> int:
    """As many as leave room for the farthest Gaussian."""
    farthest = float(np.abs(means).max(initial=0.0))
    bits = min(_FINEST, int(np.floor(np.log2(_POSITION_LIMIT / max(farthest, 1e-6)))))
    if bits < 0:
        raise RunError(
            f"a Gaussian is {farthest:g} scene units away, .spz ends at {_POSITION_LIMIT}",
            where=str(path),
            fix="export ply",
        )
    return bits


def _positions(means: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """[N, 9] bytes: three 24 bit integers, lowest byte first."""
    fixed = np.rint(means.astype(np.float64) * (1 << bits)).astype("<i4")
    return np.ascontiguousarray(fixed).view(np.uint8).reshape(-1, 3, 4)[..., :3].reshape(-1, 9)


def _rotations(quats: NDArray[np.float32]) -> NDArray[np.uint32]:
    """[N] which component (x, y, z, w) is largest in 2 bits, then sign and size of the others in 10 bits each."""
    xyzw = quats[:, [1, 2, 3, 0]].astype(np.float64)
    xyzw /= np.linalg.norm(xyzw, axis=1, keepdims=True)
    largest = np.abs(xyzw).argmax(axis=1)
    flipped = np.take_along_axis(xyzw, largest[:, None], axis=1)[:, 0] < 0
    packed = largest.astype(np.uint32)
    for component in range(4):
        value = xyzw[:, component]
        sign = ((value < 0) ^ flipped).astype(np.uint32)
        size = np.rint(_ROTATION_STEPS * np.abs(value) / np.sqrt(0.5)).astype(np.uint32)
        longer = (packed << np.uint32(10)) | (sign << np.uint32(9)) | size
        packed = np.where(largest == component, packed, longer)
    return packed.astype("<u4")


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
