"""`blend` on CUDA, in Triton: forward by Gaussian, backward by node, so that nothing is added atomically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
import triton.language as tl

if TYPE_CHECKING:
    from legs4d.deform.fields.binding import Binding

BLOCK, ENTRIES = 64, 32
"""Gaussians that a program of the forward pass works on; of a node's, those that one of the backward adds at once."""


@triton.jit
def _forward(
    values, index, weight, out, count, nodes, width, J: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr
):  # pragma: no cover  (compiled)
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    picture = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    inside = row < count
    both = inside[:, None] & (column < width)[None, :]
    total = tl.zeros([BLOCK, WIDTH], tl.float32)
    for j in tl.static_range(J):
        node = tl.load(index + row * J + j, mask=inside, other=0)
        share = tl.load(weight + row * J + j, mask=inside, other=0.0)
        at = (picture * nodes + node)[:, None] * width + column[None, :]
        total += share[:, None] * tl.load(values + at, mask=both, other=0.0)
    tl.store(out + (picture * count + row)[:, None] * width + column[None, :], total, mask=both)


@triton.jit
def _backward(
    pull, start, carried, share, out, count, nodes, width, ENTRIES: tl.constexpr, WIDTH: tl.constexpr
):  # pragma: no cover
    node = tl.program_id(0)
    picture = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    first, last = tl.load(start + node), tl.load(start + node + 1)
    total = tl.zeros([WIDTH], tl.float32)
    for begin in range(first, last, ENTRIES):
        entry = begin + tl.arange(0, ENTRIES)
        inside = entry < last
        which = tl.load(carried + entry, mask=inside, other=0)
        inside = inside & (which < count)
        weight = tl.load(share + entry, mask=inside, other=0.0)
        both = inside[:, None] & (column < width)[None, :]
        rows = tl.load(pull + (picture * count + which)[:, None] * width + column[None, :], mask=both, other=0.0)
        total += tl.sum(weight[:, None] * rows, axis=0)
    tl.store(out + (picture * nodes + node) * width + column, total, mask=column < width)


class BlendCuda(torch.autograd.Function):
    """See `blend.blend`."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, binding: Binding, count: int, given: torch.Tensor | None
    ) -> torch.Tensor:
        pictures, nodes, width = values.shape
        weight = binding.weight if given is None else given.contiguous()
        ctx.binding, ctx.shape, ctx.count, ctx.is_given = binding, values.shape, count, given is not None
        ctx.save_for_backward(values, weight)
        out = values.new_empty(pictures, count, width)
        columns = triton.next_power_of_2(width)
        _forward[(triton.cdiv(count, BLOCK), pictures)](
            *(values.contiguous(), binding.index, weight, out, count, nodes, width),
            J=binding.index.shape[1],
            BLOCK=BLOCK,
            WIDTH=columns,
        )
        return out

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, torch.Tensor | None]:
        binding, (pictures, nodes, width), (values, weight) = ctx.binding, ctx.shape, ctx.saved_tensors
        share = binding.share
        if ctx.is_given:  # in the order of the nodes; Gaussians beyond the count are left out by the kernel
            share = weight.flatten()[binding.order.clamp(max=weight.numel() - 1)]
        out = gradient.new_empty(pictures, nodes, width)
        columns = triton.next_power_of_2(width)
        _backward[(nodes, pictures)](
            *(gradient.contiguous(), binding.start, binding.carried, share, out, ctx.count, nodes, width),
            ENTRIES=ENTRIES,
            WIDTH=columns,
        )
        pull = None
        if ctx.needs_input_grad[3]:
            pull = binding.pull_of_weights(values, gradient)
        return out, None, None, pull
