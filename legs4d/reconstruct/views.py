"""Which pixels of which cameras see a point."""

from __future__ import annotations

import torch

from legs4d.raster.upload import upload
from legs4d.scene.camera import Cameras


def project(cameras: Cameras, points: torch.Tensor, near: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The pixel (column, row) [C, N, 2] int64 that each point [N, 3] falls into, and whether it is in view [C, N] bool.

    Args:
        near: scene units; what is nearer to a camera plane is not in view. Pixels of what is not in view are (0, 0).
    """
    world_to_camera = upload(cameras.world_to_camera, points.device)
    in_camera = points @ world_to_camera[:, :3, :3].mT + world_to_camera[:, None, :3, 3]
    projected = in_camera @ upload(cameras.intrinsics, points.device).mT
    depth = in_camera[..., 2]
    pixel = (projected[..., :2] / depth.clamp(min=1e-6)[..., None]).floor()
    seen = (depth > near) & (pixel >= 0).all(dim=-1)
    seen &= (pixel[..., 0] < cameras.width) & (pixel[..., 1] < cameras.height)
    return torch.where(seen[..., None], pixel, torch.zeros_like(pixel)).long(), seen


def look_up(
    images: torch.Tensor, cameras: Cameras, points: torch.Tensor, near: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What images [C, H, W, D] show at each point [N, 3]: values [C, N, D], and where they are in view [C, N]."""
    pixel, seen = project(cameras, points, near)
    camera = torch.arange(len(cameras), device=points.device)[:, None]
    return images[camera, pixel[..., 1], pixel[..., 0]], seen
