"""Following the moving Gaussians through later frames (Dynamic 3D Gaussians: Luiten et al. 2024, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import TrackingSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.reconstruct.adam import Adam
from legs4d.reconstruct.losses import Neighbourhood, floor_loss, motion_losses
from legs4d.reconstruct.observation import CameraColors, Observation, batches, picture_loss
from legs4d.scene.camera import Cameras
from legs4d.scene.initialise import Stage, grow, project

REGION_MARGIN = 0.03
"""Pixels further from any foreground than this share of the image height say nothing about motion."""

SPARSE_WEIGHT = 0.3
"""Of the median neighbour; the published capture's, about 2.5 cm apart, have exp(-2000 · 0.025²) = 0.29."""


@dataclass(frozen=True)
class Motion:
    """What tracking carries from frame to frame.

    Attributes:
        current: the M moving Gaussians in the last frame done.
        before: their (means, unit quats) in the frame before that; the same as current's in the first.
    """

    current: Gaussians
    before: tuple[torch.Tensor, torch.Tensor]

    def predicted(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(means, unit quats) of the next frame at constant velocity."""
        means = 2 * self.current.means - self.before[0]
        quats = 2 * self.current.quats - self.before[1]
        return means, torch.nn.functional.normalize(quats, dim=-1)


def find_neighbours(means: torch.Tensor, settings: TrackingSettings) -> Neighbourhood:
    """The nearest neighbours of each moving Gaussian in the first frame."""
    from scipy.spatial import cKDTree

    points = means.cpu().numpy()
    count = min(settings.neighbours, len(points) - 1)
    distances, index = cKDTree(points).query(points, k=count + 1)
    distance = torch.as_tensor(distances[:, 1:], dtype=torch.float32, device=means.device)
    # The published decay suits the published density. Where Gaussians lie further apart it would leave each on its own,
    # so there the typical neighbour keeps a weight of at least SPARSE_WEIGHT.
    spacing = float(distance.median())
    decay = min(settings.neighbour_decay, -math.log(SPARSE_WEIGHT) / spacing**2)
    return Neighbourhood(
        index=torch.as_tensor(index[:, 1:], dtype=torch.int64, device=means.device),
        weight=torch.exp(-decay * distance**2),
        distance=distance,
    )


def track_frame(
    motion: Motion,
    static: Gaussians,
    observed: Observation,
    colors: CameraColors,
    neighbours: Neighbourhood,
    stage: Stage,
    floor: float,
    frame: int,
    settings: TrackingSettings,
    check: Callable[[], None] = lambda: None,
) -> tuple[Gaussians, float]:
    """The moving Gaussians in frame `frame`, and the last loss.

    Args:
        motion: the frames before.
        static: N Gaussians that do not move.
        floor: height of the floor along `stage.down`, scene units.
        check: called before every step; what it raises ends the work.
    """
    current = motion.current
    means, quats = (t.clone().requires_grad_() for t in motion.predicted())
    dc = current.colors.clone().requires_grad_()
    rates = settings.rates
    optimizer = Adam({"means": means, "quats": quats, "colors": dc}, {"quats": rates.quats, "colors": rates.colors})
    device = means.device
    frozen = torch.cat([torch.ones(len(static)), torch.zeros(len(current))]).to(device, torch.bool)
    features = torch.cat([static.is_foreground, current.is_foreground])[:, None].to(torch.float32)
    region = moving_region(observed.masks.cpu().numpy(), observed.cameras, means.detach().cpu().numpy(), stage.near)
    mask = torch.as_tensor(region, device=device)[..., None]
    weights = means.new_tensor([settings.rigid_weight, settings.rotation_weight, settings.isometry_weight])
    loss = means.new_zeros(())
    count = len(observed.cameras)
    for step, batch in enumerate(batches(count, settings.cameras_per_step, settings.steps, settings.seed + frame)):
        check()
        optimizer.rates["means"] = rates.means * stage.radius * settings.means_decay ** (step / settings.steps)
        part = observed.take(batch)
        unit = torch.nn.functional.normalize(quats, dim=-1)
        gaussians = Gaussians(
            means=torch.cat([static.means, means]),
            quats=torch.cat([static.quats, unit]),
            scales=torch.cat([static.scales, current.scales]),
            opacities=torch.cat([static.opacities, current.opacities]),
            colors=torch.cat([static.colors, dc]),
            is_foreground=torch.cat([static.is_foreground, current.is_foreground]),
        )
        rendered = render(gaussians, part.cameras, features, near=stage.near, frozen=frozen, region=region[batch])
        needed = mask[torch.as_tensor(batch, device=device)]
        # Where nothing moves both pictures are the same by decree: no loss, no gradient.
        seen = torch.where(needed, colors.apply(rendered.color, batch), part.images)
        loss = picture_loss(rendered, seen, part, settings.ssim_share, settings.segmentation_weight)
        loss = (
            loss
            + weights @ motion_losses(means, unit, current.means, current.quats, neighbours)
            + settings.floor_weight * floor_loss(means, torch.as_tensor(stage.down, device=device), floor)
            + settings.color_weight * (dc - current.colors).abs().mean()
        )
        loss.backward()
        optimizer.step()
    tracked = current.replace(
        means=means.detach(),
        quats=torch.nn.functional.normalize(quats.detach(), dim=-1),
        colors=dc.detach(),
    )
    return tracked, float(loss.detach())


def moving_region(
    masks: NDArray[np.float32], cameras: Cameras, means: NDArray[np.float32], near: float
) -> NDArray[np.bool_]:
    """[C, H, W] pixels near foreground, or near where a Gaussian is predicted."""
    marked = masks > 0
    pixel, seen = project(cameras, means, near)
    camera = np.broadcast_to(np.arange(len(cameras))[:, None], seen.shape)
    marked[camera[seen], pixel[seen, 1], pixel[seen, 0]] = True
    return grow(marked.astype(np.float32), max(2, round(REGION_MARGIN * cameras.height))) > 0
