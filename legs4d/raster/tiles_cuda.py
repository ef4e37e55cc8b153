"""Pairs of a Gaussian and a tile that it fills, in two kernels. Their twin is what `tiles.in_tiles` does without them.

Radii are of rectangles. A Gaussian that lies across its own leaves corners of it empty, by which it would be put in
order and looked at by every pixel there for nothing (Hanson et al. 2025, Speedy-Splat). So each pair is asked whether
any pixel can see as much of the Gaussian as is drawn at all.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from legs4d.raster.constants import ALPHA_MIN

BLOCK = 256
SURELY = 0.99
"""Of the least that is drawn: what is rounded otherwise than where it is drawn is kept."""


@triton.jit
def _rectangle(centers, radii, number, mask, columns, rows, TILE: tl.constexpr):  # pragma: no cover  (compiled)
    """(x, y) of the centre, and (left, top, wide, high) in tiles; 0 wide and high where nothing is to be drawn."""
    x, y = tl.load(centers + 2 * number, mask=mask, other=0.0), tl.load(centers + 2 * number + 1, mask=mask, other=0.0)
    across = tl.load(radii + 2 * number, mask=mask, other=0)
    down = tl.load(radii + 2 * number + 1, mask=mask, other=0)
    seen = (across > 0) & (down > 0)
    wide, high = across.to(tl.float32), down.to(tl.float32)
    # Cut before they are whole numbers, which have a largest one.
    left = tl.minimum(tl.maximum(tl.floor((x - wide) / TILE), 0.0), columns * 1.0).to(tl.int32)
    right = tl.minimum(tl.maximum(tl.ceil((x + wide) / TILE), 0.0), columns * 1.0).to(tl.int32)
    top = tl.minimum(tl.maximum(tl.floor((y - high) / TILE), 0.0), rows * 1.0).to(tl.int32)
    bottom = tl.minimum(tl.maximum(tl.ceil((y + high) / TILE), 0.0), rows * 1.0).to(tl.int32)
    return x, y, left, top, tl.where(seen, right - left, 0), tl.where(seen, bottom - top, 0)


@triton.jit
def _touched(centers, radii, ranked, out, total, columns, rows, TILE: tl.constexpr, BLOCK: tl.constexpr):
    # pragma: no cover
    """Tiles of each Gaussian's rectangle, in the order of `ranked`."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < total
    number = tl.load(ranked + at, mask=mask, other=0)
    _x, _y, _left, _top, wide, high = _rectangle(centers, radii, number, mask, columns, rows, TILE)
    tl.store(out + at, wide * high, mask=mask)


@triton.jit
def _least(a, b, c, fixed, low, high):  # pragma: no cover
    """Least of ½ (a u² + c v²) + b u v where u is fixed and v between `low` and `high`."""
    v = tl.minimum(tl.maximum(-b * fixed / c, low), high)
    return 0.5 * (a * fixed * fixed + c * v * v) + b * fixed * v


@triton.jit
def _pairs(
    centers, radii, conics, opacities, ranked, ends, owners, tiles, numbers, total, each, columns, rows, nowhere, least,
    size, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip  # pragma: no cover
    """The tile and the Gaussian of each slot; `nowhere` for one that is left over, or whose Gaussian no pixel sees."""
    slot = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = slot < size
    owner = tl.minimum(tl.load(owners + slot, mask=mask, other=0), total - 1)
    number = tl.load(ranked + owner, mask=mask, other=0)
    x, y, left, top, wide, high = _rectangle(centers, radii, number, mask, columns, rows - 1, TILE)
    end = tl.load(ends + owner, mask=mask, other=0)
    within = slot - (end - wide * high).to(tl.int32)
    across = tl.maximum(wide, 1)
    row, column = top + within // across, left + within % across
    a = tl.load(conics + 3 * number, mask=mask, other=1.0)
    b = tl.load(conics + 3 * number + 1, mask=mask, other=0.0)
    c = tl.load(conics + 3 * number + 2, mask=mask, other=1.0)
    opacity = tl.load(opacities + number, mask=mask, other=0.0)
    # From the centre to the middles of the tile's outermost pixels.
    u_low, v_low = column * TILE + 0.5 - x, row * TILE + 0.5 - y
    u_high, v_high = u_low + (TILE - 1), v_low + (TILE - 1)
    sides = tl.minimum(_least(a, b, c, u_low, v_low, v_high), _least(a, b, c, u_high, v_low, v_high))
    ends_of = tl.minimum(_least(c, b, a, v_low, u_low, u_high), _least(c, b, a, v_high, u_low, u_high))
    inside = (u_low <= 0) & (u_high >= 0) & (v_low <= 0) & (v_high >= 0)
    away = tl.where(inside, 0.0, tl.minimum(sides, ends_of))
    there = (slot < end) & (opacity * tl.exp(-away) >= least)
    tile = ((number // each).to(tl.int32) * rows + row) * columns + column
    tl.store(tiles + slot, tl.where(there, tile, nowhere).to(tiles.dtype.element_ty), mask=mask)
    tl.store(numbers + slot, number.to(tl.int32), mask=mask)


def touched_tiles(
    centers: torch.Tensor, radii: torch.Tensor, ranked: torch.Tensor, columns: int, rows: int, tile: int
) -> torch.Tensor:
    """[B·N] int32: tiles of each Gaussian's rectangle, in the order of `ranked`; arguments as in `pairs`."""
    out = torch.empty(len(ranked), dtype=torch.int32, device=ranked.device)
    grid = (triton.cdiv(len(ranked), BLOCK),)
    _touched[grid](centers, radii, ranked, out, len(ranked), columns, rows - 1, TILE=tile, BLOCK=BLOCK)
    return out


def pairs(
    centers: torch.Tensor,
    radii: torch.Tensor,
    conics: torch.Tensor,
    opacities: torch.Tensor,
    ranked: torch.Tensor,
    ends: torch.Tensor,
    owners: torch.Tensor,
    columns: int,
    rows: int,
    tile: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(tile, position in B·N) of each slot, the first of the last row of tiles for one that holds nothing.

    Args:
        centers: [B, N, 2], radii: [B, N, 2], conics: [B, N, 3], opacities: [B, N]; contiguous.
        ranked: [B·N] positions, nearest first; ends: [B·N] where the slots of each end, in this order.
        owners: [S] int32 which of these each slot is of.
        rows: one more than are drawn.
    """
    size, (pictures, each) = len(owners), opacities.shape
    count = pictures * rows * columns
    kind = torch.int16 if count < 2**15 else torch.int32
    tiles = torch.empty(size, dtype=kind, device=owners.device)
    numbers = torch.empty(size, dtype=torch.int32, device=owners.device)
    _pairs[(triton.cdiv(size, BLOCK),)](
        *(centers, radii, conics, opacities, ranked, ends, owners, tiles, numbers),
        *(len(ranked), each, columns, rows, count - columns, SURELY * ALPHA_MIN, size),
        TILE=tile,
        BLOCK=BLOCK,
    )
    return tiles, numbers
