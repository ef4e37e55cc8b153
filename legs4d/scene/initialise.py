"""A first point cloud from masks and cameras alone: visual hull inside, a shell and a floor around.

Real captures rarely ship a point cloud. What decides the reconstruction is that no background point starts where it
could hide in front of a camera, so the background starts beyond the middle of the room as seen from every camera.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Stage:
    """Where the action is, as the cameras' placement tells.

    Attributes:
        center: [3] the point nearest to all optical axes, scene units.
        radius: median distance of the cameras from it.
        down: [3] unit vector, the mean of the cameras' downward axes.
        near: near plane, scene units.
    """

    center: FloatArray
    radius: float
    down: FloatArray
    near: float


NEAR_SHARE = 0.35
"""Of the stage's radius: well in front of every camera, so that nothing can grow before a lens. On the basketball
capture (radius 2.8) that is the 1.0 with which 28 dB instead of 22 were measured."""

NEAR_QUANTILE = 0.002
"""Share of the views of given points that may be nearer than the near plane: a few always stray."""


def find_stage(cameras: Cameras) -> Stage:
    """Centre, radius and down of the filmed space.

    Raises:
        DatasetError: the optical axes are parallel, so they meet nowhere.
    """
    centers = cameras.centers.astype(np.float64)
    forward = cameras.world_to_camera[:, 2, :3].astype(np.float64)
    # Least squares over the distances to all axes: Σ (I - d dᵀ) x = Σ (I - d dᵀ) c.
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    matrix = across.sum(axis=0)
    if np.linalg.eigvalsh(matrix)[0] < 1e-6 * len(centers):
        raise DatasetError(
            "the cameras' optical axes are parallel, so the filmed space cannot be found from them",
            where="cameras",
            fix="film from around the scene, or give an initial point cloud (init_pt_cld.npz)",
        )
    center = np.linalg.solve(matrix, np.einsum("cij,cj->i", across, centers))
    down = cameras.world_to_camera[:, 1, :3].sum(axis=0)
    radius = float(np.median(np.linalg.norm(centers - center, axis=1)))
    unit = (down / np.linalg.norm(down)).astype(np.float32)
    return Stage(center.astype(np.float32), radius, unit, NEAR_SHARE * radius)


def bring_near(stage: Stage, cameras: Cameras, points: FloatArray) -> Stage:
    """The stage with its near plane before all that is known to be there, when points [N, 3] are given."""
    depths = np.concatenate([_depths_in_view(cameras.take([c]), points) for c in range(len(cameras))])
    if len(depths) == 0:
        return stage
    return replace(stage, near=min(stage.near, 0.8 * float(np.quantile(depths, NEAR_QUANTILE))))


def _depths_in_view(camera: Cameras, points: FloatArray) -> FloatArray:
    """Camera z of the points that one camera sees."""
    _, seen = project(camera, points, 1e-3)
    z = points @ camera.world_to_camera[0, 2, :3] + camera.world_to_camera[0, 2, 3]
    return z[seen[0]]


def project(cameras: Cameras, points: FloatArray, near: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The pixel (column, row) [C, N, 2] that each point falls into, and whether it is in the image [C, N]."""
    rotated = np.einsum("cij,nj->cni", cameras.world_to_camera[:, :3, :3], points)
    in_camera = rotated + cameras.world_to_camera[:, None, :3, 3]
    z = np.maximum(in_camera[..., 2], 1e-6)
    focal, principal = cameras.intrinsics[:, (0, 1), (0, 1)], cameras.intrinsics[:, :2, 2]
    pixel = in_camera[..., :2] / z[..., None] * focal[:, None] + principal[:, None]
    size = np.array([cameras.width, cameras.height], np.float32)
    seen = (in_camera[..., 2] > near) & (pixel >= 0).all(axis=-1) & (pixel < size).all(axis=-1)
    return np.where(seen[..., None], pixel, 0).astype(np.int64), seen


def sample(
    images: FloatArray, cameras: Cameras, points: FloatArray, near: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The pixel of each image at each point: values [C, N, D] of images [C, H, W, D], and where it is seen [C, N]."""
    pixel, seen = project(cameras, points, near)
    return images[np.arange(len(cameras))[:, None], pixel[..., 1], pixel[..., 0]], seen


def visual_hull(masks: FloatArray, cameras: Cameras, stage: Stage, target: int) -> FloatArray:
    """About `target` points on the surface of what the masks allow (Laurentini 1994), [N, 3].

    A voxel belongs to the hull when at least three cameras see it and all but one in ten of them see foreground there.

    Args:
        masks: [C, H, W] share of foreground, 0..1.

    Raises:
        DatasetError: no voxel is foreground in enough cameras.
    """
    coarse = 64
    axis = (np.arange(coarse) + 0.5) / coarse * 2 - 1
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    step = 2 * stage.radius / coarse
    cells = (grid * stage.radius + stage.center).astype(np.float32)
    # A coarse voxel may hold a thin limb: keep it if foreground is anywhere near its centre's pixel.
    grown = grow(masks, max(1, round(step * float(cameras.intrinsics[:, 0, 0].mean()) / stage.radius)))
    occupied = cells[_inside(cells, grown, cameras, stage.near)]
    for _ in range(3):
        if len(occupied) == 0:
            break
        offsets = np.stack(np.meshgrid(*[[-0.25, 0.25]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        finer = (occupied[:, None] + step * offsets).reshape(-1, 3).astype(np.float32)
        step /= 2
        finer = finer[_inside(finer, masks, cameras, stage.near)]
        if len(finer) == 0:
            break
        occupied = _surface(finer, step)
        if len(occupied) >= target:
            break
    if len(occupied) < 8:
        raise DatasetError(
            "no part of space is foreground in enough cameras",
            where="masks",
            fix="check that seg/ marks the moving things and that the cameras' poses belong to these images",
        )
    if len(occupied) > target:
        occupied = occupied[np.random.default_rng(0).permutation(len(occupied))[:target]]
    return occupied


def grow(masks: FloatArray, pixels: int) -> FloatArray:
    """Masks [C, H, W] in which every pixel takes the highest value within `pixels` to all sides."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(masks, size=(1, 2 * pixels + 1, 2 * pixels + 1))


def _inside(points: FloatArray, masks: FloatArray, cameras: Cameras, near: float) -> NDArray[np.bool_]:
    seen_by = np.zeros(len(points), np.int32)
    foreground_in = np.zeros(len(points), np.int32)
    for c in range(len(cameras)):
        value, seen = sample(masks[c : c + 1, ..., None], cameras.take([c]), points, near)
        seen_by += seen[0]
        foreground_in += seen[0] & (value[0, :, 0] > 0.25)
    return (seen_by >= 3) & (foreground_in >= np.ceil(0.9 * seen_by))


def _surface(points: FloatArray, step: float) -> FloatArray:
    """The points of a regular grid that lack one of their six neighbours."""
    cell = np.round((points - points.min(axis=0)) / step).astype(np.int64) + 1
    grid = np.zeros(cell.max(axis=0) + 2, dtype=bool)
    grid[tuple(cell.T)] = True
    buried = np.ones(len(points), dtype=bool)
    for axis in range(3):
        for shift in (-1, 1):
            neighbour = cell.copy()
            neighbour[:, axis] += shift
            buried &= grid[tuple(neighbour.T)]
    return points[~buried]


def background_points(
    images: FloatArray, masks: FloatArray, cameras: Cameras, stage: Stage, floor: float, target: int
) -> tuple[FloatArray, FloatArray]:
    """A closed shell round the stage with a floor, coloured from the images: positions and RGB, [N, 3] each.

    Along each direction from the centre the shell takes, of a few radii, the one at which the cameras agree best on
    the colour; where they say nothing, the cameras' own radius.

    Args:
        floor: how far below the centre (along `stage.down`) the floor lies, scene units.
    """
    directions = _fibonacci_sphere(target)
    # Distance to the floor along each direction; infinite upwards.
    sinking = directions @ stage.down
    with np.errstate(divide="ignore"):
        to_floor = np.where(sinking > 1e-3, floor / np.maximum(sinking, 1e-3), np.inf)
    open_background = np.where(masks[..., None] < 0.05, images, np.nan)
    best = np.full(target, np.inf)
    positions = np.zeros((target, 3), np.float32)
    colors = np.full((target, 3), 0.5, np.float32)
    for factor in (1.0, 0.9, 0.95, 1.05, 1.1, 1.2, 1.35, 1.5):
        distance = np.minimum(factor * stage.radius, to_floor)
        points = (stage.center + distance[:, None] * directions).astype(np.float32)
        values, seen = sample(open_background, cameras, points, stage.near)
        values[~seen] = np.nan
        count = (~np.isnan(values[..., 0])).sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(values, axis=0) / np.maximum(count, 1)[:, None]
            spread = np.sqrt(np.nansum((values - mean) ** 2, axis=(0, 2)) / np.maximum(count - 1, 1))
        # Few views agree easily, and the first radius wins ties, so that flat walls stay where the cameras are.
        spread = np.where(count >= 3, spread + 0.02, np.inf if factor != 1.0 else 1e6)
        better = spread < 0.9 * best
        best[better], positions[better] = spread[better], points[better]
        colored = better & (count > 0)
        colors[colored] = mean[colored]
    return positions, colors


def _fibonacci_sphere(count: int) -> FloatArray:
    """Evenly spread unit vectors."""
    i = np.arange(count) + 0.5
    polar, azimuth = np.arccos(1 - 2 * i / count), np.pi * (1 + 5**0.5) * i
    return np.stack([np.cos(azimuth) * np.sin(polar), np.cos(polar), np.sin(azimuth) * np.sin(polar)], -1).astype(
        np.float32
    )


def initial_points(
    images: FloatArray,
    masks: FloatArray,
    cameras: Cameras,
    num_foreground: int,
    num_background: int,
) -> InitialPoints:
    """Points to start the first frame from.

    Args:
        images: [C, H, W, 3] in 0..1.
        masks: [C, H, W] share of foreground, 0..1.
        num_foreground, num_background: about how many points of each.

    Raises:
        DatasetError: the cameras or the masks do not determine a scene.
    """
    stage = find_stage(cameras)
    hull = visual_hull(masks, cameras, stage, num_foreground)
    heights = (hull - stage.center) @ stage.down
    shell, shell_colors = background_points(
        images, masks, cameras, stage, float(np.quantile(heights, 0.995)), num_background
    )
    values, seen = sample(np.where(masks[..., None] > 0.5, images, np.nan), cameras, hull, stage.near)
    values[~seen] = np.nan
    has_color = ~np.isnan(values).all(axis=(0, 2))
    hull_colors = np.full((len(hull), 3), 0.5, np.float32)
    hull_colors[has_color] = np.nanmedian(values[:, has_color], axis=0)
    return InitialPoints(
        positions=np.concatenate([hull, shell]),
        colors=np.concatenate([hull_colors, shell_colors]).astype(np.float32),
        is_foreground=np.arange(len(hull) + len(shell)) < len(hull),
    )
