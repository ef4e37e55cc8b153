"""Files of USD, as text and binary, and spoiled in their values, names, types and bytes."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from legs4d.gaussians.formats.usd_writer import usd_writer
from tools.fuzz.makers.dice import COUNTS, Dice, one_of_few

_WORDS = ("nan", "inf", "-inf", "1e400", "None", "[]", "()", "(1, 2)", '"x"', "@../x@", "-1", *map(str, COUNTS))


@one_of_few
def make(dice: Dice) -> bytes:
    """A valid file."""
    suffix = dice.one((".usda", ".usdc"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        turn = dice.splats(1, 0).quats[0]
        with usd_writer(path, fps=dice.one((0.0, 24.0, 29.97)), turn=turn) as writer:
            writer.add("Static", dice.splats(dice.below(20) + 1, dice.one((0, 3, 8, 15))))
            if dice.chance(0.5):
                for frame in range(dice.below(3) + 1):
                    writer.add("Dynamic", dice.splats(dice.below(20) + 1, 3), frame)
        return path.read_bytes()


def spoil(dice: Dice, content: bytes) -> bytes:
    """Words and numbers exchanged, lines lost or doubled, or other bytes anywhere."""
    if content.startswith(b"PXR-USDC") or dice.chance(0.3):
        return dice.spoiled(content)
    lines = content.decode().splitlines()
    for _ in range(dice.below(4) + 1):
        at = dice.below(len(lines))
        kind = dice.below(4)
        numbers = list(re.finditer(r"-?\d+\.?\d*(e-?\d+)?|\w+", lines[at]))
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[dice.below(len(lines))])
        elif numbers:
            chosen = dice.one(numbers)
            lines[at] = lines[at][: chosen.start()] + dice.one(_WORDS) + lines[at][chosen.end() :]
        if not lines:
            return b""
    return "\n".join(lines).encode()


def declared(content: bytes) -> int:
    """Bytes of the arrays, at most what all of the file's bytes can hold; a binary file is packed."""
    return 64 * len(content)
