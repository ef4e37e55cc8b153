"""Frame rates as the ratios that they stand for: 29.97 is 30000/1001, and editing programs count by it."""

from __future__ import annotations

from fractions import Fraction

NTSC = tuple(Fraction(1000 * whole, 1001) for whole in (24, 30, 48, 60, 90, 120, 240))
ROUNDED = 2.5e-4
"""Relative difference up to which a rate is taken for one of NTSC's that was rounded: 23.98 is 1.7e-4 off."""


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a ratio: NTSC's from their usual roundings (23.976, 29.97, 59.94), others as they are."""
    for rate in NTSC:
        if abs(fps - rate) <= ROUNDED * rate:
            return rate
    return Fraction(fps).limit_denominator(100_000)
