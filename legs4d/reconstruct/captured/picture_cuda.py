"""The loss of a rendering against pictures, and its gradient, in five kernels on CUDA, which work on tiles that are
drawn, and their neighbours, alone. Its twin is `pictures.loss_torch`.

Colours and the share of foreground are four channels, interleaved. A tile that is not drawn shows the picture by
decree, so its loss is 0, and the window of SSIM reaches less far than a tile. What is worked out for a tile's neighbour
may rest on memory that nothing has written, but then nothing that is drawn rests on it.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from legs4d.reconstruct.fitting.ssim_window import SSIM_C1, SSIM_C2, SSIM_WINDOW, ssim_window

TILE = 16
"""Pixels, as rendered; more than half of SSIM's window."""
WARPS = 8


@triton.jit
def _near(active, image, row, column, rows, columns, REACH: tl.constexpr):  # pragma: no cover  (compiled)
    """Whether a tile, or one within `REACH` of it to all sides, is drawn."""
    slot = tl.arange(0, 32)
    side: tl.constexpr = 2 * REACH + 1
    down, across = row + slot // side - REACH, column + slot % side - REACH
    inside = (slot < side * side) & (down >= 0) & (down < rows) & (across >= 0) & (across < columns)
    found = tl.load(active + (image * rows + down) * columns + across, mask=inside, other=0)
    return tl.max(found.to(tl.int32), axis=0) > 0


@triton.jit
def _place(columns, TILE: tl.constexpr):  # pragma: no cover
    """(tile's row, tile's column, and of each of its numbers the row and column in the picture, and the channel)."""
    tile_row, tile_column = tl.program_id(0) // columns, tl.program_id(0) % columns
    number = tl.arange(0, TILE * TILE * 4)
    channel, pixel = number % 4, number // 4
    return tile_row, tile_column, tile_row * TILE + pixel // TILE, tile_column * TILE + pixel % TILE, channel


@triton.jit
def _seen(
    drawn, which, truth, region, gain, offset, light, out, height, width, drawn_height, drawn_width, columns,
    SATURATED: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip  # pragma: no cover
    """The rendering as its cameras see it: in their colours, no brighter than white, and the picture where nothing
    moves."""
    _, _, row, column, channel = _place(columns, TILE)
    image = tl.program_id(1)
    camera = tl.load(which + image)
    inside = (row < height) & (column < width)
    pixel = (camera * height + row) * width + column
    value = tl.load(
        drawn + ((image * drawn_height + row).to(tl.int64) * drawn_width + column) * 4 + channel, mask=inside, other=0.0
    )
    right = tl.load(truth + pixel * 4 + channel, mask=inside, other=0.0)
    needed = tl.load(region + pixel, mask=inside, other=0) != 0
    color = channel < 3
    part = inside & color
    factor = tl.load(gain + camera * 3 + channel, mask=part, other=0.0) * tl.load(light + pixel, mask=part, other=0.0)
    toned = factor * value + tl.load(offset + camera * 3 + channel, mask=part, other=0.0)
    toned = tl.where(right >= SATURATED, tl.minimum(toned, right), toned)
    shown = tl.where(color, tl.where(needed, toned, right), value)
    tl.store(out + ((image * height + row).to(tl.int64) * width + column) * 4 + channel, shown, mask=inside)


@triton.jit
def _moments(
    seen, which, truth, active, taps, out, height, width, rows, columns, total, TAPS: tl.constexpr, TILE: tl.constexpr
):  # pragma: no cover
    """Row-wise blurs of x, y, x², y² and x·y, one after the other in `out` [5, total]."""
    tile_row, tile_column, row, column, channel = _place(columns, TILE)
    image = tl.program_id(1)
    if _near(active, image, tile_row, tile_column, rows, columns, 2):
        camera = tl.load(which + image)
        inside = (row < height) & (column < width)
        at = ((image * height + row).to(tl.int64) * width + column) * 4 + channel
        there = ((camera * height + row) * width + column) * 4 + channel
        x_sum = tl.zeros([TILE * TILE * 4], tl.float32)
        y_sum, xx_sum, yy_sum, xy_sum = x_sum, x_sum, x_sum, x_sum
        for k in tl.static_range(TAPS):
            shift = k - TAPS // 2
            within = inside & (column + shift >= 0) & (column + shift < width)
            tap = tl.load(taps + k)
            x = tl.load(seen + at + shift * 4, mask=within, other=0.0)
            y = tl.load(truth + there + shift * 4, mask=within, other=0.0)
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
def _compared(
    seen, which, truth, active, taps, moments, worth, sums, slopes, height, width, rows, columns, total, share,
    C1, C2, TAPS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip  # pragma: no cover
    """Column-wise blurs of the moments; the loss summed per tile; slopes of SSIM by E[x], E[x²] and E[xy]."""
    tile_row, tile_column, row, column, channel = _place(columns, TILE)
    image = tl.program_id(1)
    program = image * tl.num_programs(0) + tl.program_id(0)
    if _near(active, image, tile_row, tile_column, rows, columns, 1):
        camera = tl.load(which + image)
        inside = (row < height) & (column < width)
        at = ((image * height + row).to(tl.int64) * width + column) * 4 + channel
        x = tl.zeros([TILE * TILE * 4], tl.float32)
        y, xx, yy, xy = x, x, x, x
        for k in tl.static_range(TAPS):
            down = k - TAPS // 2
            within = inside & (row + down >= 0) & (row + down < height)
            tap = tl.load(taps + k)
            source = moments + at + down * width * 4
            x += tap * tl.load(source, mask=within, other=0.0)
            y += tap * tl.load(source + total, mask=within, other=0.0)
            xx += tap * tl.load(source + 2 * total, mask=within, other=0.0)
            yy += tap * tl.load(source + 3 * total, mask=within, other=0.0)
            xy += tap * tl.load(source + 4 * total, mask=within, other=0.0)
        a1 = 2 * x * y + C1
        a2 = 2 * (xy - x * y) + C2
        b1 = x * x + y * y + C1
        b2 = (xx - x * x) + (yy - y * y) + C2
        below = 1 / (b1 * b2)
        similarity = a1 * a2 * below
        by_x = 2 * y * (a2 - a1) * below + 2 * x * similarity * (1 / b2 - 1 / b1)
        tl.store(slopes + at, by_x, mask=inside)
        tl.store(slopes + total + at, -similarity / b2, mask=inside)
        tl.store(slopes + 2 * total + at, 2 * a1 * below, mask=inside)
        own = tl.load(seen + at, mask=inside, other=0.0)
        right = tl.load(truth + ((camera * height + row) * width + column) * 4 + channel, mask=inside, other=0.0)
        loss = tl.load(worth + channel) * ((1 - share) * tl.abs(own - right) + share * (1 - similarity))
        tl.store(sums + program, tl.sum(tl.where(inside, loss, 0.0), axis=0))
    else:
        tl.store(sums + program, 0.0)


@triton.jit
def _blur_columns(
    slopes, active, taps, out, height, width, rows, columns, total, TAPS: tl.constexpr, TILE: tl.constexpr
):  # pragma: no cover
    """Column-wise blur of the three slopes."""
    tile_row, tile_column, row, column, channel = _place(columns, TILE)
    image = tl.program_id(1)
    if _near(active, image, tile_row, tile_column, rows, columns, 1):
        inside = (row < height) & (column < width)
        at = ((image * height + row).to(tl.int64) * width + column) * 4 + channel
        first = tl.zeros([TILE * TILE * 4], tl.float32)
        second, third = first, first
        for k in tl.static_range(TAPS):
            down = k - TAPS // 2
            within = inside & (row + down >= 0) & (row + down < height)
            tap = tl.load(taps + k)
            source = slopes + at + down * width * 4
            first += tap * tl.load(source, mask=within, other=0.0)
            second += tap * tl.load(source + total, mask=within, other=0.0)
            third += tap * tl.load(source + 2 * total, mask=within, other=0.0)
        tl.store(out + at, first, mask=inside)
        tl.store(out + total + at, second, mask=inside)
        tl.store(out + 2 * total + at, third, mask=inside)


@triton.jit
def _gradient(
    drawn, seen, which, truth, region, gain, offset, light, active, taps, blurred, worth, pull, out,
    height, width, drawn_height, drawn_width, rows, columns, total, share,
    SATURATED: tl.constexpr, TAPS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip  # pragma: no cover
    """Row-wise blur of the slopes, put together with L1's to the gradient by what was drawn; 0 outside the picture."""
    tile_row, tile_column, row, column, channel = _place(columns, TILE)
    image = tl.program_id(1)
    if _near(active, image, tile_row, tile_column, rows, columns, 0):
        camera = tl.load(which + image)
        inside = (row < height) & (column < width)
        at = ((image * height + row).to(tl.int64) * width + column) * 4 + channel
        first = tl.zeros([TILE * TILE * 4], tl.float32)
        second, third = first, first
        for k in tl.static_range(TAPS):
            shift = k - TAPS // 2
            within = inside & (column + shift >= 0) & (column + shift < width)
            tap = tl.load(taps + k)
            source = blurred + at + shift * 4
            first += tap * tl.load(source, mask=within, other=0.0)
            second += tap * tl.load(source + total, mask=within, other=0.0)
            third += tap * tl.load(source + 2 * total, mask=within, other=0.0)
        pixel = (camera * height + row) * width + column
        x = tl.load(seen + at, mask=inside, other=0.0)
        y = tl.load(truth + pixel * 4 + channel, mask=inside, other=0.0)
        sign = tl.where(x > y, 1.0, tl.where(x < y, -1.0, 0.0))
        slope = (1 - share) * sign - share * (first + 2 * x * second + y * third)
        color = channel < 3
        part = inside & color
        needed = tl.load(region + pixel, mask=inside, other=0) != 0
        factor = tl.load(gain + camera * 3 + channel, mask=part, other=0.0)
        factor *= tl.load(light + pixel, mask=part, other=0.0)
        place = ((image * drawn_height + row).to(tl.int64) * drawn_width + column) * 4 + channel
        toned = factor * tl.load(drawn + place, mask=part, other=0.0)
        toned += tl.load(offset + camera * 3 + channel, mask=part, other=0.0)
        white = (y >= SATURATED) & (toned > y)
        through = tl.where(color, tl.where(needed & ~white, factor, 0.0), 1.0)
        found = tl.load(pull) * tl.load(worth + channel) * slope * through
        tl.store(out + place, tl.where(inside, found, 0.0))


class PictureCuda(torch.autograd.Function):
    """See `pictures.Pictures.loss`."""

    @staticmethod
    def forward(
        ctx: Any,
        drawn: torch.Tensor,
        which: torch.Tensor,
        truth: torch.Tensor,
        region: torch.Tensor,
        active: torch.Tensor,
        gain: torch.Tensor,
        offset: torch.Tensor,
        light: torch.Tensor,
        worth: torch.Tensor,
        share: float,
        saturated: float,
    ) -> torch.Tensor:
        drawn = drawn.detach().contiguous()
        count, drawn_height, drawn_width, _ = drawn.shape
        _, height, width, _ = truth.shape
        _, rows, columns = active.shape
        total, grid = count * height * width * 4, (rows * columns, count)
        taps = ssim_window(drawn.dtype, drawn.device)
        seen = drawn.new_empty(count, height, width, 4)
        cut, slopes = drawn.new_empty(5, total), drawn.new_empty(3, total)
        sums = drawn.new_empty(count * rows * columns)
        _seen[grid](
            *(
                drawn,
                which,
                truth,
                region,
                gain,
                offset,
                light,
                seen,
                height,
                width,
                drawn_height,
                drawn_width,
                columns,
            ),
            SATURATED=saturated,
            TILE=TILE,
            num_warps=WARPS,
        )
        options = {"TAPS": SSIM_WINDOW, "TILE": TILE, "num_warps": WARPS}
        _moments[grid](seen, which, truth, active, taps, cut, height, width, rows, columns, total, **options)
        _compared[grid](
            *(seen, which, truth, active, taps, cut, worth, sums, slopes, height, width, rows, columns, total, share),
            *(SSIM_C1, SSIM_C2),
            **options,
        )
        ctx.save_for_backward(drawn, seen, which, truth, region, gain, offset, light, active, taps, slopes, worth)
        ctx.share, ctx.saturated = share, saturated
        return sums.sum()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        drawn, seen, which, truth, region, gain, offset, light, active, taps, slopes, worth = ctx.saved_tensors
        count, drawn_height, drawn_width, _ = drawn.shape
        _, height, width, _ = truth.shape
        _, rows, columns = active.shape
        total, grid = count * height * width * 4, (rows * columns, count)
        toned = any(ctx.needs_input_grad[5:8])
        blurred, out = torch.empty_like(slopes), torch.zeros_like(drawn) if toned else torch.empty_like(drawn)
        options = {"TAPS": SSIM_WINDOW, "TILE": TILE, "num_warps": WARPS}
        _blur_columns[grid](slopes, active, taps, blurred, height, width, rows, columns, total, **options)
        _gradient[grid](
            *(drawn, seen, which, truth, region, gain, offset, light, active, taps, blurred, worth, gradient, out),
            *(height, width, drawn_height, drawn_width, rows, columns, total, ctx.share),
            SATURATED=ctx.saturated,
            **options,
        )
        tones = _tones(drawn, out, which, gain, light) if toned else (None,) * 3
        return out, *(None,) * 4, *tones, *(None,) * 3


def _tones(
    drawn: torch.Tensor, pulled: torch.Tensor, which: torch.Tensor, gain: torch.Tensor, light: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients by gain, offset and light, from that by what was drawn, which is gain · light times that by the colour
    that a camera sees."""
    _, height, width = light.shape
    pulled = pulled[:, :height, :width, :3]
    drawing = pulled * drawn[:, :height, :width, :3]
    shone, factor = light[which], gain[which]
    by_gain = gain.new_zeros(gain.shape).index_add_(0, which, drawing.sum(dim=(1, 2)) / factor)
    offset = (pulled / shone[..., None]).sum(dim=(1, 2)) / factor
    by_offset = gain.new_zeros(gain.shape).index_add_(0, which, offset)
    by_light = light.new_zeros(light.shape).index_add_(0, which, drawing.sum(dim=-1) / shone)
    return by_gain, by_offset, by_light
