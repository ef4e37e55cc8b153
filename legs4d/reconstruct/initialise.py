"""A first point cloud from pictures, masks and cameras alone: visual hull inside, a swept shell and a floor around.

Real captures rarely ship a point cloud. What decides the reconstruction is that no background point starts where it
could hide in front of a camera, so the background starts beyond the middle of the room as seen from every camera.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from legs4d.errors import DatasetError
from legs4d.progress import go_on
from legs4d.reconstruct.observation import Backdrop, Observation, grow
from legs4d.reconstruct.sweep import swept_shell
from legs4d.reconstruct.views import look_up
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage

AGREEMENT = 0.9
"""Share of the views that see a voxel which have to see foreground there for it to belong to the hull."""

MOTION_AGREEMENT = 0.6
"""The same for masks of what moves, which miss limbs in some views, and things behind others that stand still."""

FEWEST = 3
"""Cameras that have to see what belongs to the hull: silhouettes of two agree on nearly anything."""

CLEAR = 0.05
"""Share of foreground below which a pixel shows the background."""

COARSE = 64
"""Voxels along an axis with which the hull starts; each round of three halves them."""

FLOOR_QUANTILE = 0.995
"""Of the hull's heights: single voxels may stray below the floor."""


def initial_points(
    observed: Observation,
    stage: Stage,
    num_foreground: int,
    num_background: int,
    *,
    known: InitialPoints | None = None,
    agreement: float = AGREEMENT,
    backdrop: Backdrop | None = None,
    check: Callable[..., object] = go_on,
) -> InitialPoints:
    """Points to start the first frame from.

    Args:
        observed: one frame's pictures; their device does the work.
        num_foreground, num_background: about how many points of each.
        known: points of which none is known to be foreground; those that the masks leave open are added.
        agreement: see `AGREEMENT`.
        backdrop: pictures of the background alone; where there are none, the frame's own must do.
        check: called every few pictures; what it raises ends the work.

    Raises:
        DatasetError: the masks do not determine a scene.
    """
    images, masks, cameras = observed.images, observed.masks, observed.cameras
    hull = visual_hull(masks, cameras, stage, num_foreground, agreement, check)
    down = torch.as_tensor(stage.down, device=hull.device)
    heights = (hull - torch.as_tensor(stage.center, device=hull.device)) @ down
    floor = float(heights.cpu().quantile(FLOOR_QUANTILE))
    if backdrop is None:
        behind, opened = images, masks < CLEAR
    else:
        behind, opened = backdrop.images[0].to(images.dtype) / 255, backdrop.open[0]
    shell, shell_colors = swept_shell(behind, opened, cameras, stage, floor, num_background, check)
    colors, seen = look_up(torch.cat([images, masks[..., None]], dim=-1), cameras, hull, stage.near)
    foreground = seen & (colors[..., 3] > 0.5)
    median = torch.where(foreground[..., None], colors[..., :3], torch.nan).nanmedian(dim=0).values.nan_to_num(nan=0.5)
    still, still_colors = shell, shell_colors
    if known is not None:
        positions = torch.as_tensor(known.positions, device=hull.device)
        outside = ~_inside(positions, masks, cameras, stage.near, agreement, check)
        still = torch.cat([shell, positions[outside]])
        still_colors = torch.cat([shell_colors, torch.as_tensor(known.colors, device=hull.device)[outside]])
    return InitialPoints(
        positions=torch.cat([hull, still]).cpu().numpy(),
        colors=torch.cat([median, still_colors]).cpu().numpy(),
        is_foreground=(torch.arange(len(hull) + len(still)) < len(hull)).numpy(),
    )


def visual_hull(
    masks: torch.Tensor,
    cameras: Cameras,
    stage: Stage,
    target: int,
    agreement: float = AGREEMENT,
    check: Callable[..., object] = go_on,
    widely: float = 0,
) -> torch.Tensor:
    """About `target` points on the surface of what the masks allow (Laurentini 1994), [N, 3].

    A voxel belongs to the hull when at least FEWEST cameras see it and enough of them see foreground there.

    Args:
        masks: [C, H, W] share of foreground, 0..1.
        agreement: see `AGREEMENT`.
        check: called before each camera; what it raises ends the work.
        widely: share of the most cameras that see any voxel which have to see each: silhouettes of three agree on much
            that is not there.

    Raises:
        DatasetError: there are too few cameras, or no voxel is foreground in enough of them.
    """
    if len(cameras) < FEWEST:
        raise DatasetError(
            f"{len(cameras)} pictures' silhouettes determine no shape: {FEWEST} at least have to show it",
            where="masks",
            fix="add pictures from other sides; of few cameras, --method deform takes those of all times",
        )
    device = masks.device
    axis = (torch.arange(COARSE, device=device) + 0.5) / COARSE * 2 - 1
    step = 2 * stage.radius / COARSE
    cells = torch.cartesian_prod(axis, axis, axis) * stage.radius + torch.as_tensor(stage.center, device=device)
    # A coarse voxel may hold a thin limb: keep it if foreground is anywhere near its centre's pixel.
    reach = max(1, round(step * float(cameras.intrinsics[:, 0, 0].mean()) / stage.radius))
    occupied = cells[_inside(cells, grow(masks, reach), cameras, stage.near, agreement, check, widely)]
    half = torch.tensor([-0.25, 0.25], device=device)
    for _ in range(3):
        finer = (occupied[:, None] + step * torch.cartesian_prod(half, half, half)).reshape(-1, 3)
        step /= 2
        finer = finer[_inside(finer, masks, cameras, stage.near, agreement, check, widely)]
        if len(finer) == 0:
            break
        occupied = _surface(finer, step)
        if len(occupied) >= target:
            break
    if len(occupied) < 8:
        raise DatasetError(
            "no part of space is foreground in enough cameras",
            where="masks",
            fix="check that masks, or alpha, mark what moves and that the cameras' poses belong to these images; where "
            "legs4d found the objects, --no-objects goes by what moves instead",
        )
    if len(occupied) > target:
        drawn = torch.randperm(len(occupied), generator=torch.Generator().manual_seed(0))[:target]
        occupied = occupied[drawn.to(device)]
    return occupied


def _inside(
    points: torch.Tensor,
    masks: torch.Tensor,
    cameras: Cameras,
    near: float,
    agreement: float,
    check: Callable[..., object],
    widely: float = 0,
) -> torch.Tensor:
    if len(points) == 0:
        return torch.zeros(0, dtype=torch.bool, device=points.device)
    seen_by = torch.zeros(len(points), dtype=torch.int32, device=points.device)
    foreground_in = torch.zeros_like(seen_by)
    for c in range(len(cameras)):  # one at a time: a quarter of a million voxels in all of them are gigabytes
        check()
        value, seen = look_up(masks[c : c + 1, ..., None], cameras.take([c]), points, near)
        seen_by += seen[0]
        foreground_in += seen[0] & (value[0, :, 0] > 0.25)
    fewest = max(FEWEST, widely * float(seen_by.max()))
    return (seen_by >= fewest) & (foreground_in >= torch.ceil(agreement * seen_by))


def _surface(points: torch.Tensor, step: float) -> torch.Tensor:
    """The points of a regular grid that lack one of their six neighbours."""
    cell = ((points - points.amin(dim=0)) / step).round().long() + 1
    grid = torch.zeros(*(int(side) for side in cell.amax(dim=0) + 2), dtype=torch.bool, device=points.device)
    grid[cell.unbind(1)] = True
    buried = torch.ones(len(points), dtype=torch.bool, device=points.device)
    for axis in range(3):
        for shift in (-1, 1):
            neighbour = cell.clone()
            neighbour[:, axis] += shift
            buried &= grid[neighbour.unbind(1)]
    return points[~buried]
