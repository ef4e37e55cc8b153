"""The transpose of rendering on CUDA: `csrc/cuda` behind torch tensors. See csrc/cuda/lift.h for how it works.

A pixel→row map is brought into tiles once (`tile_pixel_map`); a pyramid's map is the same in every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import BLUR
from legs4d.scene.camera import Cameras

SUMS_LIMIT = 1 << 29
"""Floats of intermediate sums held at once (2 GB); tiles are worked on in as many parts as that takes."""

COLUMNS_AT_ONCE = 64
"""Columns of the table that a block takes; neighbouring tiles then add to a part of the result that the cache holds."""


def is_built() -> bool:
    """Whether csrc/cuda was compiled, which takes nvcc."""
    return find_spec("legs4d._csrc_cuda") is not None


@cache
def load_kernels() -> Any:
    """The compiled module. Raises Legs4dError when it is not there, or needs a CUDA that is not."""
    try:
        return import_module("legs4d._csrc_cuda")
    except ImportError as error:
        raise Legs4dError(
            f"the CUDA kernels cannot be loaded ({error})",
            where="lifting on CUDA",
            fix="install the CUDA toolkit and run `make build` again, or lift with --engine cpu",
        ) from error


@dataclass(frozen=True)
class TiledPixelMap:
    """A pixel→row map B of C images on a device, by tiles of 16 × 16 pixels.

    Attributes:
        cameras, width, height: of the images.
        num_rows: R.
        row_start: [tiles + 1] int64, where a tile's rows begin.
        rows: [P] int32, the rows that each tile mixes, padded with -1.
        mixture: [P, 256] int16 (bits of float16), how much of the row each of the tile's pixels has.
    """

    cameras: int
    width: int
    height: int
    num_rows: int
    row_start: torch.Tensor
    rows: torch.Tensor
    mixture: torch.Tensor


def tile_pixel_map(
    index: NDArray[np.int32] | torch.Tensor,
    weight: NDArray[np.float32] | torch.Tensor,
    num_rows: int,
    device: str | torch.device = "cuda",
) -> TiledPixelMap:
    """Bring a map (see `raster.lift.lift_weights`) onto the device, tile by tile.

    Raises:
        ValueError: arrays of the wrong shape, or an index past the last row.
        Legs4dError: more rows than the device can tell apart (some 800,000 on an H100), or csrc/cuda is not built.
    """
    kernels = load_kernels()
    entries = torch.as_tensor(index, device=device).to(torch.int32).contiguous()
    weights = torch.as_tensor(weight, device=device).to(torch.float32).contiguous()
    if entries.ndim != 4 or entries.shape != weights.shape:
        raise ValueError(f"index {tuple(entries.shape)} and weight {tuple(weights.shape)} must both be [C, H, W, K]")
    if entries.numel() and int(entries.max()) >= num_rows:
        raise ValueError("index names a row past the last")
    most = kernels.most_rows(entries.device.index or 0)
    if num_rows > most:
        raise Legs4dError(
            f"the images mix {num_rows} rows, this device can tell {most} apart",
            where="lifting on CUDA",
            fix="lift with --engine cpu",
        )
    cameras, height, width, _ = entries.shape
    stream = torch.cuda.current_stream(entries.device).cuda_stream
    counts = torch.empty(cameras * _tiles(width) * _tiles(height), dtype=torch.int32, device=entries.device)
    kernels.count_rows(entries, weights, max(num_rows, 1), counts, stream)
    row_start = _starts(counts)
    total = int(row_start[-1])
    rows = torch.empty(total, dtype=torch.int32, device=entries.device)
    mixture = torch.empty((total, kernels.TILE_PIXELS), dtype=torch.int16, device=entries.device)
    if total:
        kernels.fill_rows(entries, weights, max(num_rows, 1), row_start, rows, mixture, stream)
    return TiledPixelMap(cameras, width, height, num_rows, row_start, rows, mixture)


def lift_table(
    gaussians: Gaussians, cameras: Cameras, pixel_map: TiledPixelMap, table: torch.Tensor, near: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(Wᵀ B) T and Wᵀ B 1, as `raster.lift.lift` on the CPU.

    The terms of the sums are rounded to 2^-11 of themselves, the sums to float32; they are added in no fixed order.

    Args:
        gaussians: N Gaussians as torch tensors on the map's device.
        cameras: C views of the map's size.
        pixel_map: B.
        table: T, [R, D] float32 on the same device, of any width D ≥ 1.
        near: scene units, as in `render`.

    Returns:
        [N, D] and [N] float32 on the device.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    if (len(cameras), cameras.height, cameras.width) != (pixel_map.cameras, pixel_map.height, pixel_map.width):
        raise ValueError("the cameras are not those of the pixel map")
    if table.ndim != 2 or len(table) != pixel_map.num_rows or not table.shape[1]:
        raise ValueError(f"the table is {tuple(table.shape)}, expected [{pixel_map.num_rows}, D]")
    device = gaussians.means.device
    sums = torch.zeros((len(gaussians), table.shape[1]), device=device)
    mass = torch.zeros(len(gaussians), device=device)
    if not len(gaussians) or not len(pixel_map.rows):
        return sums, mass
    lists = list_tiles(gaussians, cameras, near)
    high, low = _split(table, load_kernels().COLUMN_GROUP)
    for part in _parts(lists, pixel_map):
        _lift_part(part, pixel_map, high, low, sums, mass)
    return sums, mass


@dataclass(frozen=True)
class TileLists:
    """Which splats each tile needs, nearest first: pair_splat[begin[t]:end[t]], places in `splats`."""

    num_splats: int
    splats: torch.Tensor
    pair_splat: torch.Tensor
    begin: torch.Tensor
    end: torch.Tensor


@dataclass(frozen=True)
class _Part:
    """Tiles first .. first + count - 1, whose sums take `size` floats and begin at sums_start[t]."""

    lists: TileLists
    sums_start: torch.Tensor
    first: int
    count: int
    size: int


def list_tiles(gaussians: Gaussians, cameras: Cameras, near: float) -> TileLists:
    """Project Gaussians into all cameras, and sort them by tile and depth: the first half of `lift_table`."""
    kernels, device = load_kernels(), gaussians.means.device
    stream = torch.cuda.current_stream(device).cuda_stream
    places = len(gaussians) * len(cameras)
    splats = torch.empty((places, kernels.SPLAT_FLOATS), device=device)
    keys = torch.empty(places, dtype=torch.int64, device=device)
    counter = torch.zeros(1, dtype=torch.int32, device=device)
    kernels.project(
        *(getattr(gaussians, name).float().contiguous() for name in ("means", "quats", "scales", "opacities")),
        torch.as_tensor(np.ascontiguousarray(cameras.world_to_camera, np.float32), device=device),
        torch.as_tensor(np.ascontiguousarray(cameras.intrinsics, np.float32), device=device),
        cameras.width,
        cameras.height,
        near,
        BLUR,
        splats,
        keys,
        counter,
        stream,
    )
    seen = int(counter)
    order = torch.arange(seen, dtype=torch.int32, device=device)
    depth_keys, order = _sorted(kernels.sort64, keys[:seen], order, 32 + _bits(len(cameras)), stream)
    tiles = torch.empty(seen, dtype=torch.int32, device=device)
    kernels.count_tiles(splats, order, tiles, stream)
    offsets = _starts(tiles)
    pairs = int(offsets[-1])
    if pairs >= 1 << 31:
        raise Legs4dError(
            f"{pairs} pairs of Gaussian and tile are too many", where="lifting on CUDA", fix="use --scale"
        )
    pair_tile = torch.empty(pairs, dtype=torch.int32, device=device)
    pair_splat = torch.empty(pairs, dtype=torch.int32, device=device)
    size = len(cameras), cameras.width, cameras.height
    kernels.list_pairs(splats, order, depth_keys, offsets[:-1], *size, pair_tile, pair_splat, stream)
    count = len(cameras) * _tiles(cameras.width) * _tiles(cameras.height)
    pair_tile, pair_splat = _sorted(kernels.sort32, pair_tile, pair_splat, _bits(count), stream)
    begin, end = torch.zeros((2, count), dtype=torch.int32, device=device)
    kernels.find_ranges(pair_tile, begin, end, stream)
    return TileLists(seen, splats, pair_splat, begin, end)


def _parts(lists: TileLists, pixel_map: TiledPixelMap) -> list[_Part]:
    """Consecutive tiles, in as many parts as SUMS_LIMIT asks for."""
    chunk = load_kernels().CHUNK
    padded = (lists.end - lists.begin + (chunk - 1)).long() // chunk * chunk
    start = _starts(padded * pixel_map.row_start.diff())
    ends = start[1:].cpu().numpy()
    parts, first = [], 0
    while first < len(ends):
        base = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, base + SUMS_LIMIT, side="right")))
        parts.append(_Part(lists, start[:-1] - base, first, last - first, int(ends[last - 1]) - base))
        first = last
    return parts


def _lift_part(
    part: _Part, pixel_map: TiledPixelMap, high: torch.Tensor, low: torch.Tensor, out: torch.Tensor, mass: torch.Tensor
) -> None:
    kernels, lists = load_kernels(), part.lists
    stream = torch.cuda.current_stream(out.device).cuda_stream
    sums = torch.empty(part.size, device=out.device)
    used = torch.empty(len(lists.begin), dtype=torch.int32, device=out.device)
    tiles = (
        *(lists.splats, lists.pair_splat, lists.begin, lists.end),
        *(pixel_map.row_start, pixel_map.rows, part.sums_start, part.first, part.count),
    )
    size = pixel_map.cameras, pixel_map.width, pixel_map.height
    kernels.sum_tiles(*tiles, *size, pixel_map.mixture, sums, used, stream)
    kernels.add_products(*tiles, sums, used, high, low, COLUMNS_AT_ONCE, out, mass, stream)


def _sorted(
    sort: Any, keys: torch.Tensor, values: torch.Tensor, bits: int, stream: int
) -> tuple[torch.Tensor, torch.Tensor]:
    sorted_keys, sorted_values = torch.empty_like(keys), torch.empty_like(values)
    if not len(keys):
        return sorted_keys, sorted_values
    nothing = torch.empty(0, dtype=torch.uint8, device=keys.device)
    needed = sort(keys, sorted_keys, values, sorted_values, bits, nothing, stream)
    temporary = torch.empty(needed, dtype=torch.uint8, device=keys.device)
    sort(keys, sorted_keys, values, sorted_values, bits, temporary, stream)
    return sorted_keys, sorted_values


def _split(table: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The table as two halves of float16 whose sum it is to 2^-22, padded to a multiple of `group` columns."""
    padded = torch.nn.functional.pad(table.float(), (0, -table.shape[1] % group))
    high = padded.half()
    low = (padded - high.float()).half()
    return high.view(torch.int16), low.view(torch.int16)


def _starts(counts: torch.Tensor) -> torch.Tensor:
    """[n + 1] int64: 0 and the running totals."""
    return torch.nn.functional.pad(torch.cumsum(counts, 0, dtype=torch.int64), (1, 0))


def _bits(count: int) -> int:
    """Bits that tell `count` things apart."""
    return max(1, (count - 1).bit_length())


def _tiles(side: int) -> int:
    return -(-side // load_kernels().TILE_SIDE)
