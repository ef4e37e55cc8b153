"""The CUDA engine: gsplat's kernels behind the conventions of `render`."""

from __future__ import annotations

import torch

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import BLUR
from legs4d.raster.screen import ScreenGradient
from legs4d.raster.tiles import TILE, active_tiles, touches
from legs4d.raster.upload import upload
from legs4d.scene.camera import Cameras

CHANNELS_AT_ONCE = 32
"""gsplat's own: more take more shared memory than a block has, and some numbers of them are refused."""


def render_channels(
    gaussians: Gaussians,
    cameras: Cameras,
    channels: torch.Tensor,
    background: torch.Tensor | None,
    near: float,
    depth: bool,
    antialiased: bool,
    region: torch.Tensor | None,
    screen: ScreenGradient,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`channels` [N, D] or [C, N, D] composited: ([C, H, W, D (+1 with depth)], alpha [C, H, W]). See `render`."""
    try:
        from gsplat import fully_fused_projection, isect_offset_encode, isect_tiles, rasterize_to_pixels
    except ImportError as error:
        raise Legs4dError(
            "gsplat is not installed", where="the CUDA engine", fix="install it with pip install gsplat==1.5.3"
        ) from error
    device, count, total = gaussians.means.device, len(cameras), len(gaussians)
    columns, rows = -(-cameras.width // TILE), -(-cameras.height // TILE)
    radii, centers, depths, conics, compensation = fully_fused_projection(
        gaussians.means,
        None,
        gaussians.quats,
        gaussians.scales,
        upload(cameras.world_to_camera, device),
        upload(cameras.intrinsics, device),
        cameras.width,
        cameras.height,
        eps2d=BLUR,
        near_plane=near,
        calc_compensations=antialiased,
        opacities=gaussians.opacities,
    )
    opacities = gaussians.opacities.expand(count, total)
    if antialiased:
        opacities = opacities * compensation
    values = channels if channels.ndim == 3 else channels.expand(count, *channels.shape)
    if depth:
        values = torch.cat([values, depths[..., None]], dim=-1)
        if background is not None:
            background = torch.cat([background, background.new_zeros(count, 1)], dim=-1)
    active = None if region is None else active_tiles(region, rows, columns)
    reach = radii if active is None else radii * touches(active, centers.detach(), radii)[..., None]
    _, tile_ids, order = isect_tiles(centers, reach, depths, TILE, columns, rows)
    offsets, opacities = isect_offset_encode(tile_ids, count, columns, rows), opacities.contiguous()
    parts = []
    for first in range(0, values.shape[-1], CHANNELS_AT_ONCE):
        some = slice(first, first + CHANNELS_AT_ONCE)
        part, alpha = rasterize_to_pixels(
            centers,
            conics,
            values[..., some].contiguous(),
            opacities,
            cameras.width,
            cameras.height,
            TILE,
            offsets,
            order,
            backgrounds=None if background is None else background[..., some].contiguous(),
            masks=active,
        )
        parts.append(part)
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
    alpha = alpha[..., 0]
    if active is not None:
        # gsplat leaves alpha as it finds it in tiles that it skips.
        drawn = active.repeat_interleave(TILE, dim=1).repeat_interleave(TILE, dim=2)
        alpha = torch.where(drawn[:, : cameras.height, : cameras.width], alpha, torch.zeros_like(alpha))
    if centers.requires_grad:
        seen = (radii > 0).all(dim=-1)

        def remember(gradient: torch.Tensor) -> None:
            screen.norm = torch.linalg.vector_norm(gradient, dim=-1).sum(dim=0)
            screen.seen = seen.sum(dim=0, dtype=torch.int32)

        centers.register_hook(remember)
    return out, alpha
