"""What 4DGen's optimisation is driven by, beside its regularisers of planes (`deform.fields.planes`)."""

from __future__ import annotations

import torch
from torch.nn.functional import l1_loss

from legs4d.priors.perceptual.lpips import Lpips
from legs4d.reconstruct.fitting.losses import ssim

REFERENCE = 10.0
"""Times that the reference camera counts."""
PIXELS, PERCEPTUAL, STRUCTURE, OVERALL = 10.0, 20.0, 2.0, 2.0
"""m · (10 · L1 + 20 · LPIPS) + 2 · (1 − SSIM) + 2 · LPIPS."""
NEAREST = 2000
"""Points of each cloud between which a chamfer distance is taken."""


def picture_loss(
    drawn: torch.Tensor, truth: torch.Tensor, counts: torch.Tensor, lpips: Lpips | None, perceptual: float = 1.0
) -> torch.Tensor:
    """[] mean over pictures [B, H, W, 4] (RGB on white and alpha, 0..1).

    Args:
        counts: [B] m of each: `REFERENCE` for the reference camera, else 1.
        lpips: None leaves out the terms with it.
        perceptual: times that these count.
    """
    absolute = torch.stack([l1_loss(a, b) for a, b in zip(drawn, truth, strict=True)])
    apart = torch.zeros_like(absolute)
    if lpips is not None:
        apart = perceptual * lpips(drawn[..., :3].clamp(0, 1), truth[..., :3])
    return total(absolute, ssim(drawn.contiguous(), truth.contiguous()), apart, counts).mean()


def total(absolute: torch.Tensor, similar: torch.Tensor, apart: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """[B] of L1, SSIM, LPIPS and m [B] each."""
    return counts * (PIXELS * absolute + PERCEPTUAL * apart) + STRUCTURE * (1 - similar) + OVERALL * apart


def decayed(first: float, last: float, step: float, steps: int) -> float:
    """A step size that falls from one to the other exponentially."""
    share = min(max(step / steps, 0.0), 1.0)
    return float(first ** (1 - share) * last**share)


def chamfer(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """[] mean squared distance of points [N, 3] to the nearest of others [N, 3], both ways, of `NEAREST` of each."""
    one, other = (points[torch.randperm(len(points), device=points.device)[:NEAREST]] for points in (first, second))
    apart = torch.cdist(one, other).square()
    return apart.min(dim=0).values.mean() + apart.min(dim=1).values.mean()
