"""Leaving Gaussians out of a step, so that each must be right by itself (DropGaussian, Park et al. 2025)."""

from __future__ import annotations

import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import ALPHA_MAX


def leave_out(gaussians: Gaussians, share: float, generator: torch.Generator) -> Gaussians:
    """The Gaussians with `share` of them, drawn anew each time, transparent, and the others more opaque for it."""
    if share == 0:
        return gaussians
    kept = torch.rand(len(gaussians), generator=generator, device=generator.device) >= share
    return gaussians.replace(opacities=(gaussians.opacities * kept / (1 - share)).clamp(max=ALPHA_MAX))
