"""Pictures of an object, as they are given: colours times alpha, and alpha, as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.rasterise import render
from legs4d.scene.camera import Cameras


@torch.no_grad()
def drawn(several: Sequence[Gaussians], cameras: Cameras, near: float) -> NDArray[np.uint8]:
    """[C, H, W, 4] RGBA: the mean of what each of several Gaussians (torch) looks like.

    Args:
        near: near plane, scene units.
    """
    shown = [render(gaussians, cameras, near=near) for gaussians in several]
    both = [torch.cat([one.color, one.alpha[..., None]], dim=-1).clamp(0, 1) for one in shown]
    return (torch.stack(both).mean(dim=0) * 255).round().to(torch.uint8).cpu().numpy()
