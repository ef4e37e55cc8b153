"""Each frame's own colours of an object's Gaussians, and which of them the camera ever saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import SH_C0
from legs4d.progress import StageReporter
from legs4d.raster.states import States, render_states
from legs4d.video.motion.fit import GREY, NEAR, MotionFit

SHOWN = (0.15, 0.5)
"""Share of what a Gaussian would fill alone, from which it begins to count as seen, and does."""
LEAST = 1e-2
"""Pixels that a Gaussian has to fill for a frame to say anything of its colour."""


@dataclass(frozen=True)
class Shown:
    """Of one object.

    Attributes:
        means: [T, N, 3], quats: [T, N, 4], colors: [T, N, 3] SH DC, float32, in the object's own space.
        scales: [N, 3]; opacities: [N]; seen: [N] 0..1.
        psnr: [T] dB over the object's pixels, NaN where it is hidden; iou: [T] of silhouettes.
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    colors: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    seen: NDArray[np.float32]
    psnr: NDArray[np.float64]
    iou: NDArray[np.float64]


@dataclass(frozen=True)
class _Bent:
    """An object as it is in a frame: means [N, 3], quats [N, 4], scales [N, 3], opacities [N]; and its crop."""

    fit: MotionFit
    frame: int
    means: torch.Tensor
    quats: torch.Tensor
    scales: torch.Tensor
    opacities: torch.Tensor

    @classmethod
    def of(cls, fit: MotionFit, frame: int) -> _Bent:
        return cls(fit, frame, *fit.at(frame), *fit.looks())

    @property
    def weight(self) -> torch.Tensor:
        """[S, S, 1] 0..1, how much a pixel of the crop tells of the object."""
        target = self.fit.target
        return (target.alphas[self.frame] * target.known[self.frame])[..., None]

    def drawn(self, value: torch.Tensor, behind: float = GREY) -> tuple[torch.Tensor, torch.Tensor]:
        """(colour [S, S, 3], alpha [S, S]) of the crop; `value` [N, 3] SH coefficients: 0.5 + SH_C0 c is drawn."""
        fit, device = self.fit, self.fit.device
        states = States(self.means[None], self.quats[None], self.scales[None], self.opacities[None], value)
        which = torch.tensor([self.frame], device=device)
        grey = torch.full((1, 3), behind, device=device)
        color, alpha = render_states(states, fit.table, which, grey, near=NEAR, room=fit.room)
        return color[0], alpha[0]

    def filled(self, *, squared: bool) -> torch.Tensor:
        """[N, 1] pixels that each Gaussian fills, Wᵀ weight; squared: Wᵀ (weight · W 1), as all that fill a pixel
        count."""
        ones = torch.full_like(self.means, 0.5 / SH_C0).requires_grad_()
        filled, _ = self.drawn(ones, 0.0)
        (filled * (filled.detach() * self.weight if squared else self.weight)).sum().backward()
        assert ones.grad is not None
        return ones.grad.mean(dim=1, keepdim=True) / SH_C0

    def alone(self) -> torch.Tensor:
        """[N] pixels that each Gaussian would fill if nothing were before it, roughly: 2π σ₁ σ₂ of its two larger axes,
        half of it as it is seen aslant."""
        view = self.fit.table.viewmats[self.frame]
        depth = (self.means @ view[2, :3] + view[2, 3]).clamp(min=NEAR)
        focal = self.fit.table.intrinsics[self.frame, 0, 0]
        two = self.scales.sort(dim=1).values[:, 1:]
        area = 2 * np.pi * ((two * focal / depth[:, None]).square() + 0.3).sqrt().prod(dim=1)
        return 0.5 * area * self.opacities


def shares_of(fit: MotionFit) -> dict[int, torch.Tensor]:
    """Frame → [N] 0..1 share that shows of what each Gaussian would fill alone, in crops finer than Gaussians lie."""
    found = {}
    for frame in fit.target.there.tolist():
        bent = _Bent.of(fit, frame)
        found[frame] = (bent.filled(squared=False)[:, 0] / bent.alone()).clamp(0, 1)
    return found


def show(
    fit: MotionFit, shares: dict[int, torch.Tensor], steps: int, reporter: StageReporter, before: int, of: int
) -> Shown:
    """Colours of every frame, from the canonical one outwards: what a frame does not show keeps what it had last.

    c ← c + Wᵀ r / Wᵀ W 1 with the rest r = picture − W c (SIRT, Gilbert 1972); W is how Gaussians fill pixels.
    """
    count, device = len(fit.times), fit.device
    scales, opacities = fit.looks()
    total = len(fit.means)
    means, quats, colors = (np.zeros((count, total, width), np.float32) for width in (3, 4, 3))
    best = torch.zeros(total, device=device)
    psnr, iou = np.full(count, np.nan), np.full(count, np.nan)
    there = set(fit.target.there.tolist())
    start = fit.colors.detach()
    done = 0
    for order in (range(fit.path.canonical, count), range(fit.path.canonical - 1, -1, -1)):
        own = start.clone()
        for frame in order:
            reporter.step(before + done, of)
            done += 1
            bent = _Bent.of(fit, frame)
            if frame in there:
                own, psnr[frame], iou[frame] = _one(bent, own, shares[frame], steps)
                best = torch.maximum(best, shares[frame])
            if frame == fit.path.canonical:
                start = own.clone()
            means[frame], quats[frame], colors[frame] = (v.cpu().numpy() for v in (bent.means, bent.quats, own))
    low, high = SHOWN
    seen = ((best - low) / (high - low)).clamp(0, 1)
    sizes, opaque, shown = (v.cpu().numpy() for v in (scales, opacities, seen))
    return Shown(means, quats, colors, sizes, opaque, shown, psnr, iou)


def _one(bent: _Bent, colors: torch.Tensor, share: torch.Tensor, steps: int) -> tuple[torch.Tensor, float, float]:
    """(colours, PSNR over the object, IoU of silhouettes) of one frame."""
    given, weight = bent.fit.target, bent.weight
    target, mask, known = (v[bent.frame] for v in (given.colors, given.alphas, given.known))
    norm = bent.filled(squared=True)
    low, high = SHOWN
    # what is hardly seen would be given any colour that mends a thousandth of a pixel
    counts = ((share - low / 2) / (high - low)).clamp(0, 1)[:, None]
    now = colors.clone()
    for _ in range(steps):
        value = now.clone().requires_grad_()
        color, _ = bent.drawn(value)
        rest = (target - color.detach()) * weight
        (color * rest).sum().backward()
        assert value.grad is not None
        moved = value.grad / (SH_C0**2 * norm.clamp(min=1e-6))
        now = now + torch.where(norm > LEAST, moved, 0) * counts
        now = now.clamp(-0.5 / SH_C0, 0.5 / SH_C0)
    color, alpha = bent.drawn(now)
    inside = mask > 0.5
    error = float(((color.clamp(0, 1) - target) ** 2)[inside].mean()) if inside.any() else 1.0
    solid = (alpha > 0.5) & (known > 0.5)
    there = inside & (known > 0.5)
    overlap = float((solid & there).sum() / (solid | there).sum().clamp(min=1))
    return now.detach(), -10 * np.log10(max(error, 1e-10)), overlap
