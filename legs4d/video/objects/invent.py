"""Sides that nobody saw, by score distillation through a novel-view prior (DreamScene4D's stage 1).

    every step: the crop as it was filmed (10000 r B(rgb) + 1000 r B(alpha)), and SDS / VIEWS from random sides

with r = step / steps, and the noise t = round((1 − r) · 1000) within [20, 980]. What was seen keeps its place: there
only colours change, so that the frame stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.protocols import GuidancePrior
from legs4d.progress import StageReporter
from legs4d.raster.states import CameraTable, States, render_states
from legs4d.raster.tiles import Room
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.scene.camera import Cameras
from legs4d.video.motion.losses import balanced
from legs4d.video.objects.canonical import Canonical

Floats = NDArray[np.float64]
RGB, ALPHA = 10_000.0, 1_000.0
NOISE = (20, 980)
ELEVATIONS = 30.0
"""Degrees to either side."""
SIDES = ((0.3, 128), (0.6, 256), (1.0, 512))
"""Up to which share of the steps views have how many pixels a side."""
FIELD = 49.1
"""Degrees of the views, in which an object fills about two thirds."""
RATES = {"colors": 0.01, "means": 2e-3, "logits": 0.05, "log_scales": 0.005}
"""Step sizes; places in the object's radii."""
ROOM = 4_000_000


@dataclass(frozen=True)
class InventSettings:
    """DreamScene4D's steps and views; `most_side` bounds the views' pixels."""

    steps: int = 1000
    views: int = 16
    most_side: int = 512


def noise_step(share: float) -> int:
    """t of the noise where `share` of the steps is done."""
    return int(np.clip(round((1 - share) * 1000), *NOISE))


def view_cameras(angles: Floats, center: Floats, up: Floats, radius: float, side: int) -> Cameras:
    """[V] cameras around the object, told by (elevation, azimuth) in degrees from its own camera's side.

    Positive elevations are above.

    Args:
        center: [3] from the camera to the object, up: [3], in the camera's axes.
    """
    ahead = center / np.linalg.norm(center)
    right = np.cross(ahead, up)
    right /= max(float(np.linalg.norm(right)), 1e-9)
    above = np.cross(right, ahead)
    distance = radius / np.tan(np.radians(FIELD) / 2) * 1.5
    poses = []
    for elevation, azimuth in np.radians(angles):
        # from the object to the camera: its own camera is at (0, 0), to the right are positive azimuths
        to = np.cos(elevation) * (-np.cos(azimuth) * ahead + np.sin(azimuth) * right) + np.sin(elevation) * above
        forward = -to
        side_axis = np.cross(forward, above)
        side_axis /= max(float(np.linalg.norm(side_axis)), 1e-9)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([side_axis, np.cross(forward, side_axis), forward])
        pose[:3, 3] = [0, 0, distance]
        poses.append(pose)
    focal = side / 2 / np.tan(np.radians(FIELD) / 2)
    matrix = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    matrices = np.tile(matrix, (len(poses), 1, 1)).astype(np.float32)
    return Cameras(np.array(poses, np.float32), matrices, side, side, (0,) * len(poses))


def invent(
    canonical: Canonical,
    picture: NDArray[np.float32],
    intrinsics: Floats,
    up: Floats,
    prior: GuidancePrior,
    settings: InventSettings,
    device: torch.device,
    reporter: StageReporter,
    seed: int = 0,
) -> Canonical:
    """The same object with sides that the prior likes.

    Args:
        picture: [S, S, 4] of the object's crop: colours, and how much of each pixel is the object.
        intrinsics: [3, 3] of that crop; up: [3] in the camera's axes.
    """
    given = canonical.blown.gaussians.torch(device)
    radius = float(torch.linalg.vector_norm(given.means, dim=1).max())
    side = picture.shape[0]
    center = np.linalg.inv(intrinsics) @ [side / 2, side / 2, 1]
    own = np.eye(4)
    own[:3, 3] = center
    camera = Cameras(own[None].astype(np.float32), intrinsics[None].astype(np.float32), side, side, (0,))
    front = CameraTable.of(camera, device)
    shown = torch.as_tensor(picture, dtype=torch.float32, device=device)
    rgb, alpha = shown[..., :3] * shown[..., 3:] + 1 - shown[..., 3:], shown[..., 3]
    reference = prior.reference(rgb.cpu().numpy())
    unseen = torch.as_tensor(1 - canonical.blown.seen, device=device)[:, None]
    shift = torch.zeros_like(given.means).requires_grad_()
    colors = given.colors.clone().requires_grad_()
    logits = torch.logit(given.opacities.clamp(0.02, 0.98)).requires_grad_()
    log_scales = torch.zeros_like(given.opacities).requires_grad_()
    values = {"colors": colors, "means": shift, "logits": logits, "log_scales": log_scales}
    moments = {name: [Moments.of(value)] for name, value in values.items()}
    room = Room.of(ROOM, device) if device.type == "cuda" else None
    chance = np.random.default_rng(seed)

    def drawn(table: CameraTable, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        states = States(
            (given.means + radius * shift * unseen).expand(count, -1, -1),
            given.quats.expand(count, -1, -1),
            (given.scales * log_scales.clamp(-0.7, 0.7).exp()[:, None]).expand(count, -1, -1),
            torch.sigmoid(logits).expand(count, -1),
            colors,
        )
        white, which = torch.ones(count, 3, device=device), torch.arange(count, device=device)
        return render_states(states, table, which, white, near=0.02 * radius, room=room)

    for step in range(settings.steps):
        share = step / settings.steps
        color, covered = drawn(front, 1)
        loss = RGB * share * balanced(color[0] - rgb, alpha)
        loss = loss + ALPHA * share * balanced((covered[0] - alpha)[..., None], alpha)
        angles = np.stack(
            [chance.uniform(-ELEVATIONS, ELEVATIONS, settings.views), chance.uniform(-180, 180, settings.views)], axis=1
        )
        pixels = min(settings.most_side, next(size for upto, size in SIDES if share < upto))
        around = CameraTable.of(view_cameras(angles, center, up, radius, pixels), device)
        views, _ = drawn(around, settings.views)
        poses = torch.stack([prior.pose(float(e), float(a), 0.0) for e, a in angles])
        told = prior.loss(views.permute(0, 3, 1, 2), poses, reference, noise_step(share))
        loss = loss + told / settings.views
        reporter.step(step, settings.steps, loss.detach())
        loss.backward()
        for name, value in values.items():
            step_group([value], moments[name], RATES[name])
    reporter.step(settings.steps, settings.steps)
    with torch.no_grad():
        made = given.replace(
            means=given.means + radius * shift * unseen,
            scales=given.scales * log_scales.clamp(-0.7, 0.7).exp()[:, None],
            opacities=torch.sigmoid(logits),
            colors=colors.detach(),
        )
    return replace(canonical, blown=replace(canonical.blown, gaussians=made.numpy()))
