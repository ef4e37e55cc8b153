"""The rasteriser's slow, obvious twin in plain PyTorch: what both engines are measured against, in any precision.

Every Gaussian meets every pixel, in depth order, camera by camera; memory grows with their product.
"""

from __future__ import annotations

import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import ALPHA_MAX, ALPHA_MIN, BLUR, FRUSTUM_MARGIN, TRANSMITTANCE_MIN
from legs4d.scene.camera import Cameras


def rotation_matrices(quats: torch.Tensor) -> torch.Tensor:
    """[N, 3, 3] from [N, 4] wxyz quaternions of any length."""
    w, x, y, z = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    entries = [
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    ]
    return torch.stack(entries, dim=-1).reshape(-1, 3, 3)


def render_reference(
    gaussians: Gaussians,
    cameras: Cameras,
    channels: torch.Tensor,
    background: torch.Tensor | None,
    near: float,
    antialiased: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`channels` [N, D] and camera z composited: ([C, H, W, D + 1], alpha [C, H, W]), in the Gaussians' dtype."""
    images = [_render_one(gaussians, cameras, c, channels, background, near, antialiased) for c in range(len(cameras))]
    return torch.stack([out for out, _ in images]), torch.stack([alpha for _, alpha in images])


def _render_one(
    gaussians: Gaussians,
    cameras: Cameras,
    index: int,
    channels: torch.Tensor,
    background: torch.Tensor | None,
    near: float,
    antialiased: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    dtype, device = gaussians.means.dtype, gaussians.means.device
    view = torch.as_tensor(cameras.world_to_camera[index], dtype=dtype, device=device)
    intrinsics = torch.as_tensor(cameras.intrinsics[index], dtype=dtype, device=device)
    width, height = cameras.width, cameras.height
    points = gaussians.means @ view[:3, :3].T + view[:3, 3]
    kept = torch.nonzero(points[:, 2] > near)[:, 0]
    kept = kept[torch.argsort(points[kept, 2].detach(), stable=True)]
    centers, covariance = projected(
        points[kept], gaussians.quats[kept], gaussians.scales[kept], view, intrinsics, (width, height)
    )
    opacity = gaussians.opacities[kept]
    blurred = covariance + BLUR * torch.eye(2, dtype=dtype, device=device)
    if antialiased:
        opacity = opacity * torch.sqrt(torch.clamp(torch.det(covariance) / torch.det(blurred), min=0))
    conic = torch.linalg.inv(blurred)
    conics = torch.stack([conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]], dim=-1)
    values = torch.cat([channels[kept], points[kept, 2:]], dim=1)
    out, total = composited(centers, conics, opacity, values, (width, height))
    if background is not None:
        behind = torch.cat([background[index], torch.zeros_like(background[index, :1])])
        out = out + (1 - total)[..., None] * behind
    return out, total


def projected(
    points: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    view: torch.Tensor,
    intrinsics: torch.Tensor,
    size: tuple[int, int],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres [N, 2] and covariances [N, 2, 2] in a picture of Gaussians whose places [N, 3] are the camera's own.

    Args:
        view: [4, 4] world to camera; size: (width, height).
    """
    (x, y, z), (width, height) = points.unbind(-1), size
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    tx = z * torch.clamp(x / z, -(cx / fx + margin_x), (width - cx) / fx + margin_x)
    ty = z * torch.clamp(y / z, -(cy / fy + margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2], dim=-1).reshape(-1, 2, 3)
    to_image = jacobian @ view[:3, :3] @ (rotation_matrices(quats) * scales[:, None, :])
    return torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1), to_image @ to_image.transpose(1, 2)


def composited(
    centers: torch.Tensor, conics: torch.Tensor, opacity: torch.Tensor, values: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values [N, D] of Gaussians, nearest first, over a picture of (width, height): ([H, W, D], alpha [H, W])."""
    dtype, device = centers.dtype, centers.device
    columns = torch.arange(size[0], dtype=dtype, device=device) + 0.5
    rows = torch.arange(size[1], dtype=dtype, device=device) + 0.5
    dx = columns[None, None, :] - centers[:, 0, None, None]
    dy = rows[None, :, None] - centers[:, 1, None, None]
    a, b, c = (conics[:, i, None, None] for i in range(3))
    falloff = torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alpha = torch.clamp(opacity[:, None, None] * falloff, max=ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, torch.zeros_like(alpha))

    after = torch.cumprod(1 - alpha, dim=0)
    alive = after > TRANSMITTANCE_MIN  # stays false once it is, as `after` never grows
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(alive, alpha * before, torch.zeros_like(alpha))
    return torch.einsum("nhw,nd->hwd", weights, values), weights.sum(dim=0)
