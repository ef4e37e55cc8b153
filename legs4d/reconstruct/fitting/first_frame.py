"""Fitting static Gaussians to one frame's pictures (Kerbl et al. 2023), with Dynamic3DGS's segmentation loss."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

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


class FirstFrameFit:
    """Gaussians of one frame while they are optimised, step by step."""

    def __init__(
        self,
        observed: Observation,
        points: InitialPoints,
        stage: Stage,
        settings: FirstFrameSettings,
        backdrop: Backdrop | None,
        capacity: int = 0,
    ) -> None:
        """As `first_frame.fit_first_frame`; `capacity`: as `Parameters` has it."""
        device, count = observed.images.device, len(observed.cameras)
        self.observed, self.stage, self.settings, self.backdrop = observed, stage, settings, backdrop
        self.parameters = Parameters.from_points(points, settings.rates, stage.radius, str(device), capacity)
        self.gain = torch.zeros(count, 3, device=device, requires_grad=True)
        self.offset = torch.zeros(count, 3, device=device, requires_grad=True)
        fitted = settings.vignette_rate > 0
        self.vignette = torch.zeros(2, device=device, requires_grad=True) if fitted else None
        of_cameras = {"gain": self.gain, "offset": self.offset}
        self.camera_optimizer = Adam(
            of_cameras | ({} if self.vignette is None else {"vignette": self.vignette}),
            {"gain": settings.camera_rate, "offset": settings.camera_rate, "vignette": settings.vignette_rate},
        )
        self.densifier = Densifier(settings.densify, self.parameters, stage.radius, settings.seed)
        self.generator = torch.Generator(device=device).manual_seed(settings.seed)
        self.plan = batches(count, settings.cameras_per_step, settings.steps, settings.seed)
        self.decay = [settings.means_decay ** (step / settings.steps) for step in range(settings.steps)]
        self.alone = self._drawn()

    def _drawn(self) -> NDArray[np.int64]:
        """[S] which picture of the background each step looks at, -1 for none."""
        alone, chance = np.full(self.settings.steps, -1), np.random.default_rng(self.settings.seed)
        for step in range(self.settings.steps):
            if self.backdrop is not None and chance.random() < self.settings.background_share:
                alone[step] = chance.integers(len(self.backdrop))
        return alone

    def run(self, reporter: StageReporter) -> tuple[Gaussians, CameraColors]:
        """As `first_frame.fit_first_frame`."""
        settings, parameters = self.settings, self.parameters
        first = int(settings.densify.start * settings.steps)
        last = int(settings.densify.stop * settings.steps)
        mean = RunningMean(settings.averaging)
        for step in range(settings.steps):
            loss = self.step(step)
            done = step + 1
            if first <= done < last and done % settings.densify.every == 0:
                self.densifier.run((last - 1 - done) // settings.densify.every + 1)
                self.densified()
            elif done >= last:
                self.densifier.bound()
                mean.add(parameters.values)
            reporter.step(done, settings.steps, loss)
        with torch.no_grad():
            fixed = self.colors()
        light = None if self.vignette is None else self.vignette.detach()
        return parameters.finished(mean.values), CameraColors(fixed.gain, fixed.offset, light)

    def densified(self) -> None:
        """Called when Gaussians have come and gone."""

    def colors(self) -> CameraColors:
        """Of the cameras by now; differentiable."""
        # Centred: a shift common to all cameras belongs to the scene, or a new camera would lack it.
        gain, offset = (values - values.mean(dim=0) for values in (self.gain, self.offset))
        return CameraColors(gain, offset, self.vignette)

    def step(self, step: int) -> torch.Tensor:
        """[] the loss."""
        settings, near, batch = self.settings, self.stage.near, self.plan[step]
        self.parameters.set_rate("means", self.decay[step])
        gaussians = self.parameters.gaussians()
        shown = leave_out(gaussians, settings.dropout, self.generator)
        if self.backdrop is not None and self.alone[step] >= 0:
            which = int(self.alone[step])
            alone = shown.replace(opacities=shown.opacities * ~shown.is_foreground)
            cameras = self.backdrop.cameras[which].take(batch)
            rendered = render(alone, cameras, near=near)
            seen = self.colors().apply(rendered.color, cameras, batch)
            loss = self.backdrop.loss(seen, which, batch, settings.ssim_share)
        else:
            part = self.observed.take(batch)
            rendered = render(shown, part.cameras, shown.is_foreground[:, None].to(torch.float32), near=near)
            seen = self.colors().apply(rendered.color, part.cameras, batch)
            loss = picture_loss(rendered, seen, part, settings.ssim_share, settings.segmentation_weight)
        loss = loss + settings.opaque_weight * (1 - rendered.alpha).mean() + self.spent(gaussians).mean()
        loss.backward()
        self.densifier.observe(rendered.screen)
        self.parameters.step()
        self.camera_optimizer.step()
        return loss.detach()

    def spent(self, gaussians: Gaussians) -> torch.Tensor:
        """[N] what each Gaussian costs; not what no camera has looked at lately: it fills the places that another
        camera may see."""
        settings, looked_at = self.settings, (self.densifier.seen > 0).to(torch.float32)
        return looked_at * (
            settings.opacity_weight * gaussians.opacities
            + settings.scale_weight / self.stage.radius * gaussians.scales.mean(dim=1)
        )
