"""3D Gaussians as .spz, Niantic's compact format: 19 or 20 bytes each, and one for each SH coefficient.

The axes of .spz are x right, y up, z towards the viewer. Positions are whole multiples of a power of two, all else is
rounded to 8 bits (rotations to 10), so a file is for showing; .ply keeps everything.
"""

from __future__ import annotations

import gzip
import struct
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .splats import SplatFileError, Splats
from .spz import COLOR_SCALE, LOG_SCALE_OFFSET, LOG_SCALE_STEPS, MAGIC, ROTATION_STEPS
from .turns import upright_turn
from .zstd import compress

Version = Literal[2, 3, 4]
VERSIONS: tuple[Version, ...] = get_args(Version)
DEFAULT_VERSION: Version = 3
"""What most programs read; version 2 has rotations a third as fine, version 4 needs zstd."""

COARSEST, FINEST = 12, 20
"""Bits behind the point of a position: all writers use the first, a small scene has room for more."""
FARTHEST = (1 << 23) / (1 << COARSEST)
"""Scene units from the origin where 24 bits with a sign end: 2048."""
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 9


def spz_bytes(splats: Splats, *, version: Version = DEFAULT_VERSION, where: str = "") -> bytes:
    """A file's content; the same Gaussians give the same bytes.

    Args:
        splats: turned about the origin so that their `up` is +Y. `extra` has no place in the format.
        version: 2 and 3 packed by gzip, 4 by zstd.
        where: the file, for messages.

    Raises:
        SplatFileError: a Gaussian is too far away for this format, or this Python has no zstd.
    """
    upright = splats if splats.up == (0.0, 1.0, 0.0) else splats.turned(upright_turn(np.negative(splats.up)))
    bits = _fraction_bits(upright.means, where)
    degree = upright.sh_degree
    colors = upright.colors.astype(np.float64) * (COLOR_SCALE * 255) + 0.5 * 255
    log_scales = np.log(np.maximum(upright.scales, np.exp(-LOG_SCALE_OFFSET)))
    parts = [
        _positions(upright.means, bits).tobytes(),
        _bytes(upright.opacities * 255).tobytes(),
        _bytes(colors).tobytes(),
        _bytes((log_scales + LOG_SCALE_OFFSET) * LOG_SCALE_STEPS).tobytes(),
        (_first_three(upright.quats) if version == 2 else _smallest_three(upright.quats)).tobytes(),
    ]
    if upright.sh_rest is not None:
        parts.append(_bytes(upright.sh_rest * 128 + 128).tobytes())
    start = (MAGIC, version, len(upright), degree, bits, int(splats.antialiased))
    if version < 4:
        return gzip.compress(struct.pack("<IIIBBBB", *start, 0) + b"".join(parts), _GZIP_LEVEL, mtime=0)
    packed = [compress(part, _ZSTD_LEVEL, where) for part in parts]
    header = struct.pack("<IIIBBBBI12x", *start, len(parts), 32)
    table = [struct.pack("<QQ", len(small), len(part)) for small, part in zip(packed, parts, strict=True)]
    return b"".join([header, *table, *packed])


def _fraction_bits(means: NDArray[np.float32], where: str) -> int:
    """As many as leave room for the farthest Gaussian."""
    farthest = float(np.abs(means).max(initial=0.0))
    if not farthest < FARTHEST - 2.0**-COARSEST:
        raise SplatFileError(
            f"a Gaussian is {farthest:g} scene units from the origin along an axis, .spz ends at {FARTHEST:g}",
            where=where,
            fix="export ply, or make the scene smaller",
        )
    most = (1 << 23) - 1
    return next(bits for bits in range(FINEST, COARSEST - 1, -1) if np.rint(farthest * 2.0**bits) <= most)


def _positions(means: NDArray[np.float32], bits: int) -> NDArray[np.uint8]:
    """[N, 9] bytes: three 24 bit integers, lowest byte first."""
    fixed = np.rint(means.astype(np.float64) * (1 << bits)).astype("<i4")
    return np.ascontiguousarray(fixed).view(np.uint8).reshape(-1, 3, 4)[..., :3].reshape(-1, 9)


def _first_three(quats: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[N, 3] x, y, z of the rotation whose w is not negative."""
    unit = _unit(quats)
    signed = np.where(unit[:, :1] < 0, -unit[:, 1:], unit[:, 1:])
    return _bytes(signed * 127.5 + 127.5)


def _smallest_three(quats: NDArray[np.float32]) -> NDArray[np.uint32]:
    """[N] which component (x, y, z, w) is largest in 2 bits, then sign and size of the others in 10 bits each."""
    xyzw = _unit(quats)[:, [1, 2, 3, 0]]
    largest = np.abs(xyzw).argmax(axis=1)
    flipped = np.take_along_axis(xyzw, largest[:, None], axis=1)[:, 0] < 0
    packed = largest.astype(np.uint32)
    for component in range(4):
        value = xyzw[:, component]
        sign = ((value < 0) ^ flipped).astype(np.uint32)
        size = np.rint(ROTATION_STEPS * np.abs(value) / np.sqrt(0.5)).clip(0, ROTATION_STEPS).astype(np.uint32)
        longer = (packed << np.uint32(10)) | (sign << np.uint32(9)) | size
        packed = np.where(largest == component, packed, longer)
    return packed.astype("<u4")


def _unit(quats: NDArray[np.float32]) -> NDArray[np.float64]:
    found = quats.astype(np.float64)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
