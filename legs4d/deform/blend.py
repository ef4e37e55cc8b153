"""Weighted sums of what a few nodes hold, for many Gaussians at several times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Binding:
    """Which nodes carry each Gaussian, and the same the other way round. All on one device; kept in place when bound
    anew, so that a captured graph finds it.

    Attributes:
        index: [N, J] int32, the nodes of each Gaussian.
        weight: [N, J] float32, summing to 1.
        start: [K + 1] int32, where each node's part of `carried` and `share` begins.
        carried: [N · J] int32, Gaussians by node; share: [N · J] float32, the weight of each.
    """

    index: torch.Tensor
    weight: torch.Tensor
    start: torch.Tensor
    carried: torch.Tensor
    share: torch.Tensor

    @classmethod
    def empty(cls, count: int, bindings: int, nodes: int, device: torch.device) -> Binding:
        return cls(
            torch.zeros(count, bindings, dtype=torch.int32, device=device),
            torch.full((count, bindings), 1 / bindings, device=device),
            torch.zeros(nodes + 1, dtype=torch.int32, device=device),
            torch.zeros(count * bindings, dtype=torch.int32, device=device),
            torch.zeros(count * bindings, device=device),
        )

    def set(self, index: torch.Tensor, weight: torch.Tensor) -> None:
        """Bind the first n Gaussians to these nodes [n, J] with these weights [n, J]; the others, which are not there
        yet, follow the first node, as a pose of nothing at all is none."""
        count, bindings = index.shape
        self.index[count:], self.weight[count:] = 0, 0
        self.weight[count:, 0] = 1
        self.index[:count] = index.to(torch.int32)
        self.weight[:count] = weight
        order = index.flatten().argsort(stable=True)
        numbers = torch.arange(len(self.start), device=index.device)
        self.start.copy_(torch.searchsorted(index.flatten()[order].contiguous(), numbers))
        self.carried[: count * bindings] = (order // bindings).to(torch.int32)
        self.share[: count * bindings] = weight.flatten()[order]


def blend(values: torch.Tensor, binding: Binding, count: int) -> torch.Tensor:
    """What nodes hold, as the first `count` Gaussians get it: out[b, n] = Σ_j weight[n, j] · values[b, index[n, j]].

    Args:
        values: [B, K, C]; differentiable.

    Returns:
        [B, count, C].
    """
    if values.device.type == "cuda":
        from legs4d.deform.blend_cuda import BlendCuda

        return BlendCuda.apply(values, binding, count)
    return _Blend.apply(values, binding, count)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, binding: Binding, count: int) -> torch.Tensor:
        ctx.binding, ctx.shape, ctx.count = binding, values.shape, count
        index, weight = binding.index[:count].long(), binding.weight[:count]
        out = values[:, index[:, 0]] * weight[:, :1]
        for j in range(1, index.shape[1]):
            out = torch.addcmul(out, values[:, index[:, j]], weight[:, j : j + 1])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        binding, (pictures, nodes, width) = ctx.binding, ctx.shape
        index, weight = binding.index[: ctx.count].long(), binding.weight[: ctx.count]
        # Rows by node, so that all pictures are added at once.
        rows = gradient.transpose(0, 1).reshape(ctx.count, pictures * width)
        out = gradient.new_zeros(nodes, pictures * width)
        for j in range(index.shape[1]):
            out.index_add_(0, index[:, j], rows * weight[:, j : j + 1])
        return out.view(nodes, pictures, width).transpose(0, 1), None, None
