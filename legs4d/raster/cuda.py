"""The CUDA engine: gsplat behind our conventions."""

from __future__ import annotations

import torch

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import BLUR
from legs4d.raster.render import ScreenGradient
from legs4d.scene.camera import Cameras


def render_channels(
    gaussians: Gaussians,
    cameras: Cameras,
    channels: torch.Tensor,
    background: torch.Tensor | None,
    near: float,
    depth: bool,
    antialiased: bool,
    screen: ScreenGradient,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`channels` [N, D] composited: ([C, H, W, D (+1 with depth)], alpha [C, H, W]). See `legs4d.raster.render`."""
    try:
        from gsplat import rasterization
    except ImportError as error:
        raise Legs4dError(
            "gsplat is not installed", where="the CUDA engine", fix="install it with pip install gsplat==1.5.3"
        ) from error
    device = gaussians.means.device
    out, alpha, meta = rasterization(
        means=gaussians.means,
        quats=gaussians.quats,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=channels,
        viewmats=torch.as_tensor(cameras.world_to_camera, device=device),
        Ks=torch.as_tensor(cameras.intrinsics, device=device),
        width=cameras.width,
        height=cameras.height,
        near_plane=near,
        eps2d=BLUR,
        packed=False,
        backgrounds=background,
        render_mode="RGB+D" if depth else "RGB",
        rasterize_mode="antialiased" if antialiased else "classic",
    )
    centers = meta["means2d"]
    if centers.requires_grad:
        seen = (meta["radii"] > 0).all(dim=-1)

        def remember(gradient: torch.Tensor) -> None:
            screen.norm = torch.linalg.vector_norm(gradient, dim=-1).sum(dim=0)
            screen.seen = seen.sum(dim=0, dtype=torch.int32)

        centers.register_hook(remember)
    return out, alpha[..., 0]
