"""Fitting static Gaussians to one frame's pictures (Kerbl et al. 2023), with Dynamic3DGS's segmentation loss."""

from __future__ import annotations

import numpy as np
import torch

from legs4d.config import FirstFrameSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.reconstruct.fitting.averaging import RunningMean
from legs4d.reconstruct.fitting.densify import Densifier
from legs4d.reconstruct.fitting.dropout import leave_out
from legs4d.reconstruct.fitting.parameters import Parameters
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation, batches, picture_loss
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
        backdrop: pictures of the background alone, which `background_share` of the steps look at.

    Raises:
        Stopped: the reporter was told to stop.
    """
    device = str(observed.images.device)
    parameters = Parameters.from_points(points, settings.rates, stage.radius, device)
    count = len(observed.cameras)
    gain = torch.zeros(count, 3, device=device, requires_grad=True)
    offset = torch.zeros(count, 3, device=device, requires_grad=True)
    vignette = torch.zeros(2, device=device, requires_grad=True) if settings.vignette_rate > 0 else None
    of_cameras = {"gain": gain, "offset": offset} | ({} if vignette is None else {"vignette": vignette})
    camera_optimizer = Adam(
        of_cameras,
        {"gain": settings.camera_rate, "offset": settings.camera_rate, "vignette": settings.vignette_rate},
    )

    def colors() -> CameraColors:
        # Centred: a shift common to all cameras belongs to the scene, or a new camera would lack it.
        return CameraColors(gain - gain.mean(dim=0), offset - offset.mean(dim=0), vignette)

    densifier = Densifier(settings.densify, parameters, stage.radius, settings.seed)
    first = int(settings.densify.start * settings.steps)
    last = int(settings.densify.stop * settings.steps)
    mean = RunningMean(settings.averaging)
    chance = np.random.default_rng(settings.seed)
    generator = torch.Generator(device=device).manual_seed(settings.seed)
    for step, batch in enumerate(batches(count, settings.cameras_per_step, settings.steps, settings.seed)):
        parameters.set_rate("means", settings.means_decay ** (step / settings.steps))
        gaussians = parameters.gaussians()
        shown = leave_out(gaussians, settings.dropout, generator)
        if backdrop is not None and chance.random() < settings.background_share:
            which = int(chance.integers(len(backdrop)))
            alone = shown.replace(opacities=shown.opacities * ~shown.is_foreground)
            cameras = backdrop.cameras[which].take(batch)
            rendered = render(alone, cameras, near=stage.near)
            loss = backdrop.loss(colors().apply(rendered.color, cameras, batch), which, batch, settings.ssim_share)
        else:
            part = observed.take(batch)
            rendered = render(shown, part.cameras, shown.is_foreground[:, None].to(torch.float32), near=stage.near)
            seen = colors().apply(rendered.color, part.cameras, batch)
            loss = picture_loss(rendered, seen, part, settings.ssim_share, settings.segmentation_weight)
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
        elif done >= last:
            mean.add(parameters.values)
        reporter.step(done, settings.steps, loss.detach())
    with torch.no_grad():
        fixed = colors()
    light = None if vignette is None else vignette.detach()
    return parameters.finished(mean.values), CameraColors(fixed.gain, fixed.offset, light)
