"""Refining what does not change from frame to frame, once it is known what moves.

The first frame shows each surface from one side of each camera, and hides some; the clip shows the moving ones turned
about and the others uncovered. So the static Gaussians, and the shapes and opacities of the moving ones, are fitted
again to frames from all over the clip, with the moving Gaussians where tracking left them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import ClipFitSettings
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.raster.upload import upload
from legs4d.reconstruct.births.carrying import Carried
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.reconstruct.fitting.averaging import RunningMean
from legs4d.reconstruct.fitting.dropout import leave_out
from legs4d.reconstruct.fitting.parameters import Parameters, bound
from legs4d.reconstruct.observation import CameraColors, Observation, batches, picture_loss
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

AVERAGED = 2 / 3
"""Share of the steps after which the running mean begins."""
LEAST = 0.5
"""Of the mean error: a frame that lacks less is drawn as if it lacked this, so that it stays as good as it is."""


@dataclass(frozen=True)
class TrackedFrame:
    """One frame of the clip: its training pictures in bytes, and the moving Gaussians in it.

    Attributes:
        cameras: C views.
        images: [C, H, W, 3] uint8.
        masks: [C, H, W] uint8, share of foreground in 255ths.
        moving: the M moving Gaussians.
        tint: [N, 3] what the frame's light adds to the static Gaussians' colours; None for nothing.
    """

    cameras: Cameras
    images: torch.Tensor
    masks: torch.Tensor
    moving: Gaussians
    tint: torch.Tensor | None = None

    @classmethod
    def of(cls, observed: Observation, moving: Gaussians, tint: torch.Tensor | None = None) -> TrackedFrame:
        images, masks = ((values * 255).round().to(torch.uint8) for values in (observed.images, observed.masks))
        return cls(observed.cameras, images, masks, moving, tint)

    def take(self, index: NDArray[np.integer]) -> Observation:
        """What the cameras at these positions saw."""
        picked = upload(index, self.images.device)
        images, masks = (values[picked].to(torch.float32) / 255 for values in (self.images, self.masks))
        return Observation(self.cameras.take(index), images, masks)


@dataclass(frozen=True)
class Refined:
    """What `refine` found.

    Attributes:
        static: the N static Gaussians.
        scales: [M, 3]; opacities: [M] of the moving ones.
        carried: the B carried ones, in frames of their own; None where there were none.
    """

    static: Gaussians
    scales: torch.Tensor
    opacities: torch.Tensor
    carried: Gaussians | None


def refine(
    static: Gaussians,
    opacities: torch.Tensor,
    frames: list[TrackedFrame],
    colors: CameraColors,
    stage: Stage,
    settings: ClipFitSettings,
    reporter: StageReporter,
    carried: tuple[Gaussians, Carried] | None = None,
    lack: NDArray[np.float64] | None = None,
) -> Refined:
    """What suits all frames best of what does not change: static Gaussians, shapes and opacities of the moving ones.

    Args:
        static: torch tensors on the device of the frames.
        opacities: [M] of the moving ones while they are alive.
        frames: with the same cameras, in the same order, and the same moving Gaussians.
        carried: B further ones, as they are in frames of their own, of which all is found but how each gets into
            `frames`; on the same device.
        lack: [F] mean squared error of the frames as they begin, not all 0: what lacks more is drawn more often. None
            draws all alike.

    Raises:
        Stopped: the reporter was told to stop.
    """
    parameters = Parameters.from_gaussians(static, settings.rates, stage.radius)
    shape = _Shape(frames[0].moving, opacities, settings)
    held = None if carried is None else Parameters.from_gaussians(carried[0], settings.rates, stage.radius)
    mean = RunningMean(settings.averaging)
    chance = np.random.default_rng(settings.seed)
    generator = torch.Generator(device=static.means.device).manual_seed(settings.seed)
    plan = batches(len(frames[0].cameras), settings.cameras_per_step, settings.steps, settings.seed)
    odds = np.ones(len(frames)) if lack is None else np.maximum(lack, LEAST * lack.mean())
    widest = settings.max_scale * stage.radius
    optimised = [parameters] if held is None else [parameters, held]
    for step, batch in enumerate(plan):
        share = settings.decay ** (step / settings.steps)
        for one in optimised:
            for name in one.values:
                one.set_rate(name, share)
        shape.set_rate(share)
        which = int(chance.choice(len(frames), p=odds / odds.sum()))
        frame, still = frames[which], parameters.gaussians()
        toned = still if frame.tint is None else still.replace(colors=still.colors + frame.tint)
        parts = [toned, shape.apply(frame.moving)]
        if held is not None and carried is not None:
            parts.append(carried[1].at(held.gaussians(), which))
        shown = leave_out(concatenate(*parts), settings.dropout, generator)
        part = frame.take(batch)
        rendered = render(shown, part.cameras, shown.is_foreground[:, None].to(torch.float32), near=stage.near)
        seen = colors.apply(rendered.color, part.cameras, batch)
        loss = picture_loss(rendered, seen, part, settings.ssim_share, settings.segmentation_weight)
        spent = settings.opacity_weight * still.opacities + settings.scale_weight / stage.radius * still.scales.mean(
            dim=1
        )
        loss = loss + settings.opaque_weight * (1 - rendered.alpha).mean() + spent.sum() / max(len(still), 1)
        loss.backward()
        for one in optimised:
            one.step()
            one.bound(widest)
        shape.step(widest)
        if step >= AVERAGED * settings.steps:
            mean.add({**parameters.values, **shape.values, **_named(held)})
        reporter.step(step + 1, settings.steps, loss.detach())
    final = mean.values or {**parameters.values, **shape.values, **_named(held)}
    moving = shape.apply(frames[0].moving, final)
    return Refined(
        parameters.finished(final),
        moving.scales.detach(),
        torch.sigmoid(final["moving_opacities"]).detach(),
        None if held is None else held.finished({name: final[f"carried_{name}"] for name in held.values}),
    )


def _named(held: Parameters | None) -> dict[str, torch.Tensor]:
    return {} if held is None else {f"carried_{name}": value for name, value in held.values.items()}


class _Shape:
    """What the moving Gaussians keep through all frames, while it is optimised."""

    def __init__(self, moving: Gaussians, opacities: torch.Tensor, settings: ClipFitSettings) -> None:
        self.values = {
            "moving_scales": torch.log(moving.scales).requires_grad_(),
            "moving_opacities": torch.logit(opacities, eps=1e-4).requires_grad_(),
        }
        self._start = {"moving_scales": settings.rates.scales, "moving_opacities": settings.rates.opacities}
        self.optimizer = Adam(self.values, dict(self._start))

    def set_rate(self, share: float) -> None:
        self.optimizer.rates = {name: rate * share for name, rate in self._start.items()}

    def step(self, widest: float) -> None:
        self.optimizer.step()
        bound(self.values["moving_scales"], widest)

    def apply(self, moving: Gaussians, values: dict[str, torch.Tensor] | None = None) -> Gaussians:
        """The moving Gaussians of a frame in this shape."""
        of = values or self.values
        alive = moving.opacities > 0
        opacities = torch.where(alive, torch.sigmoid(of["moving_opacities"]), 0)
        return moving.replace(scales=torch.exp(of["moving_scales"]), opacities=opacities)
