"""Files of .splat: rows without a header."""

from __future__ import annotations

import numpy as np

from tools.fuzz.makers.dice import Dice


def make(dice: Dice) -> bytes:
    """A valid file."""
    count = dice.below(200) + 20  # most of them ordinary: there is no header to tell what it is
    rows = np.empty(count, [("means", "<f4", 3), ("scales", "<f4", 3), ("bytes", "u1", 8)])
    rows["means"], rows["scales"] = dice.floats(count, 3), np.abs(dice.floats(count, 3))
    rows["bytes"] = dice.rng.integers(0, 256, (count, 8))
    return rows.tobytes()


def spoil(dice: Dice, content: bytes) -> bytes:
    """Other bytes anywhere."""
    return dice.spoiled(content)


def declared(content: bytes) -> int:
    """Bytes of the arrays."""
    return len(content) // 32 * 56
