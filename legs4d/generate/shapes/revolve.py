"""A solid of revolution from one picture: vases, bottles, towers. Its axis stands upright in the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.generate.lenses import Lens
from legs4d.generate.shapes.shape import Shape, solid_colors, surface

EDGE = 0.92
"""Of the radius: a picture's colours farther out are seen at a grazing angle, and those here stand for them."""
FEWEST = 12
"""Gaussians in a ring."""


def roundness(picture: NDArray[np.uint8]) -> float:
    """0..1, how much the silhouette of a picture [S, S, 4] could be a solid of revolution's: what its mirror image
    about its own axis has in common with it, times the share of its rows that are in one piece."""
    mask = picture[..., 3] > 127
    rows, left, right = _profile(mask)
    inside = mask[rows]
    whole = float(((right - left) == inside.sum(axis=1)).mean())
    middle = np.median((left + right) / 2)
    columns = np.arange(mask.shape[1])
    mirrored = np.round(2 * middle - columns - 1).astype(int)
    valid = (mirrored >= 0) & (mirrored < mask.shape[1])
    other = np.where(valid, inside[:, mirrored.clip(0, mask.shape[1] - 1)], False)
    return whole * float((inside & other).sum() / (inside | other).sum())


def revolve(picture: NDArray[np.uint8], lens: Lens, most: int) -> Shape:
    """The shape of the object in a picture [S, S, 4] (colours times alpha), seen level from the side.

    Args:
        most: Gaussians, about.
    """
    size = len(picture)
    pixel = 2 * lens.reach / size
    rows, left, right = _profile(picture[..., 3] > 127)
    middle = float(np.median((left + right) / 2))
    # The ray that bounds the silhouette touches the ring before its widest place.
    radii = lens.distance * np.sin(np.arctan((right - left) / 2 * pixel / lens.distance))
    step = max(1, int(np.ceil(np.sqrt(2 * np.pi * radii.sum() / pixel / most))))
    rows, radii, spacing = rows[::step], radii[::step], step * pixel
    rise = np.gradient(radii) if len(radii) > 1 else np.zeros(1)
    rings = np.stack([rows, radii, rise, np.full(len(rows), -spacing)], axis=1)
    for end in (0, -1):  # what closes it above and below
        inner = np.arange(radii[end] - spacing, 0.25 * spacing, -spacing)
        flat = np.stack([np.full(len(inner), rows[end]), inner, np.full(len(inner), spacing), 0 * inner], axis=1)
        rings = np.concatenate([rings, flat])
    counts = np.maximum(FEWEST, np.round(2 * np.pi * rings[:, 1] / spacing)).astype(int)
    row, radius, out, down = np.repeat(rings, counts, axis=0).T
    angle = np.concatenate([2 * np.pi * (np.arange(count) + 0.5) / count for count in counts])
    outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    places = radius[:, None] * outward + np.stack(
        [np.full(len(row), (middle - size / 2) * pixel), (size / 2 - row - 0.5) * pixel, 0 * row], axis=1
    )
    # The back is guessed to look as the front.
    at = radius * np.sin(angle).clip(-EDGE, EDGE)
    nearer = lens.distance - np.sqrt(radius**2 - at**2)
    column = np.clip(middle + at * lens.distance / nearer / pixel, 0, size - 1).astype(int)
    along = (2 * np.pi * radius / np.repeat(counts, counts))[:, None] * np.stack(
        [np.cos(angle), 0 * angle, -np.sin(angle)], axis=1
    )
    across = out[:, None] * outward + down[:, None] * np.array([0.0, 1.0, 0.0])
    gaussians = surface(places, along, across, solid_colors(picture)[row.astype(int), column])
    return Shape(gaussians, ((np.cos(angle) > 0) & (down < 0)).astype(np.float32))


def _profile(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows in which something is, and the first and the last column (exclusive) of it there."""
    rows = np.flatnonzero(mask.any(axis=1))
    inside = mask[rows]
    return rows, inside.argmax(axis=1), mask.shape[1] - inside[:, ::-1].argmax(axis=1)
