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


def show(fit: MotionFit, steps: int, reporter: StageReporter, before: int, of: int) -> Shown:
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
            where, turned = fit.at(frame)
            if frame in there:
                own, share, psnr[frame], iou[frame] = _one(fit, frame, where, turned, own, steps)
                best = torch.maximum(best, share)
            if frame == fit.path.canonical:
                start = own.clone()
            means[frame], quats[frame], colors[frame] = (v.cpu().numpy() for v in (where, turned, own))
    low, high = SHOWN
    seen = ((best - low) / (high - low)).clamp(0, 1)
    sizes, opaque, shown = (v.cpu().numpy() for v in (scales, opacities, seen))
    return Shown(means, quats, colors, sizes, opaque, shown, psnr, iou)


def _one(
    fit: MotionFit, frame: int, means: torch.Tensor, quats: torch.Tensor, colors: torch.Tensor, steps: int
) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """(colours, share of each Gaussian that shows, PSNR over the object, IoU of silhouettes) of one frame."""
    which = torch.tensor([frame], device=fit.device)
    scales, opacities = fit.looks()
    target, mask, known = (v[frame] for v in (fit.target.colors, fit.target.alphas, fit.target.known))
    weight = (mask * known)[..., None]

    def drawn(value: torch.Tensor, behind: float) -> tuple[torch.Tensor, torch.Tensor]:
        # `States` has SH coefficients: 0.5 + SH_C0 c is drawn
        states = States(means[None], quats[None], scales[None], opacities[None], value)
        grey = torch.full((1, 3), behind, device=fit.device)
        color, alpha = render_states(states, fit.table, which, grey, near=NEAR, room=fit.room)
        return color[0], alpha[0]

    ones = torch.full_like(colors, 0.5 / SH_C0).requires_grad_()
    filled, alpha = drawn(ones, 0.0)
    (filled * (filled.detach() * weight)).sum().backward()
    assert ones.grad is not None
    norm = ones.grad.mean(dim=1, keepdim=True) / SH_C0
    again = torch.full_like(colors, 0.5 / SH_C0).requires_grad_()
    filled, _ = drawn(again, 0.0)
    (filled * weight).sum().backward()
    assert again.grad is not None
    share = (again.grad.mean(dim=1) / SH_C0 / _alone(fit, frame, means, scales, opacities)).clamp(0, 1)
    low, high = SHOWN
    # what is hardly seen would be given any colour that mends a thousandth of a pixel
    counts = ((share - low / 2) / (high - low)).clamp(0, 1)[:, None]
    now = colors.clone()
    for _ in range(steps):
        value = now.clone().requires_grad_()
        color, _ = drawn(value, GREY)
        rest = (target - color.detach()) * weight
        (color * rest).sum().backward()
        assert value.grad is not None
        moved = value.grad / (SH_C0**2 * norm.clamp(min=1e-6))
        now = now + torch.where(norm > LEAST, moved, 0) * counts
        now = now.clamp(-0.5 / SH_C0, 0.5 / SH_C0)
    color, alpha = drawn(now, GREY)
    inside = mask > 0.5
    error = float(((color.clamp(0, 1) - target) ** 2)[inside].mean()) if inside.any() else 1.0
    solid = (alpha > 0.5) & (known > 0.5)
    there = inside & (known > 0.5)
    overlap = float((solid & there).sum() / (solid | there).sum().clamp(min=1))
    return now.detach(), share, -10 * np.log10(max(error, 1e-10)), overlap


def _alone(
    fit: MotionFit, frame: int, means: torch.Tensor, scales: torch.Tensor, opacities: torch.Tensor
) -> torch.Tensor:
    """[N] pixels that each Gaussian would fill if nothing were before it, roughly: 2π σ₁ σ₂ of its two larger axes,
    half of it as it is seen aslant."""
    view = fit.table.viewmats[frame]
    depth = (means @ view[2, :3] + view[2, 3]).clamp(min=NEAR)
    focal = fit.table.intrinsics[frame, 0, 0]
    two = scales.sort(dim=1).values[:, 1:]
    area = 2 * np.pi * ((two * focal / depth[:, None]).square() + 0.3).sqrt().prod(dim=1)
    return 0.5 * area * opacities
