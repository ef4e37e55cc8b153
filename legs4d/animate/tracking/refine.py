"""The rigid motion under which a rendering looks most like a frame: robust Gauss-Newton, blurred first, then sharp.

Derivatives are differences of renderings, of which six are needed (Lucas and Kanade 1981 with the renderer as the
warp): they see what is uncovered, hidden and clipped, and their products tell how sure each direction is.

A run's colours hold the light that fell on the object at rest, which turns with it. So three more numbers are sought:
how much lighter the object is, and becomes to the right and downwards; else a shaded ball would not turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import Motion, Sight
from legs4d.animate.tracking.stage import Stage, Window

MOST_DAMPED = 1e3
"""Of a step; what needs more is as good as it gets."""
DIFFERENT = 0.1
"""Colour difference (0..1) from which a pixel does not look as predicted."""
LEAST_SHARE = 0.05
"""Of a pixel, that the object fills of what counts as showing it."""


Pull = Callable[[Motion], NDArray[np.float64]]
"""What else is known of a motion: by how many of its standard deviations that is off, in one or more directions."""


class OutOfSight(Exception):
    """The object would not show under a motion."""


@dataclass(frozen=True)
class RefineSettings:
    """How a frame is fitted; chosen on motions that nothing is judged on (docs/animate.md).

    Attributes:
        blurs: standard deviations in pixels of a picture 160 wide, coarse to fine.
        steps: of Gauss-Newton at each blur, at most.
        difference: pixels by which a motion is changed for a derivative, with the blur's added.
        least_scale, most_scale: bounds of the colour difference (0..1) that a pixel may have and still count; in
            between, twice what half of the pixels have.
        settled: pixels; a step that changes less ends a level.
        margin: pixels (of 160) around the object that are compared.
        alike: how many pixels together say as much as one that is independent.
        light: share by which the object may be lighter than at rest, or become so over its radius, usually.
    """

    blurs: tuple[float, ...] = (3.0, 1.2, 0.5)
    steps: int = 8
    difference: float = 0.3
    least_scale: float = 0.02
    most_scale: float = 0.06
    settled: float = 0.02
    margin: float = 4.0
    alike: float = 8.0
    light: float = 0.05


@dataclass(frozen=True)
class Fit:
    """How a frame was met.

    Attributes:
        motion: of the object.
        information: [6, 6] inverse of the uncertainty of a change of it, in pixels⁻².
        residual: mean robust colour difference over the object, 0..1.
        agreeing: share of the object's pixels that look as predicted.
        share: pixels of the picture that the object fills.
        bends: [K, 7] of nodes, where no rigid motion explains the frame (`bend`).
    """

    motion: Motion
    information: NDArray[np.float64]
    residual: float
    agreeing: float
    share: float
    bends: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Equations:
    """Normal equations [9, 9] and [9] of a change in pixels and of light, the cost there, the scale of residuals, and
    [P] how far what is compared is known."""

    normal: NDArray[np.float64]
    gradient: NDArray[np.float64]
    cost: float
    scale: float
    known: torch.Tensor


@dataclass(frozen=True)
class _Seen:
    """A window around the object, [h, w] which pixels of it are compared, [h, w, 3] the frame there, [2] the pixel of
    the object's middle, and [3, h, w] ones, and how far right and down of that a pixel is, in the object's radii."""

    window: Window
    region: torch.Tensor
    frame: torch.Tensor
    at: NDArray[np.float64]
    grid: torch.Tensor

    def lit(self, color: torch.Tensor, share: torch.Tensor, light: NDArray[np.float64]) -> torch.Tensor:
        """Pictures [B, h, w, 3] of which the object, share [B, h, w] of each pixel, is lit otherwise."""
        factor = torch.einsum("l,lhw->hw", torch.as_tensor(light, dtype=color.dtype, device=color.device), self.grid)
        return color * (1 + share * factor)[..., None]


def refine(
    stage: Stage,
    frame: torch.Tensor,
    start: Motion,
    settings: RefineSettings,
    pulls: Sequence[Pull] = (),
    blurs: Sequence[float] | None = None,
) -> Fit:
    """Fit one frame.

    Args:
        frame: [H, W, 3] on the stage's device.
        start: a motion near the right one.
        pulls: what else is known of the motion.
        blurs: other levels than the settings'.
    """
    unit = stage.camera.width / 160
    motion, light = start, np.zeros(3)
    levels = [
        _Level(stage, frame, settings, blur * unit, pulls) for blur in (settings.blurs if blurs is None else blurs)
    ]
    for level in levels:
        motion, light = level.run(motion, light)
    return levels[-1].result(motion, light)


class _Level:
    """One frame at one blur."""

    def __init__(
        self,
        stage: Stage,
        frame: torch.Tensor,
        settings: RefineSettings,
        blur: float,
        pulls: Sequence[Pull],
    ) -> None:
        self.stage, self.settings, self.blur, self.pulls = stage, settings, blur, pulls
        self.frame = frame
        self.margin = max(2, round(settings.margin * stage.camera.width / 160 + 2 * blur))
        self.step = settings.difference + 0.3 * blur

    def run(self, motion: Motion, light: NDArray[np.float64]) -> tuple[Motion, NDArray[np.float64]]:
        """The best motion near one, and light [3]."""
        damping, seen = 1e-3, self._look(motion)
        for _ in range(self.settings.steps):
            sight = Sight.of(self.stage.camera, self.stage.body, motion)
            now = self._equations(seen, sight, motion, light)
            while True:
                damped = now.normal + damping * np.diag(np.diag(now.normal) + 1e-9)
                change = -np.asarray(np.linalg.solve(damped, now.gradient), np.float64)
                change = change * min(1.0, (4 + 2 * self.blur) / max(float(np.abs(change[:6]).max()), 1e-9))
                tried, lit = sight.changed(motion, change[:6]), light + change[6:]
                if self._cost(seen, tried, lit, now) <= now.cost:
                    break
                damping *= 20
                if damping > MOST_DAMPED:
                    return motion, light
            motion, light, damping = tried, lit, max(damping / 20, 1e-5)
            if np.abs(change[:6]).max() < self.settings.settled:
                break
            if np.abs(seen.at - Sight.of(self.stage.camera, self.stage.body, motion).pixel).max() > self.margin / 2:
                seen = self._look(motion)
        return motion, light

    def result(self, motion: Motion, light: NDArray[np.float64]) -> Fit:
        """What is known at a motion."""
        sight, seen = Sight.of(self.stage.camera, self.stage.body, motion), self._look(motion)
        normal = self._equations(seen, sight, motion, light, prior=False).normal
        # What light may explain says nothing of the motion.
        explained = normal[:6, 6:] @ np.linalg.solve(normal[6:, 6:], normal[6:, :6])
        made = seen.window.predict([motion])
        share = made.share[0] * made.known[0].clamp(0, 1)
        color = seen.lit(made.color, made.share, light)
        difference = (blurred(color, self.blur)[0] - seen.frame).abs().mean(-1)
        total = float(share.sum().clamp(min=1e-6))
        return Fit(
            motion,
            normal[:6, :6] - explained,
            float((difference.clamp(max=0.5) * share).sum()) / total,
            float(((difference < DIFFERENT) * share).sum()) / total,
            float(made.share.sum()),
        )

    def _look(self, motion: Motion) -> _Seen:
        """What is around the object."""
        window, region = around(self.stage, self.stage.predict([motion]).share[0], self.margin, self.blur)
        frame = blurred(window.cut(self.frame)[None], self.blur)[0]
        sight = Sight.of(self.stage.camera, self.stage.body, motion)
        rows, columns = (torch.arange(size, device=self.frame.device) + 0.5 for size in region.shape)
        radius, (left, top) = self.stage.body.radius / float(sight.units[0]), window.box[:2]
        right, down = (columns + left - float(sight.pixel[0])) / radius, (rows + top - float(sight.pixel[1])) / radius
        ones = torch.ones_like(region, dtype=torch.float32)
        grid = torch.stack([ones, right.expand_as(ones), down[:, None].expand_as(ones)]).clamp(-1, 1)
        return _Seen(window, region, frame, sight.pixel, grid)

    def _equations(
        self, seen: _Seen, sight: Sight, motion: Motion, light: NDArray[np.float64], prior: bool = True
    ) -> _Equations:
        motions = [motion, *(sight.changed(motion, self.step * axis) for axis in np.eye(6))]
        made = seen.window.predict(motions)
        color = blurred(seen.lit(made.color, made.share, light), self.blur)
        brighter = (made.color[0] * made.share[0, ..., None])[None] * seen.grid[..., None]
        # Of the motion that is left, not of the one that is tried: else what is unknown would be turned to the camera.
        known = made.known[0][seen.region].clamp(0, 1)
        base = color[0][seen.region]
        residual = base - seen.frame[seen.region]
        moving = (color[1:, seen.region] - base) / self.step
        slopes = torch.cat([moving, blurred(brighter, self.blur)[:, seen.region]])
        scale = self._scale(residual[known > 0.5])
        weight = known * self._weight(residual, scale) / (scale**2 * self.settings.alike)
        weighted = slopes * weight[None, :, None]
        normal = torch.einsum("apc,bpc->ab", weighted, slopes).double().cpu().numpy()
        gradient = torch.einsum("apc,pc->a", weighted, residual).double().cpu().numpy()
        cost = self._robust(residual, scale, known) + self._unlikely(light)
        normal[6:, 6:] += np.eye(3) / self.settings.light**2
        gradient[6:] += light / self.settings.light**2
        for pull in self.pulls if prior else ():
            off = pull(motion)
            slope = np.stack([(pull(changed) - off) / self.step for changed in motions[1:]])
            normal[:6, :6] += slope @ slope.T
            gradient[:6] += slope @ off
            cost += 0.5 * float(off @ off)
        return _Equations(normal, gradient, cost, scale, known)

    def _cost(self, seen: _Seen, motion: Motion, light: NDArray[np.float64], now: _Equations) -> float:
        made = seen.window.predict([motion])
        color = blurred(seen.lit(made.color, made.share, light), self.blur)
        cost = self._robust(color[0][seen.region] - seen.frame[seen.region], now.scale, now.known)
        cost += self._unlikely(light)
        return cost + sum(0.5 * float(np.square(pull(motion)).sum()) for pull in self.pulls)

    def _scale(self, residual: torch.Tensor) -> float:
        typical = 1.48 * float(residual.abs().mean(-1).median()) if len(residual) else 0.0
        return min(max(2 * typical, self.settings.least_scale), self.settings.most_scale)

    def _unlikely(self, light: NDArray[np.float64]) -> float:
        return 0.5 * float(np.square(light).sum()) / self.settings.light**2

    @staticmethod
    def _weight(residual: torch.Tensor, scale: float) -> torch.Tensor:
        """[P] of Geman and McClure's cost."""
        square = residual.square().mean(-1) / scale**2
        return 1 / (1 + square) ** 2

    def _robust(self, residual: torch.Tensor, scale: float, known: torch.Tensor) -> float:
        square = residual.square().sum(-1) / scale**2
        return float((known * square / (1 + square / 3)).sum()) / (2 * self.settings.alike)


def around(stage: Stage, share: torch.Tensor, margin: int, blur: float) -> tuple[Window, torch.Tensor]:
    """What is around an object, and [h, w] which pixels of that are compared.

    Args:
        share: [H, W] how much of a pixel the object fills.
        margin: pixels around it that are compared; blur: of the comparison.

    Raises:
        OutOfSight: it fills none.
    """
    pooled = torch.nn.functional.max_pool2d(share[None, None], 2 * margin + 1, stride=1, padding=margin)
    region = pooled[0, 0] > LEAST_SHARE
    if not bool(region.any()):
        raise OutOfSight
    beyond = round(3 * blur)
    rows, columns = (torch.nonzero(region.any(axis))[:, 0] for axis in (1, 0))
    height, width = region.shape
    box = (
        max(0, int(columns[0]) - beyond),
        max(0, int(rows[0]) - beyond),
        min(width, int(columns[-1]) + 1 + beyond),
        min(height, int(rows[-1]) + 1 + beyond),
    )
    window = Window(stage, box)
    return window, window.cut(region)


def blurred(pictures: torch.Tensor, deviation: float) -> torch.Tensor:
    """[B, H, W, C] pictures under a Gaussian blur, their borders repeated."""
    if deviation <= 0.05:
        return pictures
    reach = max(1, round(3 * deviation))
    at = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (at / deviation) ** 2)
    kernel = kernel / kernel.sum()
    planes = pictures.permute(0, 3, 1, 2)
    count, channels = planes.shape[:2]
    flat = planes.reshape(count * channels, 1, *planes.shape[2:])
    flat = torch.nn.functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 1, -1))
    flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, -1, 1))
    return flat.reshape(count, channels, *pictures.shape[1:3]).permute(0, 2, 3, 1)
