"""The slow, obvious twins of `tiles.project` and `tiles.composite`: on a CPU, what is captured on CUDA can be tried by
them step by step."""

from __future__ import annotations

import torch

from legs4d.raster.constants import ALPHA_MIN, BLUR
from legs4d.raster.reference import composited, projected

FAR = 3.33
"""Standard deviations at which gsplat cuts every Gaussian off."""

Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def project_reference(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    viewmats: torch.Tensor,
    intrinsics: torch.Tensor,
    size: tuple[int, int],
    near: float,
) -> Parts:
    """(centers, radii, depths, conics) of `tiles.Projected`; all as `tiles.project` has them."""
    pictures: list[Parts] = []
    for b, (view, lens) in enumerate(zip(viewmats, intrinsics, strict=True)):
        own = [values[b] if means.ndim == 3 else values for values in (means, quats, scales, opacities)]
        points = own[0] @ view[:3, :3].T + view[:3, 3]
        ahead = points[:, 2] > near
        places = torch.where(ahead[:, None], points, torch.ones_like(points))
        centers, covariance = projected(places, own[1], own[2], view, lens, size)
        blurred = covariance + BLUR * torch.eye(2)
        conic = torch.linalg.inv(blurred)
        with torch.no_grad():
            reach = torch.sqrt(2 * torch.log((own[3] / ALPHA_MIN).clamp(min=1))).clamp(max=FAR)
            radii = torch.ceil(reach[:, None] * torch.sqrt(torch.diagonal(blurred, dim1=1, dim2=2)))
            within = (centers + radii > 0) & (centers - radii < torch.tensor(size))
            shown = ahead & within.all(dim=1) & (own[3] >= ALPHA_MIN)
            radii = (radii * shown[:, None]).to(torch.int32)
        conics = torch.stack([conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]], dim=-1)
        pictures.append((centers, radii, places[:, 2], conics))
    centers, radii, depths, conics = (torch.stack(parts) for parts in zip(*pictures, strict=True))
    return centers, radii, depths, conics


def composite_reference(
    given: Parts, channels: torch.Tensor, opacities: torch.Tensor, size: tuple[int, int], drawn: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`tiles.composite` without background: over (width, height) pixels, those of `drawn` [B, height, width] alone."""
    out, alphas = [], []
    for b, (centers, radii, depths, conics) in enumerate(zip(*given, strict=True)):
        shown = (radii > 0).all(dim=-1).nonzero()[:, 0]
        order = shown[depths[shown].argsort(stable=True)]
        values = centers[order], conics[order], opacities[b, order], channels[b, order]
        one, alpha = composited(*values, size)
        out.append(one * drawn[b, ..., None])
        alphas.append(alpha * drawn[b])
    return torch.stack(out), torch.stack(alphas)
