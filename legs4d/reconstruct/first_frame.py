"""Fitting static Gaussians to one frame's pictures (Kerbl et al. 2023), with Dynamic3DGS's segmentation loss."""

from __future__ import annotations

import numpy as np
import torch

from legs4d.config import FirstFrameSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.raster.constants import ALPHA_MAX
from legs4d.reconstruct.adam import Adam
from legs4d.reconstruct.densify import Densifier
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation, batches, picture_loss
from legs4d.reconstruct.parameters import Parameters
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage


def fit_first_frame(
    observed: Observation,
    points: InitialPoints,
    stage: Stage,
    settings: FirstFrameSettings,
    reporter: StageReporter,
    backdrop: Backdrop | None = None,
) -> tuple[Gaussians, CameraColors]:
    """Gaussians of one frame, and each camera's colours.

    Args:
        observed: the frame's pictures, on the device to train on.
        points: where to start.
        stage: scales the learning rates, and gives the near plane.
        backdrop: later pictures of the background, which `background_share` of the steps look at.

    Raises:
        Stopped: the reporter was told to stop.
    """
    device = str(observed.images.device)
    parameters = Parameters.from_points(points, settings.rates, stage.radius, device)
    count = len(observed.cameras)
    gain = torch.zeros(count, 3, device=device, requires_grad=True)
    offset = torch.zeros(count, 3, device=device, requires_grad=True)
    camera_optimizer = Adam(
        {"gain": gain, "offset": offset}, {"gain": settings.camera_rate, "offset": settings.camera_rate}
    )

    def colors() -> CameraColors:
        # Centred: a shift common to all cameras belongs to the scene, or a new camera would lack it.
        return CameraColors(gain - gain.mean(dim=0), offset - offset.mean(dim=0))

    densifier = Densifier(settings.densify, parameters, stage.radius, settings.seed)
    first = int(settings.densify.start * settings.steps)
    last = int(settings.densify.stop * settings.steps)
    chance = np.random.default_rng(settings.seed)
    generator = torch.Generator(device=device).manual_seed(settings.seed)
    for step, batch in enumerate(batches(count, settings.cameras_per_step, settings.steps, settings.seed)):
        parameters.set_rate("means", settings.means_decay ** (step / settings.steps))
        later = None
        if backdrop is not None and chance.random() < settings.background_share:
            later = int(chance.integers(len(backdrop)))
        part = observed.take(batch)
        cameras = part.cameras if backdrop is None or later is None else backdrop.cameras[later].take(batch)
        gaussians = _with_some_left_out(parameters.gaussians(), settings.dropout, generator)
        rendered = render(gaussians, cameras, gaussians.is_foreground[:, None].to(torch.float32), near=stage.near)
        seen = colors().apply(rendered.color, batch)
        if backdrop is None or later is None:
            loss = picture_loss(rendered, seen, part, settings.ssim_share, settings.segmentation_weight)
        else:
            loss = backdrop.loss(seen, later, batch, settings.ssim_share)
        # Not what no camera has looked at lately: it fills the places that another camera may see.
        looked_at = (densifier.seen > 0).to(torch.float32)
        spent = (
            settings.opacity_weight * gaussians.opacities
            + settings.scale_weight / stage.radius * gaussians.scales.mean(dim=1)
        )
        loss = loss + settings.opaque_weight * (1 - rendered.alpha).mean() + (looked_at * spent).mean()
        loss.backward()
        densifier.observe(rendered.screen)
        parameters.step()
        camera_optimizer.step()
        done = step + 1
        if first <= done < last and done % settings.densify.every == 0:
            densifier.run((last - 1 - done) // settings.densify.every + 1)
        reporter.step(done, settings.steps, loss.detach())
    fixed = colors()
    return parameters.finished(), CameraColors(fixed.gain.detach(), fixed.offset.detach())


def _with_some_left_out(gaussians: Gaussians, share: float, generator: torch.Generator) -> Gaussians:
    """The Gaussians with `share` of them, drawn anew each time, transparent, and the others more opaque for it."""
    if share == 0:
        return gaussians
    kept = torch.rand(len(gaussians), generator=generator, device=generator.device) >= share
    return gaussians.replace(opacities=(gaussians.opacities * kept / (1 - share)).clamp(max=ALPHA_MAX))
