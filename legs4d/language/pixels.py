"""What a pixel→row map says of single cameras' pixels, on a device: for lifts that go through rendered pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.language.features import FeatureMap


@dataclass(frozen=True)
class PixelCodes:
    """The codes B Z of C pictures, made camera by camera when asked for.

    Attributes:
        features: gives B.
        table: Z, [R, K] float32 on the device, the codes of the rows.
    """

    features: FeatureMap
    table: torch.Tensor

    @classmethod
    def of(cls, features: FeatureMap, table: NDArray[np.float32], device: str | torch.device) -> PixelCodes:
        """With `table` [R, K] brought to the device."""
        return cls(features, torch.as_tensor(table, dtype=torch.float32, device=device))

    def sums(self, cameras: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(B Z [c, H, W, K], B 1 [c, H, W]) of these cameras; both are 0 where a pixel says nothing."""
        device = self.table.device
        index = torch.as_tensor(self.features.index[cameras], device=device).long()
        weight = torch.as_tensor(self.features.weight[cameras], device=device)
        weight = weight * (index >= 0)
        codes = torch.zeros((*index.shape[:3], self.table.shape[1]), device=device)
        if len(self.table):
            for j in range(index.shape[3]):  # all at once would be K times the memory
                codes += weight[..., j, None] * self.table[index[..., j].clamp(min=0)]
        return codes, weight.sum(dim=-1)


def go_on() -> None:
    """Asked between steps of long work whether to stop: no."""
