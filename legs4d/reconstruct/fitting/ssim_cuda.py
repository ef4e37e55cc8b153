"""SSIM and its gradient on CUDA: four passes over memory in Triton, where torch's convolutions take ten times as long.

The window of SSIM is a Gaussian, which is separable and symmetric: blurring is its own transpose, so the gradient is
three blurred maps more. Channels stay interleaved: the taps along a row are as far apart as there are channels.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from legs4d.reconstruct.fitting.ssim_window import SSIM_C1, SSIM_C2, SSIM_WINDOW, ssim_window

BLOCK = 512
"""Elements that a program works on."""


@triton.jit
def _moments_along_rows(
    x_map, y_map, taps, out, row, channels, total, TAPS: tl.constexpr, BLOCK: tl.constexpr
):  # pragma: no cover  (compiled)
    """Row-wise blurs of x, y, x², y² and x·y, one after the other in `out` [5, total]."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    along = (at % row).to(tl.int32)
    x_sum = tl.zeros([BLOCK], tl.float32)
    y_sum, xx_sum, yy_sum, xy_sum = x_sum, x_sum, x_sum, x_sum
    for k in tl.static_range(TAPS):
        shift = (k - TAPS // 2) * channels
        there = inside & (along + shift >= 0) & (along + shift < row)
        tap = tl.load(taps + k)
        x = tl.load(x_map + at + shift, mask=there, other=0.0)
        y = tl.load(y_map + at + shift, mask=there, other=0.0)
        x_sum += tap * x
        y_sum += tap * y
        xx_sum += tap * x * x
        yy_sum += tap * y * y
        xy_sum += tap * x * y
    tl.store(out + at, x_sum, mask=inside)
    tl.store(out + total + at, y_sum, mask=inside)
    tl.store(out + 2 * total + at, xx_sum, mask=inside)
    tl.store(out + 3 * total + at, yy_sum, mask=inside)
    tl.store(out + 4 * total + at, xy_sum, mask=inside)


@triton.jit
def _similarity(
    moments, taps, sums, slopes, row, height, size, total, blocks, C1, C2, TAPS: tl.constexpr, BLOCK: tl.constexpr
):  # pragma: no cover
    """Column-wise blurs of the moments, SSIM summed per block, and its slopes by E[x], E[x²] and E[xy]."""
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    within = block * BLOCK + tl.arange(0, BLOCK)
    inside = within < size
    at = image * size + within
    line = within // row
    x = tl.zeros([BLOCK], tl.float32)
    y, xx, yy, xy = x, x, x, x
    for k in tl.static_range(TAPS):
        down = k - TAPS // 2
        there = inside & (line + down >= 0) & (line + down < height)
        tap = tl.load(taps + k)
        source = moments + at + down * row
        x += tap * tl.load(source, mask=there, other=0.0)
        y += tap * tl.load(source + total, mask=there, other=0.0)
        xx += tap * tl.load(source + 2 * total, mask=there, other=0.0)
        yy += tap * tl.load(source + 3 * total, mask=there, other=0.0)
        xy += tap * tl.load(source + 4 * total, mask=there, other=0.0)
    a1 = 2 * x * y + C1
    a2 = 2 * (xy - x * y) + C2
    b1 = x * x + y * y + C1
    b2 = (xx - x * x) + (yy - y * y) + C2
    below = 1 / (b1 * b2)
    similarity = a1 * a2 * below
    tl.store(sums + image * blocks + block, tl.sum(tl.where(inside, similarity, 0.0), axis=0))
    by_x = 2 * y * (a2 - a1) * below + 2 * x * similarity * (1 / b2 - 1 / b1)
    tl.store(slopes + at, by_x, mask=inside)
    tl.store(slopes + total + at, -similarity / b2, mask=inside)
    tl.store(slopes + 2 * total + at, 2 * a1 * below, mask=inside)


@triton.jit
def _blur_columns(maps, taps, out, row, height, total, TAPS: tl.constexpr, BLOCK: tl.constexpr):  # pragma: no cover
    """Column-wise blur of the three slopes."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    line = ((at // row) % height).to(tl.int32)
    first = tl.zeros([BLOCK], tl.float32)
    second, third = first, first
    for k in tl.static_range(TAPS):
        down = k - TAPS // 2
        there = inside & (line + down >= 0) & (line + down < height)
        tap = tl.load(taps + k)
        source = maps + at + down * row
        first += tap * tl.load(source, mask=there, other=0.0)
        second += tap * tl.load(source + total, mask=there, other=0.0)
        third += tap * tl.load(source + 2 * total, mask=there, other=0.0)
    tl.store(out + at, first, mask=inside)
    tl.store(out + total + at, second, mask=inside)
    tl.store(out + 2 * total + at, third, mask=inside)


@triton.jit
def _gradient(
    maps, x_map, y_map, pull, taps, out, row, channels, size, total, TAPS: tl.constexpr, BLOCK: tl.constexpr
):  # pragma: no cover
    """Row-wise blur of the slopes, put together to the gradient by x, times what each image's SSIM is worth."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    along = (at % row).to(tl.int32)
    first = tl.zeros([BLOCK], tl.float32)
    second, third = first, first
    for k in tl.static_range(TAPS):
        shift = (k - TAPS // 2) * channels
        there = inside & (along + shift >= 0) & (along + shift < row)
        tap = tl.load(taps + k)
        source = maps + at + shift
        first += tap * tl.load(source, mask=there, other=0.0)
        second += tap * tl.load(source + total, mask=there, other=0.0)
        third += tap * tl.load(source + 2 * total, mask=there, other=0.0)
    x = tl.load(x_map + at, mask=inside, other=0.0)
    y = tl.load(y_map + at, mask=inside, other=0.0)
    worth = tl.load(pull + at // size, mask=inside, other=0.0)
    tl.store(out + at, worth * (first + 2 * x * second + y * third), mask=inside)


class SsimCuda(torch.autograd.Function):
    """[C] SSIM of two stacks [C, H, W, D]; differentiable in the first."""

    @staticmethod
    def forward(ctx: Any, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        x, y = first.detach().contiguous(), second.detach().contiguous()
        count, height, width, channels = x.shape
        row, size, total = width * channels, height * width * channels, x.numel()
        blocks, grid = -(-size // BLOCK), (-(-total // BLOCK),)
        taps = ssim_window(x.dtype, x.device)
        moments, slopes = x.new_empty(5, total), x.new_empty(3, total)
        sums = x.new_empty(count, blocks)
        _moments_along_rows[grid](x, y, taps, moments, row, channels, total, TAPS=SSIM_WINDOW, BLOCK=BLOCK)
        _similarity[(count, blocks)](
            *(moments, taps, sums, slopes, row, height, size, total, blocks, SSIM_C1, SSIM_C2),
            TAPS=SSIM_WINDOW,
            BLOCK=BLOCK,
        )
        ctx.save_for_backward(x, y, slopes, taps)
        return sums.sum(dim=1) / size

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, y, slopes, taps = ctx.saved_tensors
        _, height, width, channels = x.shape
        row, size, total = width * channels, height * width * channels, x.numel()
        grid = (-(-total // BLOCK),)
        blurred, out = torch.empty_like(slopes), torch.empty_like(x)
        pull = (gradient / size).contiguous()
        _blur_columns[grid](slopes, taps, blurred, row, height, total, TAPS=SSIM_WINDOW, BLOCK=BLOCK)
        _gradient[grid](*(blurred, x, y, pull, taps, out, row, channels, size, total), TAPS=SSIM_WINDOW, BLOCK=BLOCK)
        return out, None
