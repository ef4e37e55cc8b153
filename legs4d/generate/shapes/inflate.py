"""A relief of one picture: its silhouette blown up, mirrored to the back, which no picture shows.

Good to about 30° to either side; beyond that it is a preview.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.generate.lenses import Lens
from legs4d.generate.shapes.shape import Shape, solid_colors, surface
from legs4d.priors.depth.inflation import Inflation

THICKNESS = 1.0
"""Of what inflation gives, by which a disc becomes a ball, and a bar √2 as thick as wide: with 0.7, round bars, side
silhouettes of other models than those that judge (`film.py`) were 0.04 IoU worse."""


def inflate(picture: NDArray[np.uint8], lens: Lens, most: int) -> Shape:
    """The shape of the object in a picture [S, S, 4] (colours times alpha) from the front.

    Args:
        most: Gaussians, both sides together, about.
    """
    size = len(picture)
    mask = picture[..., 3] > 127
    step = max(1, int(np.ceil(np.sqrt(2 * mask.sum() / most))))
    alpha = picture[..., 3].astype(np.float32)[None] / np.float32(255)
    height = THICKNESS * Inflation().disparity(np.zeros((1, size, size, 3), np.float32), alpha)[0]
    rows, columns = np.nonzero(mask[step // 2 :: step, step // 2 :: step])
    rows, columns = rows * step + step // 2, columns * step + step // 2
    colors = solid_colors(picture)[rows, columns]
    sides = [_side(height, rows, columns, step, sign, lens, size) for sign in (1, -1)]
    # Along the rim both sides meet; the back is what no picture shows.
    places, along, across = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    gaussians = surface(places, along, across, np.concatenate([colors, colors]))
    return Shape(gaussians, np.repeat(np.array([1, 0], np.float32), len(rows)))


def _side(
    height: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    step: int,
    sign: int,
    lens: Lens,
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Places of the pixels' surface, towards the camera (1) or away (-1), and the steps to their neighbours."""
    pixel = 2 * lens.reach / size

    def place(row: NDArray[np.float64], column: NDArray[np.float64], up: NDArray[np.floating]) -> NDArray[np.float64]:
        z = sign * up * pixel
        share = (lens.distance - z) / lens.distance
        x, y = (column + 0.5 - size / 2) * pixel * share, -(row + 0.5 - size / 2) * pixel * share
        return np.stack([x, y, z], axis=1)

    row, column = rows.astype(np.float64), columns.astype(np.float64)
    here = place(row, column, height[rows, columns])
    steps = []
    for down, right in ((0, 1), (1, 0)):
        before, after = (
            (np.clip(rows + s * down, 0, size - 1), np.clip(columns + s * right, 0, size - 1)) for s in (-1, 1)
        )
        up = (height[after] - height[before]) / 2
        steps.append(step * (place(row + down, column + right, height[rows, columns] + up) - here))
    return here, steps[0], steps[1]
