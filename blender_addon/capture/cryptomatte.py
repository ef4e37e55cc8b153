"""Which object is in a pixel, from Cryptomatte passes (Friedman and Jones 2015, specification 1.2). Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def name_hash(name: str) -> np.float32:
    """The number by which a Cryptomatte pass calls an object: MurmurHash3 of its name, as a float that is never NaN."""
    value = _murmur3(name.encode())
    exponent = min(max((value >> 23) & 255, 1), 254)
    return np.uint32((value & 0x807FFFFF) | (exponent << 23)).view(np.float32)


def object_ids(ranks: NDArray[np.float32], groups: list[list[str]]) -> NDArray[np.uint8]:
    """The group that covers most of each pixel: 0 where none of them does, else its place in `groups` from 1.

    Args:
        ranks: [L, H, W, 4] the pass's layers; each holds two pairs of (name hash, share of the pixel).
        groups: object names, at most 255 groups.

    Returns:
        [H, W] uint8.
    """
    known = {name_hash(name): number for number, names in enumerate(groups, start=1) for name in names}
    hashes = np.array(sorted(known), dtype=np.float32)
    numbers = np.array([known[h] for h in hashes])
    height, width = ranks.shape[1:3]
    covered = np.zeros((len(groups) + 1, height * width), dtype=np.float32)
    pixels = np.arange(height * width)
    for layer in ranks.reshape(len(ranks), height * width, 4):
        for pair in (layer[:, :2], layer[:, 2:]):
            place = np.minimum(np.searchsorted(hashes, pair[:, 0]), len(hashes) - 1)
            group = np.where(hashes[place] == pair[:, 0], numbers[place], 0)
            covered[group, pixels] += pair[:, 1]
    covered[0] = 1.0 - covered[1:].sum(axis=0)
    return covered.argmax(axis=0).astype(np.uint8).reshape(height, width)


def _murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0."""

    def rotated(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (32 - bits))) & 0xFFFFFFFF

    def mixed(k: int) -> int:
        return rotated(k * 0xCC9E2D51 & 0xFFFFFFFF, 15) * 0x1B873593 & 0xFFFFFFFF

    value, whole = 0, len(data) // 4 * 4
    for at in range(0, whole, 4):
        value = rotated(value ^ mixed(int.from_bytes(data[at : at + 4], "little")), 13)
        value = (value * 5 + 0xE6546B64) & 0xFFFFFFFF
    value ^= mixed(int.from_bytes(data[whole:], "little")) ^ len(data)
    value = (value ^ (value >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ (value >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ (value >> 16)
