"""The one rendering function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.sh import evaluate
from legs4d.raster.cpu import render_channels as render_cpu
from legs4d.raster.cuda import render_channels as render_cuda
from legs4d.raster.screen import ScreenGradient, SummedGradient
from legs4d.scene.camera import Cameras

Engine = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Render:
    """C images of H × W pixels.

    Attributes:
        color: [C, H, W, 3] alpha-composited RGB over the background, not clamped.
        alpha: [C, H, W] in 0..1.
        depth: [C, H, W] alpha-weighted camera z (divide by alpha for the expected depth), or None if not asked for.
        features: [C, H, W, F] alpha-composited features, or None.
        screen: filled when gradients have been computed.
    """

    color: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor | None
    features: torch.Tensor | None
    screen: ScreenGradient


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    features: torch.Tensor | None = None,
    background: torch.Tensor | None = None,
    *,
    near: float,
    depth: bool = False,
    antialiased: bool = False,
    frozen: torch.Tensor | None = None,
    region: torch.Tensor | None = None,
    engine: Engine = "auto",
    threads: int | None = None,
) -> Render:
    """Render Gaussians into all cameras at once (3D Gaussian Splatting: Kerbl et al. 2023, equations 1 to 5).

    Differentiable in means, quats, scales, opacities, colors, sh_rest and features.

    Args:
        gaussians: torch tensors of one device; quats need not be unit here.
        cameras: C views of one image size.
        features: [N, F] float32, composited like colours, or None.
        background: [C, 3 + F] or [3 + F] float32 seen where the rays end, or None for black and 0.
        near: scene units; Gaussians whose centre is nearer to a camera plane are left out of its image.
        depth: whether to composite camera z.
        antialiased: scale opacities so that blurring small Gaussians by `BLUR` keeps their energy (Mip-Splatting).
        frozen: [N] bool, Gaussians whose gradients are not needed; the CPU engine then leaves them at zero and saves
            the time, the CUDA engine computes them all the same.
        region: [C, H, W] bool, pixels that are needed, on the Gaussians' device. Tiles without one hold only
            background.
        engine: "cpu", "cuda", or "auto" for the one where the Gaussians are.
        threads: CPU threads, all by default. The result does not depend on it.

    Raises:
        Legs4dError: the engine does not fit the tensors' device, or gsplat is not installed.
        ValueError: arrays of the wrong shape.
    """
    device = gaussians.means.device
    if engine == "auto":
        engine = "cuda" if device.type == "cuda" else "cpu"
    if (device.type == "cuda") != (engine == "cuda"):
        raise Legs4dError(
            f"the {engine} engine was asked for Gaussians on {device}",
            where="render",
            fix="move them with gaussians.torch(device), or leave engine at 'auto'",
        )
    count = 3 + (0 if features is None else features.shape[1])
    if background is not None:
        background = background.to(device=device, dtype=torch.float32).expand(len(cameras), count)
    screen = ScreenGradient()
    if engine == "cuda":
        channels = _channels(gaussians, cameras, features)
        out, alpha = render_cuda(gaussians, cameras, channels, background, near, depth, antialiased, region, screen)
    else:

        def on_cpu(which: slice, seen: ScreenGradient) -> tuple[torch.Tensor, torch.Tensor]:
            some = cameras.take(np.arange(len(cameras))[which])
            behind, needed = (None if part is None else part[which] for part in (background, region))
            channels = _channels(gaussians, some, features)
            shared = channels if channels.ndim == 2 else channels[0]
            return render_cpu(gaussians, some, shared, behind, near, depth, antialiased, frozen, needed, threads, seen)

        if gaussians.sh_rest is None:
            out, alpha = on_cpu(slice(None), screen)
        else:  # the kernels share channels between cameras
            each = [ScreenGradient() for _ in range(len(cameras))]
            parts = [on_cpu(slice(c, c + 1), seen) for c, seen in enumerate(each)]
            out, alpha = (torch.cat([part[i] for part in parts]) for i in range(2))
            screen = SummedGradient(each)
    return Render(
        color=out[..., :3],
        alpha=alpha,
        depth=out[..., count] if depth else None,
        features=None if features is None else out[..., 3:count],
        screen=screen,
    )


def _channels(gaussians: Gaussians, cameras: Cameras, features: torch.Tensor | None) -> torch.Tensor:
    """Colours and features of the Gaussians: [N, D], or where colours depend on the view [C, N, D]."""
    if gaussians.sh_rest is None:
        return gaussians.rgb if features is None else torch.cat([gaussians.rgb, features], dim=1)
    away = gaussians.means - torch.as_tensor(cameras.centers, device=gaussians.means.device)[:, None]
    directions = torch.nn.functional.normalize(away, dim=-1)
    # Light is not negative: 3DGS cuts here too, and what is trained by it counts on that.
    rgb = evaluate(gaussians.colors, gaussians.sh_rest, directions).clamp(min=0)
    return rgb if features is None else torch.cat([rgb, features.expand(len(cameras), *features.shape)], dim=2)
