"""Random choices that every format's files are made and spoiled with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from legs4d.portable.splats import Splats

Choice = TypeVar("Choice")

AWKWARD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45, 1e30, 88.8, -104.0], np.float32)
"""Numbers at the ends of float32, and where exp leaves it."""
COUNTS = (0, 1, 2, 3, 255, 256, 257, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 10**30)
"""Numbers of rows, bytes and items that programs stumble over."""

FEW = 60
"""Files that are made of a format whose making takes longer than its reading."""


@dataclass
class Dice:
    """A generator with the throws that the makers share."""

    rng: np.random.Generator

    def chance(self, share: float) -> bool:
        """True in this share of throws."""
        return bool(self.rng.random() < share)

    def below(self, end: int) -> int:
        """0 to end - 1; 0 where there is no choice."""
        return int(self.rng.integers(max(end, 1)))

    def one(self, choices: tuple[Choice, ...] | list[Choice]) -> Choice:
        """Any of these."""
        return choices[self.below(len(choices))]

    def floats(self, *shape: int) -> NDArray[np.float32]:
        """Ordinary numbers, and now and then awkward ones among them."""
        values = self.rng.normal(size=shape).astype(np.float32)
        if self.chance(0.3) and values.size:
            places = self.rng.integers(0, values.size, self.below(4) + 1)
            values.reshape(-1)[places] = self.rng.choice(AWKWARD, len(places))
        return values

    def splats(self, count: int, coefficients: int) -> Splats:
        """Valid Gaussians with +Y up."""
        quats = self.rng.normal(size=(count, 4)) + 1e-3
        rest = self.rng.uniform(-1, 1, (count, coefficients, 3)).astype(np.float32)
        return Splats(
            means=self.rng.uniform(-9, 9, (count, 3)).astype(np.float32),
            quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
            scales=np.exp(self.rng.uniform(-7, 1, (count, 3))).astype(np.float32),
            opacities=self.rng.random(count).astype(np.float32),
            colors=self.rng.uniform(-2, 2, (count, 3)).astype(np.float32),
            sh_rest=rest if coefficients else None,
            up=(0.0, 1.0, 0.0),
        )

    def spoiled(self, content: bytes) -> bytes:
        """Any file with bytes changed, cut out, doubled, put in, or lost at its end."""
        data = bytearray(content)
        for _ in range(self.below(3) + 1):
            at, length = self.below(len(data)), self.below(64) + 1
            kind = self.below(6)
            if kind == 0:
                data = data[: self.below(len(data) + 1)]
            elif kind == 1 and data:
                data[at] ^= 1 << self.below(8)
            elif kind == 2:
                data[at : at + length] = self.rng.bytes(min(length, len(data) - at))
            elif kind == 3:
                del data[at : at + length]
            elif kind == 4:
                data[at:at] = data[at : at + length]
            else:
                data[at:at] = self.rng.bytes(length)
        return bytes(data)


def one_of_few(make: Callable[[Dice], bytes]) -> Callable[[Dice], bytes]:
    """A `make` that gives one of `FEW` files, each of which is made when it is first asked for."""

    @cache
    def made(number: int) -> bytes:
        return make(Dice(np.random.default_rng(number)))

    return lambda dice: made(dice.below(FEW))
