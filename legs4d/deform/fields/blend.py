"""Weighted sums of what a few nodes hold, for many Gaussians at several times."""

from __future__ import annotations

from typing import Any

import torch

from legs4d.deform.fields.binding import Binding


def blend(values: torch.Tensor, binding: Binding, count: int, weight: torch.Tensor | None = None) -> torch.Tensor:
    """What nodes hold, as the first `count` Gaussians get it: out[b, n] = Σ_j weight[n, j] · values[b, index[n, j]].

    Args:
        values: [B, K, C]; differentiable.
        weight: [count, J] in place of the binding's; differentiable.

    Returns:
        [B, count, C].
    """
    if values.device.type == "cuda":
        from legs4d.deform.fields.blend_cuda import BlendCuda

        return BlendCuda.apply(values, binding, count, weight)
    return _Blend.apply(values, binding, count, weight)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, binding: Binding, count: int, given: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.binding, ctx.shape, ctx.count = binding, values.shape, count
        index, weight = binding.index[:count].long(), binding.weight[:count] if given is None else given
        ctx.save_for_backward(values, weight)
        out = values[:, index[:, 0]] * weight[:, :1]
        for j in range(1, index.shape[1]):
            out = torch.addcmul(out, values[:, index[:, j]], weight[:, j : j + 1])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, torch.Tensor | None]:
        (pictures, nodes, width), (values, weight) = ctx.shape, ctx.saved_tensors
        index = ctx.binding.index[: ctx.count].long()
        # Rows by node, so that all pictures are added at once.
        rows = gradient.transpose(0, 1).reshape(ctx.count, pictures * width)
        out = gradient.new_zeros(nodes, pictures * width)
        for j in range(index.shape[1]):
            out.index_add_(0, index[:, j], rows * weight[:, j : j + 1])
        pull = ctx.binding.pull_of_weights(values, gradient) if ctx.needs_input_grad[3] else None
        return out.view(nodes, pictures, width).transpose(0, 1), None, None, pull
