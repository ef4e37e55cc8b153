"""A step of Adam on CUDA for one large tensor. PyTorch's fused kernel cuts tensors into parts so large that one of two
million numbers keeps a third of an H200 busy, and takes ten times as long."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 1024


@triton.jit
def _step(
    value, gradient, first, second, steps, rate, total, BETA1: tl.constexpr, BETA2: tl.constexpr, EPSILON: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip  # pragma: no cover  (compiled)
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    taken = tl.load(steps)
    g = tl.load(gradient + at, mask=inside, other=0.0)
    m = tl.load(first + at, mask=inside, other=0.0) * BETA1 + (1 - BETA1) * g
    v = tl.load(second + at, mask=inside, other=0.0) * BETA2 + (1 - BETA2) * g * g
    short1 = 1 - tl.exp(taken * tl.log(BETA1 + 0.0))
    short2 = 1 - tl.exp(taken * tl.log(BETA2 + 0.0))
    change = tl.load(rate) / short1 * m / (tl.sqrt(v / short2) + EPSILON)
    tl.store(first + at, m, mask=inside)
    tl.store(second + at, v, mask=inside)
    tl.store(value + at, tl.load(value + at, mask=inside, other=0.0) - change, mask=inside)


def step_large(
    value: torch.Tensor,
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    steps: torch.Tensor,
    rate: torch.Tensor,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Move `value` in place, and its moments; `steps` [] counts this one already, `rate` [] is on the device."""
    total = value.numel()
    _step[(triton.cdiv(total, BLOCK),)](
        *(value, gradient.contiguous(), first, second, steps, rate, total),
        BETA1=betas[0],
        BETA2=betas[1],
        EPSILON=epsilon,
        BLOCK=BLOCK,
    )
