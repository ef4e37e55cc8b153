"""What a person points at: which Gaussians fill the pixel along a ray, and which of the segments there is meant."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .turns import rotation_matrix

Array = NDArray[Any]

OPAQUE = 0.5
"""Alpha from which a pixel shows something."""
SHARE = 0.5
"""Of what a pixel shows that a segment has to have to be under a click."""
DEFAULT_SCALE = 0.5
"""Quantile among a run's segments."""
PIXEL_VARIANCE = 0.3
"""Square pixels by which rasterisers widen every Gaussian, so that none falls between pixels."""
_REACH = 3.34
"""Standard deviations from which a Gaussian is fainter than _FAINTEST: √(2 ln 255)."""
_FAINTEST = 1 / 255
_OPAQUEST = 0.999


def crossed(
    means: Array, scales: Array, quats: Array, opacities: Array, origin: Array, direction: Array, pixel: float
) -> tuple[Array, Array, Array]:
    """(rows, alphas, depths) of the Gaussians that a ray crosses, in no order.

    A Gaussian's alpha is the largest value that it has along the ray, which is what its projection has there.

    Args:
        means, scales: [N, 3]; quats: [N, 4] wxyz, unit; opacities: [N] 0..1.
        origin: [3], in the Gaussians' axes; direction: [3], of any length: depths are counted in it.
        pixel: radians that a pixel sees.
    """
    start = np.asarray(origin, np.float64)
    length = float(np.linalg.norm(direction))
    ahead = np.asarray(direction, np.float64) / length
    # Column by column: reducing rows of three takes ten times as long.
    offset = [means[:, axis] - np.float32(start[axis]) for axis in range(3)]
    x, y, z = offset
    depth = x * np.float32(ahead[0]) + y * np.float32(ahead[1]) + z * np.float32(ahead[2])
    away = x * x + y * y + z * z - depth * depth
    largest = np.maximum(np.maximum(scales[:, 0], scales[:, 1]), scales[:, 2])
    reach = np.float32(_REACH) * (largest + np.float32(pixel * PIXEL_VARIANCE**0.5) * np.abs(depth))
    rows = np.flatnonzero((depth > 0) & (away <= reach * reach) & (opacities >= _FAINTEST))
    blur = PIXEL_VARIANCE * (pixel * depth[rows].astype(np.float64)) ** 2
    size = np.sqrt(scales[rows].astype(np.float64) ** 2 + blur[:, None])
    turn = np.swapaxes(rotation_matrix(quats[rows]), 1, 2)
    eye = (turn @ (start - means[rows].astype(np.float64))[..., None])[..., 0] / size
    along = (turn @ ahead) / size
    squared = (eye * eye).sum(1) - (eye * along).sum(1) ** 2 / (along * along).sum(1)
    alpha = np.minimum(opacities[rows] * np.exp(-0.5 * np.maximum(squared, 0)), _OPAQUEST)
    seen = alpha >= _FAINTEST
    return rows[seen], alpha[seen], depth[rows[seen]] / length


def composited(alphas: Array, depths: Array) -> Array:
    """How much of a pixel each of what a ray crosses fills, 0..1: what is in front hides what is behind."""
    order = np.argsort(depths, kind="stable")
    through = np.cumprod(1 - alphas[order])
    filled = np.empty(len(alphas))
    filled[order] = alphas[order] * np.concatenate([[1.0], through[:-1]])[: len(alphas)]
    return filled


def quantiles(scales: Array) -> NDArray[np.float32]:
    """[S] 0..1, the share of the other segments that are smaller."""
    order = np.argsort(np.argsort(scales, kind="stable"), kind="stable")
    return (order / max(1, len(scales) - 1)).astype(np.float32)


def under(share: Array, quantile: Array, scale: float) -> NDArray[np.int64]:
    """The segments under a click, the one that is meant first: nearest to a scale, of equally near ones the surest.

    Args:
        share: [S] of what the pixel shows that each has.
        quantile: [S], see `quantiles`.
        scale: 0..1.
    """
    there = np.flatnonzero(share >= SHARE)
    return there[np.lexsort((-share[there], np.abs(quantile[there] - scale)))]
