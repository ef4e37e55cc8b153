"""What a pixel→row map says of single cameras' pixels, on a device: for lifts that go through rendered pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.language.embedding.features import FeatureMap


@dataclass(frozen=True)
class PixelCodes:
    """The codes B Z of C pictures, made camera by camera when asked for. All on one device.

    Attributes:
        index, weight: [C, H, W, K] int32 and float32, B as in `FeatureMap`.
        table: Z, [R, D] float32, the codes of the rows.
    """

    index: torch.Tensor
    weight: torch.Tensor
    table: torch.Tensor

    @classmethod
    def of(
        cls, features: FeatureMap, table: NDArray[np.float32] | torch.Tensor, device: str | torch.device
    ) -> PixelCodes:
        """With the map of `features`, whose rows `table` encodes."""
        return cls(
            torch.as_tensor(features.index, device=device),
            torch.as_tensor(features.weight, device=device),
            torch.as_tensor(table, dtype=torch.float32, device=device),
        )

    def sums(self, cameras: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B Z [c, H, W, D], B 1 [c, H, W]) of these cameras; both are 0 where a pixel says nothing."""
        index = self.index[cameras].long()
        weight = self.weight[cameras] * (index >= 0)
        codes = torch.zeros((*index.shape[:3], self.table.shape[1]), device=self.table.device)
        if len(self.table):
            for j in range(index.shape[3]):  # all at once would be K times the memory
                codes += weight[..., j, None] * self.table[index[..., j].clamp(min=0)]
        return codes, weight.sum(dim=-1)

    def speaks(self, cameras: list[int]) -> torch.Tensor:
        """B 1 [c, H, W] alone."""
        return (self.weight[cameras] * (self.index[cameras] >= 0)).sum(dim=-1)
