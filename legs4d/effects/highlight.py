"""Light up what a prompt names, and quieten the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.portable import look

LUMA = np.array(look.LUMA, np.float32)


@dataclass(frozen=True)
class HighlightStyle:
    """How it looks.

    Attributes:
        tint: RGB in 0..1 that the highlighted part is pulled towards.
        tint_amount: 0..1, how far.
        desaturate: 0..1, how grey the rest becomes.
        dim: 0..1, how much darker the rest becomes.
    """

    tint: tuple[float, float, float] = (1.0, 0.62, 0.1)
    tint_amount: float = 0.45
    desaturate: float = 0.85
    dim: float = 0.45


DEFAULT_STYLE = HighlightStyle()

GREY_REST = HighlightStyle(tint_amount=0.0, desaturate=1.0, dim=0.0)
"""The part as it is, and the rest without colour."""


def highlight(
    color: NDArray[np.float32],
    matte: NDArray[np.float32],
    amount: float = 1.0,
    style: HighlightStyle = DEFAULT_STYLE,
) -> NDArray[np.float32]:
    """A picture with part of it lit up.

    Args:
        color: [..., 3] RGB; clamped to 0..1.
        matte: [...] in 0..1, how much of each pixel is highlighted.
        amount: 0..1 of the whole effect; 0 returns the picture. Fades it in and out around an interval.

    Returns:
        [..., 3] in 0..1.
    """
    picture = np.clip(color, 0, 1)
    how = {"tint_amount": style.tint_amount, "desaturate": style.desaturate, "dim": style.dim}
    effect = look.lit_picture(look.NUMPY, picture, matte, np.array(style.tint, np.float32), **how)
    return (picture + amount * (effect - picture)).astype(np.float32)


def fade(holds: NDArray[np.bool_], frames: int = 3) -> NDArray[np.float32]:
    """How much of the effect to show in each frame: 1 while it holds, fading over `frames` on either side.

    Args:
        holds: [T].
    """
    if not holds.any():
        return np.zeros(len(holds), np.float32)
    away = np.abs(np.arange(len(holds))[:, None] - np.flatnonzero(holds)).min(axis=1)
    return np.clip(1 - away / (frames + 1), 0, 1).astype(np.float32)
