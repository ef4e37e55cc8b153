"""The CPU engine: `csrc/cpu` behind torch's autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.kernel_views import active_tiles, camera_options
from legs4d.raster.screen import ScreenGradient
from legs4d.scene.camera import Cameras


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        quats: torch.Tensor,
        scales: torch.Tensor,
        opacities: torch.Tensor,
        channels: torch.Tensor,
        background: torch.Tensor | None,
        options: dict[str, Any],
        screen: ScreenGradient,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        arrays = tuple(t.detach().contiguous().numpy() for t in (means, quats, scales, opacities, channels))
        behind = None
        if background is not None:
            behind = background.detach().contiguous().numpy()
            if options["depth_channel"]:
                behind = np.concatenate([behind, np.zeros((len(behind), 1), np.float32)], axis=1)
        rendering = _csrc.project(arrays[0], arrays[1], arrays[2], arrays[3], arrays[4], **options)
        out, transmittance = rendering.forward(behind)
        ctx.saved = (rendering, arrays, behind, out, transmittance, screen)
        return torch.from_numpy(out), torch.from_numpy(transmittance)

    @staticmethod
    def backward(ctx: Any, out_gradient: torch.Tensor, rest_gradient: torch.Tensor) -> tuple[Any, ...]:
        rendering, arrays, behind, out, transmittance, screen = ctx.saved
        gradients = rendering.backward(
            *arrays, behind, out, transmittance, out_gradient.contiguous().numpy(), rest_gradient.contiguous().numpy()
        )
        screen.norm = torch.from_numpy(gradients["screen"])
        screen.seen = torch.from_numpy(gradients["seen"])
        names = ("means", "quats", "scales", "opacities", "channels")
        return (*(torch.from_numpy(gradients[name]) for name in names), None, None, None)


def render_channels(
    gaussians: Gaussians,
    cameras: Cameras,
    channels: torch.Tensor,
    background: torch.Tensor | None,
    near: float,
    depth: bool,
    antialiased: bool,
    frozen: torch.Tensor | None,
    region: torch.Tensor | None,
    threads: int | None,
    screen: ScreenGradient,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`channels` [N, D] composited: ([C, H, W, D (+1 with depth)], alpha [C, H, W]). See `legs4d.raster.rasterise`."""
    options = camera_options(cameras, near) | {
        "depth_channel": depth,
        "antialiased": antialiased,
        "frozen": None if frozen is None else frozen.to(torch.uint8).numpy(),
        "active_tiles": None if region is None else active_tiles(region.numpy()),
        "threads": threads or default_threads(),
    }
    out, transmittance = _Rasterize.apply(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        channels,
        background,
        options,
        screen,
    )
    return out, 1 - transmittance
