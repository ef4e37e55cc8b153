"""Losses of Dynamic 3D Gaussians (Luiten et al. 2024, section 3), as its published code computes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.raster.kernels import has_triton
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices
from legs4d.reconstruct.fitting.ssim_window import SSIM_C1, SSIM_C2, SSIM_WINDOW, ssim_window

TINY = 1e-20
"""Under square roots, so that their derivative at zero is finite."""


def _blur(images: torch.Tensor) -> torch.Tensor:
    """[B, H, W] under the SSIM window, zero outside the image."""
    window = ssim_window(images.dtype, images.device)
    half = SSIM_WINDOW // 2
    across = F.conv2d(images[:, None], window.view(1, 1, 1, -1), padding=(0, half))
    return F.conv2d(across, window.view(1, 1, -1, 1), padding=(half, 0))[:, 0]


def _ssim_torch(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    count, _, _, channels = first.shape
    x, y = (t.permute(0, 3, 1, 2).flatten(0, 1) for t in (first, second))
    blurred = _blur(torch.cat([x, y, x * x, y * y, x * y])).view(5, *x.shape)
    mean_x, mean_y = blurred[0], blurred[1]
    variance_x, variance_y = blurred[2] - mean_x**2, blurred[3] - mean_y**2
    covariance = blurred[4] - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + SSIM_C1) / (mean_x**2 + mean_y**2 + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_x + variance_y + SSIM_C2)
    return (luminance * structure).view(count, channels, -1).mean(dim=(1, 2))


class _SsimCpu(torch.autograd.Function):
    """`csrc`'s fused kernel: torch's convolutions take fifty times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        similarity, gradient = _csrc.ssim(
            first.detach().contiguous().numpy(), second.detach().contiguous().numpy(), default_threads()
        )
        ctx.save_for_backward(torch.from_numpy(gradient))
        return torch.from_numpy(similarity)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.saved_tensors[0] * gradient[:, None, None, None], None


def ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Structural similarity per image (Wang et al. 2004), [C] from two stacks [C, H, W, D] in 0..1.

    Differentiable in `first` alone where a kernel computes it, which is for float32.
    """
    if first.dtype != torch.float32:
        return _ssim_torch(first, second)
    if first.device.type == "cpu":
        return _SsimCpu.apply(first, second)
    if not has_triton():
        return _ssim_torch(first, second)
    from legs4d.reconstruct.fitting.ssim_cuda import SsimCuda

    return SsimCuda.apply(first, second)


def image_loss(rendered: torch.Tensor, truth: torch.Tensor, ssim_share: float) -> torch.Tensor:
    """(1 - s) · L1 + s · (1 - SSIM) over stacks [C, H, W, D] in 0..1."""
    absolute = (rendered - truth).abs().mean()
    if ssim_share == 0:
        return absolute
    return (1 - ssim_share) * absolute + ssim_share * (1 - ssim(rendered, truth).mean())


SOLID = 0.5
"""Alpha from which on what is drawn at a pixel has a depth."""


def depth_loss(drawn: torch.Tensor, alpha: torch.Tensor, measured: torch.Tensor, unit: float) -> torch.Tensor:
    """[] mean of |u / expected depth - u / measured depth| over pixels where both are known.

    Inverse depths, as a sensor's error grows with the distance (as in gsplat's trainer).

    Args:
        drawn: [C, H, W] alpha-weighted camera z; alpha: [C, H, W] in 0..1. Differentiable in both.
        measured: [C, H, W] camera z, 0 where it is not known.
        unit: u, in that of the depths.
    """
    counts = (measured > 0) & (alpha.detach() > SOLID) & (drawn.detach() > 0)
    off = unit * (alpha / torch.where(counts, drawn, 1) - 1 / torch.where(counts, measured, 1))
    return torch.where(counts, off.abs(), 0).sum() / counts.sum().clamp(min=1)


@dataclass(frozen=True)
class Neighbourhood:
    """What each moving Gaussian keeps to, fixed in the first frame.

    Attributes:
        index: [M, K] int64 nearest neighbours.
        weight: [M, K] exp(-λ d²), with d their distance in the first frame.
        distance: [M, K] that distance.
    """

    index: torch.Tensor
    weight: torch.Tensor
    distance: torch.Tensor


def motion_loss(
    means: torch.Tensor,
    quats: torch.Tensor,
    previous_means: torch.Tensor,
    previous_quats: torch.Tensor,
    neighbours: Neighbourhood,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Weighted sum of local rigidity, rotation similarity and isometry: equations 5 to 8 of the paper.

    Args:
        means, previous_means: [M, 3]; quats, previous_quats: [M, 4] unit wxyz. Differentiable in the first of each.
        weights: [3] of the three, in this order.
    """
    if means.device.type == "cpu" and means.dtype == torch.float32:
        return _MotionCpu.apply(means, quats, previous_means, previous_quats, neighbours, weights)
    if means.device.type == "cuda" and means.dtype == torch.float32 and neighbours.index.numel() and has_triton():
        from legs4d.reconstruct.fitting.motion_cuda import MotionCuda

        near = neighbours.index, neighbours.weight, neighbours.distance
        return MotionCuda.apply(means, quats, previous_means, previous_quats, *near, weights, TINY)
    return weights @ motion_losses_torch(means, quats, previous_means, previous_quats, neighbours)


class _MotionCpu(torch.autograd.Function):
    """`csrc`'s kernel: on a CPU torch spends a second on the temporaries of what takes 20 ms."""

    @staticmethod
    def forward(
        ctx: Any,
        means: torch.Tensor,
        quats: torch.Tensor,
        previous_means: torch.Tensor,
        previous_quats: torch.Tensor,
        neighbours: Neighbourhood,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        tensors = {
            "means": means,
            "quats": quats,
            "previous_means": previous_means,
            "previous_quats": previous_quats,
            "index": neighbours.index,
            "weight": neighbours.weight,
            "distance": neighbours.distance,
            "factors": weights,
        }
        arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
        losses, v_means, v_quats = _csrc.motion_losses(**arrays, threads=default_threads())
        ctx.save_for_backward(torch.from_numpy(v_means), torch.from_numpy(v_quats))
        return weights @ torch.from_numpy(losses).to(weights.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        v_means, v_quats = ctx.saved_tensors
        return gradient * v_means, gradient * v_quats, None, None, None, None


def motion_losses_torch(
    means: torch.Tensor,
    quats: torch.Tensor,
    previous_means: torch.Tensor,
    previous_quats: torch.Tensor,
    neighbours: Neighbourhood,
) -> torch.Tensor:
    """[3] the three terms of `motion_loss` in plain PyTorch, for CUDA and for any precision."""
    index, weight = neighbours.index, neighbours.weight
    inverse = previous_quats * previous_quats.new_tensor([1, -1, -1, -1])
    turned = multiply(quats, inverse)
    offsets = means[index] - means[:, None]
    previous_offsets = previous_means[index] - previous_means[:, None]
    # Rᵀ o, where R is how the Gaussian has turned since the previous frame.
    carried_back = torch.einsum("mji,mkj->mki", rotation_matrices(turned), offsets)
    rigid = torch.sqrt(((carried_back - previous_offsets) ** 2).sum(-1) * weight + TINY).mean()
    rotation = torch.sqrt(((turned[index] - turned[:, None]) ** 2).sum(-1) * weight + TINY).mean()
    lengths = torch.sqrt((offsets**2).sum(-1) + TINY)
    isometry = torch.sqrt((lengths - neighbours.distance) ** 2 * weight + TINY).mean()
    return torch.stack([rigid, rotation, isometry])


def floor_loss(means: torch.Tensor, down: torch.Tensor, floor: float) -> torch.Tensor:
    """Mean depth below the floor, the plane down · x = floor."""
    return torch.clamp(means @ down - floor, min=0).mean()
