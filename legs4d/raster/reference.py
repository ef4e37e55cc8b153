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
    x, y, z = points[kept].unbind(-1)
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]

    margin_x, margin_y = FRUSTUM_MARGIN * 0.5 * width / fx, FRUSTUM_MARGIN * 0.5 * height / fy
    tx = z * torch.clamp(x / z, -(cx / fx + margin_x), (width - cx) / fx + margin_x)
    ty = z * torch.clamp(y / z, -(cy / fy + margin_y), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2], dim=-1).reshape(-1, 2, 3)
    axes = rotation_matrices(gaussians.quats[kept]) * gaussians.scales[kept][:, None, :]
    to_image = jacobian @ view[:3, :3] @ axes
    covariance = to_image @ to_image.transpose(1, 2)
    blurred = covariance + BLUR * torch.eye(2, dtype=dtype, device=device)
    opacity = gaussians.opacities[kept]
    if antialiased:
        opacity = opacity * torch.sqrt(torch.clamp(torch.det(covariance) / torch.det(blurred), min=0))
    conic = torch.linalg.inv(blurred)

    columns = torch.arange(width, dtype=dtype, device=device) + 0.5
    rows = torch.arange(height, dtype=dtype, device=device) + 0.5
    dx = columns[None, None, :] - (fx * x / z + cx)[:, None, None]
    dy = rows[None, :, None] - (fy * y / z + cy)[:, None, None]
    a, b, c = (conic[:, i, j][:, None, None] for i, j in ((0, 0), (0, 1), (1, 1)))
    falloff = torch.exp(-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy)
    alpha = torch.clamp(opacity[:, None, None] * falloff, max=ALPHA_MAX)
    alpha = torch.where(alpha >= ALPHA_MIN, alpha, torch.zeros_like(alpha))

    after = torch.cumprod(1 - alpha, dim=0)
    alive = after > TRANSMITTANCE_MIN  # stays false once it is, as `after` never grows
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    weights = torch.where(alive, alpha * before, torch.zeros_like(alpha))
    values = torch.cat([channels[kept], z[:, None]], dim=1)
    out = torch.einsum("nhw,nd->hwd", weights, values)
    total = weights.sum(dim=0)
    if background is not None:
        behind = torch.cat([background[index], torch.zeros_like(background[index, :1])])
        out = out + (1 - total)[..., None] * behind
    return out, total
