"""Which tiles of a picture Gaussians touch, on CUDA, and compositing them, in memory of a size given beforehand: so
nothing waits for the host, and the whole may be captured in a CUDA graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from legs4d.errors import Legs4dError
from legs4d.raster.constants import BLUR
from legs4d.raster.kernels import has_triton
from legs4d.raster.tiles_reference import composite_reference, project_reference

TILE = 16
"""Pixels; gsplat's own default."""
ROOM_A_PICTURE = 400_000
"""Pairs of a Gaussian and a tile for which there is room at first, for each picture."""
ROOM_TO_SPARE = 1.6
"""Room that is made, in what was needed."""
FILLED = 0.8
"""Share of the room from which on there may soon be too little."""


@dataclass
class Room:
    """Memory for the tiles that Gaussians touch in a call on CUDA.

    Attributes:
        size: pairs of a Gaussian and a tile that there is room for, all pictures together.
        needed: [] int64 on the device, the most that any call needed; what found no room was not drawn.
        grows: whether room is made for whatever a call needs, which then waits for the device, unless it is captured.
    """

    size: int
    needed: torch.Tensor
    grows: bool = False

    @classmethod
    def of(cls, size: int, device: torch.device, *, grows: bool = False) -> Room:
        return cls(size, torch.zeros((), dtype=torch.int64, device=device), grows)

    def filled(self) -> float:
        """Share of the room that was needed; above 1 something was not drawn. Waits for the device."""
        return int(self.needed) / self.size

    def settle(self) -> bool:
        """Have a little more room than was needed; whether that is another size than before. Waits for the device."""
        needed = int(self.needed)
        # Pairs are put in order whether they are there or not: room that is not needed costs time.
        if needed <= FILLED * self.size and not 0 < 2 * needed < self.size:
            return False
        self.size = int(ROOM_TO_SPARE * needed) + 1
        return True


@dataclass(frozen=True)
class Projected:
    """N Gaussians in each of B pictures.

    Attributes:
        centers: [B, N, 2] pixels; radii: [B, N, 2] int32 pixels, 0 where nothing is to be drawn.
        depths: [B, N] > 0, scene units; conics: [B, N, 3] of the inverse covariance, 1/px².
    """

    centers: torch.Tensor
    radii: torch.Tensor
    depths: torch.Tensor
    conics: torch.Tensor

    def with_(self, other: Projected) -> Projected:
        """These and others in the same pictures."""
        return Projected(
            torch.cat([self.centers, other.centers], dim=1),
            torch.cat([self.radii, other.radii], dim=1),
            torch.cat([self.depths, other.depths], dim=1),
            torch.cat([self.conics, other.conics], dim=1),
        )


def project(
    means: torch.Tensor,
    quats: torch.Tensor,
    scales: torch.Tensor,
    opacities: torch.Tensor,
    viewmats: torch.Tensor,
    intrinsics: torch.Tensor,
    size: tuple[int, int],
    near: float,
) -> Projected:
    """Gaussians in the pictures of cameras; differentiable in the first three.

    Args:
        means: [N, 3], or [B, N, 3] for a state of each picture's own; the next three likewise.
        viewmats: [B, 4, 4] world to camera; intrinsics: [B, 3, 3].
        size: (width, height) in pixels.
        near: scene units, as in `render`.

    Raises:
        Legs4dError: gsplat is not installed.
    """
    if means.device.type != "cuda":
        return Projected(*project_reference(means, quats, scales, opacities, viewmats, intrinsics, size, near))
    gsplat = _gsplat()
    own = means.ndim == 3
    radii, centers, depths, conics, _ = gsplat.fully_fused_projection(
        means,
        None,
        quats,
        scales,
        viewmats[:, None] if own else viewmats,
        intrinsics[:, None] if own else intrinsics,
        *size,
        eps2d=BLUR,
        near_plane=near,
        opacities=opacities,
    )
    if own:
        return Projected(centers[:, 0], radii[:, 0], depths[:, 0], conics[:, 0])
    return Projected(centers, radii, depths, conics)


def composite(
    projected: Projected,
    channels: torch.Tensor,
    opacities: torch.Tensor,
    size: tuple[int, int],
    room: Room,
    background: torch.Tensor | None = None,
    active: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`channels` [B, N, D] composited; differentiable in these, opacities [B, N], and what is projected.

    Args:
        size: (width, height) in pixels.
        background: [B, D] seen where rays end; None for 0.
        active: [B, rows + 1, columns] bool, tiles to draw, none of them in the last row; None for all.

    Returns:
        ([B, Y, X, D], alpha [B, Y, X]), Y and X being the size in whole tiles, and a row of tiles more. Where nothing
        is drawn the first is background and alpha without meaning.
    """
    columns, rows = -(-size[0] // TILE), -(-size[1] // TILE)
    if active is None:
        active = torch.ones(len(channels), rows + 1, columns, dtype=torch.bool, device=channels.device)
        active[:, rows] = False
    if channels.device.type != "cuda":
        drawn = active.repeat_interleave(TILE, dim=1).repeat_interleave(TILE, dim=2)
        given = projected.centers, projected.radii, projected.depths, projected.conics
        out, alpha = composite_reference(given, channels, opacities, (columns * TILE, (rows + 1) * TILE), drawn)
        return out if background is None else out + (1 - alpha)[..., None] * background[:, None, None], alpha
    gsplat = _gsplat()
    # One row of tiles more, which is not drawn: there lies what is left of the room.
    offsets, order = in_tiles(projected, opacities, columns, rows + 1, room, kernels=has_triton())
    drawn, alpha = gsplat.rasterize_to_pixels(
        projected.centers,
        projected.conics,
        channels.contiguous(),
        opacities.contiguous(),
        columns * TILE,
        (rows + 1) * TILE,
        TILE,
        offsets,
        order,
        backgrounds=None if background is None else background.contiguous(),
        masks=active,
    )
    return drawn, alpha[..., 0]


def active_tiles(region: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[C, rows, columns] bool: tiles of `region` [C, H, W] that hold a pixel which is needed."""
    count, height, width = region.shape
    padded = region.new_zeros(count, rows * TILE, columns * TILE)
    padded[:, :height, :width] = region
    return padded.view(count, rows, TILE, columns, TILE).any(dim=4).any(dim=2).contiguous()


def touches(active: torch.Tensor, centers: torch.Tensor, radii: torch.Tensor) -> torch.Tensor:
    """[C, N] int32: 1 where the tiles under a Gaussian's rectangle hold an active one; looked up in a summed table."""
    count, rows, columns = active.shape
    # Where nothing is to be drawn gsplat leaves whatever was in memory, which may be no number at all.
    centers = torch.where((radii > 0).all(dim=-1, keepdim=True), centers, 0)
    table = torch.nn.functional.pad(active.to(torch.int32).cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0)).view(count, -1)
    size = centers.new_tensor([columns, rows])
    low = ((centers - radii) / TILE).floor().clamp(min=0).minimum(size).long()
    high = ((centers + radii) / TILE).ceil().clamp(min=0).minimum(size).long()

    def corner(column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return table.gather(1, row * (columns + 1) + column)

    (left, top), (right, bottom) = low.unbind(-1), high.unbind(-1)
    inside = corner(right, bottom) - corner(left, bottom) - corner(right, top) + corner(left, top)
    return (inside > 0).to(torch.int32)


@torch.no_grad()
def in_tiles(
    projected: Projected, opacities: torch.Tensor, columns: int, rows: int, room: Room, *, kernels: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which Gaussians each tile draws, nearest first, in memory of a size known beforehand.

    Args:
        opacities: [B, N].
        rows: one more than there are: the last is for what is left of the room, and drawn by nobody.
        kernels: whether Triton is there; then tiles of a Gaussian's rectangle in which it would not show are left out.

    Returns:
        (where each tile begins [B, rows, columns] int32, positions in B·N [room] int32).
    """
    device, (pictures, each) = projected.depths.device, projected.depths.shape
    # Bits of a positive float are in its order. Nearest first before tiles are told apart, so that pairs, of which
    # there are many more, need only be put in the order of a small number, their tile's.
    picture = torch.arange(pictures, device=device).repeat_interleave(each)
    key = (picture << 32) | projected.depths.reshape(-1).view(torch.int32).to(torch.int64)
    pairs = _Pairs(projected, opacities, key.argsort(), columns, rows)
    touched = pairs.touched_by_kernel() if kernels else pairs.touched()
    ends = touched.cumsum(dim=0)
    room.needed.copy_(torch.maximum(room.needed, ends[-1]))
    if room.grows and not torch.cuda.is_current_stream_capturing():
        room.settle()
    # Whose pair lies in each slot: as many as end before it.
    steps = torch.zeros(room.size + 1, dtype=torch.int32, device=device)
    steps.index_add_(0, ends.clamp(max=room.size), torch.ones_like(ends, dtype=torch.int32))
    owner = steps[:-1].cumsum(dim=0, dtype=torch.int32)
    tile, number = pairs.by_kernel(ends, owner) if kernels else pairs.of(ends, owner)
    tile, order = tile.sort(stable=True)
    first = torch.arange(pictures * rows * columns, dtype=tile.dtype, device=device)
    offsets = torch.searchsorted(tile, first).to(torch.int32).view(pictures, rows, columns)
    return offsets, number[order]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a Gaussian and a tile, of `ranked` [B·N] Gaussians, nearest first."""

    projected: Projected
    opacities: torch.Tensor
    ranked: torch.Tensor
    columns: int
    rows: int

    def _rectangles(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B·N] int32 each: (left, top, wide, high) in tiles; 0 wide and high where nothing is to be drawn."""
        radii = self.projected.radii.flatten(0, 1)[self.ranked]
        reach, middle = radii.to(torch.float32), self.projected.centers.flatten(0, 1)[self.ranked]
        low, high = ((middle - reach) / TILE).floor(), ((middle + reach) / TILE).ceil()
        left, right = (edge[:, 0].clamp(0, self.columns).to(torch.int32) for edge in (low, high))
        top, bottom = (edge[:, 1].clamp(0, self.rows - 1).to(torch.int32) for edge in (low, high))
        seen = (radii > 0).all(dim=-1)
        return left, top, (right - left) * seen, (bottom - top) * seen

    def touched(self) -> torch.Tensor:
        """[B·N] int32: tiles of each rectangle."""
        _, _, wide, high = self._rectangles()
        return wide * high

    def of(self, ends: torch.Tensor, owner: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(tile, position in B·N int32) of each slot, the first tile of the last row for one that is left over.

        Args:
            ends: [B·N] where the slots of each Gaussian end; owner: [S] int32 whose each slot is.
        """
        left, top, wide, high = self._rectangles()
        each, count = self.opacities.shape[1], self.opacities.shape[0] * self.rows * self.columns
        owner = owner.clamp(max=len(self.ranked) - 1)
        slot = torch.arange(len(owner), dtype=torch.int32, device=owner.device)
        within = slot - (ends - wide * high).to(torch.int32)[owner]
        across = wide[owner].clamp(min=1)
        row, column = top[owner] + within // across, left[owner] + within % across
        number = self.ranked[owner]
        tile = ((number // each).to(torch.int32) * self.rows + row) * self.columns + column
        tile = torch.where(slot < ends[-1], tile, count - self.columns)
        return tile.to(torch.int16 if count < 2**15 else torch.int32), number.to(torch.int32)

    def touched_by_kernel(self) -> torch.Tensor:
        from legs4d.raster.tiles_cuda import touched_tiles

        centers, radii = self.projected.centers.contiguous(), self.projected.radii.contiguous()
        return touched_tiles(centers, radii, self.ranked, self.columns, self.rows, TILE)

    def by_kernel(self, ends: torch.Tensor, owner: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from legs4d.raster.tiles_cuda import pairs

        own = self.projected
        centers, radii, conics = own.centers.contiguous(), own.radii.contiguous(), own.conics.contiguous()
        given = centers, radii, conics, self.opacities.contiguous()
        return pairs(*given, self.ranked, ends, owner, self.columns, self.rows, TILE)


def _gsplat() -> Any:
    try:
        import gsplat
    except ImportError as error:
        raise Legs4dError(
            "gsplat is not installed", where="the CUDA engine", fix="install it with pip install gsplat==1.5.3"
        ) from error
    return gsplat
