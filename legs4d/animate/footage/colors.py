"""A video's colours brought to a scene's: exposure and white balance differ, and generated videos drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float32]
TRUSTED = 0.7
"""Share of the pixels, those that fit best, by which colours are brought together."""
LEAST_GAIN, MOST_GAIN = 0.4, 2.5
LEAST_PIXELS = 50
BLUR = 0.01
"""Of the picture's width: finer things are not compared, as they are not quite in place."""


@dataclass(frozen=True)
class ColorMap:
    """c → gain · c + offset, each [3]."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __call__(self, picture: Picture) -> Picture:
        return (picture * self.gain + self.offset).astype(np.float32)


SAME = ColorMap(np.ones(3), np.zeros(3))


def between(picture: Picture, like: Picture, where: NDArray[np.bool_]) -> ColorMap:
    """The map that brings a picture's colours nearest to another's, by what fits (least trimmed squares).

    Args:
        picture, like: [H, W, 3]; where: [H, W] which pixels show the same.
    """
    if where.sum() < LEAST_PIXELS:
        return SAME
    reach = BLUR * picture.shape[1]
    from_, to = (gaussian_filter(one, (reach, reach, 0))[where].astype(np.float64) for one in (picture, like))
    inside = np.ones(len(from_), bool)
    gain, offset = np.ones(3), np.zeros(3)
    for _ in range(4):
        for channel in range(3):
            x, y = from_[inside, channel], to[inside, channel]
            spread = float(((x - x.mean()) ** 2).mean()) + 1e-4  # of a plain wall only the offset can be told
            slope = (float(((x - x.mean()) * (y - y.mean())).mean()) + 1e-4) / spread
            gain[channel] = np.clip(slope, LEAST_GAIN, MOST_GAIN)
            offset[channel] = y.mean() - gain[channel] * x.mean()
        off = np.abs(from_ * gain + offset - to).mean(-1)
        inside = off <= np.quantile(off, TRUSTED)
    return ColorMap(gain, offset)


def alike(picture: Picture, other: Picture, where: NDArray[np.bool_]) -> float:
    """-1..1: correlation of two pictures' brightness, fine things left out."""
    if where.sum() < LEAST_PIXELS:
        return 0.0
    reach = BLUR * picture.shape[1]
    a, b = (gaussian_filter(one.mean(-1), reach)[where].astype(np.float64) for one in (picture, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 1e-9 else 0.0
