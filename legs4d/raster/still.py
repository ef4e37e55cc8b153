"""Gaussians that do not move, projected once for many renderings of what does; in memory that stays where it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from legs4d.raster.tiles import Projected, touches


@dataclass(frozen=True)
class Still:
    """Gaussians that do not move, as each of C cameras shows them, in memory that stays where it is.

    Attributes:
        projected: of S Gaussians in each camera, those alone that reach tiles which are drawn; the last are none.
        channels: [C, S, D], opacities: [C, S].
        index: [C, S] int64, which Gaussian each is.
    """

    projected: Projected
    channels: torch.Tensor
    opacities: torch.Tensor
    index: torch.Tensor

    @classmethod
    def empty(cls, cameras: int, room: int, channels: int, device: torch.device) -> Still:
        """`room`: Gaussians of a camera, S."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.zeros(cameras, room, *shape, dtype=dtype, device=device)

        projected = Projected(zeros(2), zeros(2, dtype=torch.int32), zeros(), zeros(3))
        return cls(projected, zeros(channels), zeros(), zeros(dtype=torch.int64))

    @property
    def room(self) -> int:
        return self.index.shape[1]

    def load(self, projected: Projected, near: torch.Tensor, channels: torch.Tensor, opacities: torch.Tensor) -> None:
        """Take those Gaussians of `projected` [C, N] that are `near` [C, N] something that is drawn.

        Args:
            channels: [N, D], opacities: [N]. Of no camera more may be near than there is room for.
        """
        place = torch.where(near, near.cumsum(dim=1) - 1, self.room)
        numbers = torch.arange(near.shape[1], device=near.device).expand_as(place)
        found = torch.full((len(near), self.room + 1), -1, dtype=torch.int64, device=near.device)
        found.scatter_(1, place, numbers)
        found = found[:, : self.room]
        there, index = found >= 0, found.clamp(min=0)
        self.index.copy_(index)
        for mine, given in (
            (self.projected.centers, projected.centers),
            (self.projected.radii, projected.radii),
            (self.projected.conics, projected.conics),
        ):
            mine.copy_(given.gather(1, index[..., None].expand(-1, -1, given.shape[2])))
        self.projected.depths.copy_(projected.depths.gather(1, index))
        self.projected.radii.mul_(there[..., None])
        self.channels.copy_(channels[index])
        self.opacities.copy_(opacities[index])

    def picked(self, which: torch.Tensor) -> Projected:
        """As the cameras at `which` [B] show them."""
        own = self.projected
        return Projected(own.centers[which], own.radii[which], own.depths[which], own.conics[which])


def near_tiles(projected: Projected, active: torch.Tensor) -> torch.Tensor:
    """[C, N] bool: what reaches tiles that are `active` [C, rows, columns]."""
    return (touches(active, projected.centers, projected.radii) > 0) & (projected.radii > 0).all(dim=-1)
