"""An object's silhouette and thickness as Gaussians: a front, which was seen, and a back, which nobody has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.video.input.things import box_of
from legs4d.video.objects.shape import half_thickness

Floats = NDArray[np.float64]
SPREAD = 0.6
"""Standard deviation of a Gaussian along the surface, in steps of the grid."""
THIN = 0.25
"""And across it."""
STEEPEST = 3.0
"""Steps of the grid by which a Gaussian reaches back along the rim at most."""
OPACITY = 0.95
LONG = (1.3, 1.8)
"""How many times as high as wide a silhouette is from which a thing begins to count as standing upright, and does."""
MOST_LEAN = 1.2
"""Tangent of the angle to the picture's plane that is put upright at most: from above nothing tells how high it is."""


@dataclass(frozen=True)
class Blown:
    """N Gaussians of an object, and which of them the camera saw.

    Attributes:
        gaussians: in the camera's axes (OpenCV), about the place on the middle's ray whose z is 1.
        seen: [N] 0..1.
        pixels: [N, 2] int, the crop's pixel (column, row) of each.
    """

    gaussians: Gaussians
    seen: NDArray[np.float32]
    pixels: NDArray[np.int64]


def blow_up(
    picture: NDArray[np.float32],
    mask: NDArray[np.bool_],
    intrinsics: NDArray[np.float64],
    up: NDArray[np.float64] | None = None,
    *,
    flat: bool = False,
) -> Blown:
    """Both sides of what a crop shows. The back has the colours of the front, as long as nothing is known.

    Every Gaussian lies on the ray of its pixel, so that the silhouette is as it was filmed: before or behind a plane
    through the middle, which faces the camera, or of a thing that is higher than wide stands upright.

    Args:
        picture: [S, S, 3]; mask: [S, S]; intrinsics: [3, 3] of the crop.
        up: [3] unit, in the camera's axes; None where nobody knows.
        flat: without thickness, a card as a yardstick.
    """
    side = mask.shape[0]
    thick = np.zeros(mask.shape) if flat else half_thickness(mask)
    inverse = np.linalg.inv(intrinsics)
    center = inverse @ [side / 2, side / 2, 1]
    step = float(inverse[0, 0])  # of a pixel, where z is 1
    normal = _facing(mask, center, None if flat else up)
    grid = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), axis=-1)
    rays = np.concatenate([grid, np.ones((side, side, 1))], axis=-1) @ inverse.T
    middle = rays * ((normal @ center) / np.maximum(rays @ normal, 0.2 * np.linalg.norm(normal)))[..., None]
    along_ray = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = np.nonzero(mask)
    parts = []
    for sign in (-1.0, 1.0):
        place = middle + sign * step * thick[..., None] * along_ray
        tangents: list[Floats] = []
        for axis in (1, 0):
            change = _differences(place, mask, axis)[rows, columns]
            length = np.linalg.norm(change, axis=1, keepdims=True)
            tangents.append(SPREAD * change * np.minimum(1, STEEPEST * step / np.maximum(length, 1e-12)))
        quats, scales = tangent_frames(tangents[0], tangents[1], THIN * step)
        parts.append((place[rows, columns] - center, quats, scales))
    rim_rows, rim_columns = np.nonzero(mask & ~binary_erosion(mask))
    parts.append(_rim(middle, along_ray, step * thick, rim_rows, rim_columns, step))
    parts[-1] = (parts[-1][0] - center, *parts[-1][1:])
    places, turns, sizes = (np.concatenate(values).astype(np.float32) for values in zip(*parts, strict=True))
    rows, columns = (np.concatenate([v, v, rim]) for v, rim in ((rows, rim_rows), (columns, rim_columns)))
    opacities = np.full(len(rows), OPACITY, np.float32)
    colors = dc_from_rgb(picture[rows, columns])
    gaussians = Gaussians(places, turns, sizes, opacities, colors, np.ones(len(rows), bool))
    seen = (np.arange(len(rows)) < mask.sum()).astype(np.float32)
    return Blown(gaussians, seen, np.stack([columns, rows], 1))


def _rim(
    middle: Floats,
    along_ray: Floats,
    thick: Floats,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    step: float,
) -> tuple[Floats, Floats, Floats]:
    """What closes the gap between front and back along the silhouette: as deep as the surface is there."""
    places, rays = middle[rows, columns], along_ray[rows, columns]
    deep = np.maximum(SPREAD * thick[rows, columns], THIN * step)[:, None] * rays
    across = np.cross(rays, np.array([1.0, 0.0, 0.0])) + 1e-9
    across *= SPREAD * step / np.linalg.norm(across, axis=1, keepdims=True)
    quats, scales = tangent_frames(deep, across, THIN * step)
    scales[:, 2] = SPREAD * step  # round about the ray: which way the outline runs does not matter
    return places, quats, scales


def _facing(mask: NDArray[np.bool_], center: Floats, up: Floats | None) -> Floats:
    """[3] normal of the plane in which the object's middle lies, away from the camera."""
    ahead = center / np.linalg.norm(center)
    box = box_of(mask)
    if up is None or box is None:
        return ahead
    left, top, right, bottom = box
    share = float(np.clip(((bottom - top) / (right - left) - LONG[0]) / (LONG[1] - LONG[0]), 0, 1))
    level = ahead - (ahead @ up) * up
    if share == 0 or np.linalg.norm(level) < 1e-6:
        return ahead
    level /= np.linalg.norm(level)
    lean = float(np.arccos(np.clip(ahead @ level, -1, 1)))
    share *= min(1.0, MOST_LEAN / max(float(np.tan(min(lean, 1.5))), 1e-9))
    mixed = (1 - share) * ahead + share * level
    return mixed / np.linalg.norm(mixed)


def _differences(place: Floats, mask: NDArray[np.bool_], axis: int) -> Floats:
    """[H, W, 3] step from pixel to pixel, of neighbours inside alone; at the rim that to the inside."""
    forward = np.roll(place, -1, axis) - place
    there = np.roll(mask, -1, axis) & mask
    backward, here = np.roll(forward, 1, axis), np.roll(there, 1, axis)
    weight = there.astype(np.float64) + here
    total = forward * there[..., None] + backward * here[..., None]
    alone = np.zeros(3)
    alone[1 - axis] = np.median(np.abs(forward[there][:, 1 - axis])) if there.any() else 1e-6
    return np.where(weight[..., None] > 0, total / np.maximum(weight, 1)[..., None], alone)


def tangent_frames(along: Floats, down: Floats, thin: float) -> tuple[Floats, Floats]:
    """Quaternions wxyz [N, 4] and standard deviations [N, 3] of flat Gaussians whose covariance is that of two vectors
    [N, 3] of their surface, and `thin` across it."""
    from scipy.spatial.transform import Rotation

    normal = np.cross(along, down)
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.where(size > 1e-14, normal / np.maximum(size, 1e-14), [0.0, 0.0, 1.0])
    # principal axes of along·alongᵀ + down·downᵀ: half an angle in the plane of the two
    a, b, c = (along**2).sum(1), (down**2).sum(1), (along * down).sum(1)
    turn = 0.5 * np.arctan2(2 * c, a - b)[:, None]
    first = np.cos(turn) * along + np.sin(turn) * down
    second = np.cos(turn) * down - np.sin(turn) * along
    long, short = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    one = first / np.maximum(long, 1e-14)[:, None]
    two = np.cross(normal, one)
    turned = Rotation.from_matrix(np.stack([one, two, normal], axis=-1)).as_quat()[:, [3, 0, 1, 2]]
    scales = np.stack([np.maximum(long, thin), np.maximum(short, thin), np.full(len(long), thin)], axis=1)
    return turned, scales
