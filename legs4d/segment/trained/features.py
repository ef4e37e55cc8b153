"""Features of Gaussians: smoothed over neighbours, gated by a scale, and compared with what was clicked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.segment.trained.scales import Quantiles

DIM = 32
SMOOTH = 16
"""Neighbours, the Gaussian itself among them; half of them are drawn in each step of the training."""


def smoothed(features: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
    """[N, D] mean of the unit features [N, D] of neighbours [N, J]."""
    unit = torch.nn.functional.normalize(features, dim=1)
    # by index_select: its gradient adds up without sorting, which takes most of a step elsewhere
    return unit.index_select(0, neighbours.reshape(-1)).view(*neighbours.shape, -1).mean(dim=1)


@dataclass(frozen=True)
class GatedFeatures:
    """What training makes.

    Attributes:
        features: [N, D], smoothed.
        weight: [D, 1], bias: [D] of the gate σ(weight·s + bias) of a scale s in 0..1.
        quantiles: of sizes in scene units.
    """

    features: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    quantiles: Quantiles

    def gate(self, scale: float) -> torch.Tensor:
        """[D] of a scale 0..1."""
        return torch.sigmoid(self.weight[:, 0] * scale + self.bias)

    def query(self, rendered: torch.Tensor, pixels: NDArray[np.integer], scale: float) -> torch.Tensor:
        """[D, Q] unit features of pixels [Q, 2] (x, y) of a picture of features [D, H, W]."""
        x, y = torch.as_tensor(pixels[:, 0]), torch.as_tensor(pixels[:, 1])
        return torch.nn.functional.normalize(rendered[:, y, x] * self.gate(scale)[:, None], dim=0)

    def scores(self, query: torch.Tensor, scale: float) -> torch.Tensor:
        """[N, Q] 0..1: (cosine + 1) / 2 of every Gaussian with what was asked for [D, Q]."""
        own = torch.nn.functional.normalize(self.features * self.gate(scale), dim=1)
        return (own @ query + 1) / 2

    def picture_scores(self, rendered: torch.Tensor, query: torch.Tensor, scale: float) -> torch.Tensor:
        """[H, W, Q] likewise of every pixel of a picture of features [D, H, W]."""
        own = torch.nn.functional.normalize(rendered * self.gate(scale)[:, None, None], dim=0)
        return (torch.einsum("dhw,dq->hwq", own, query) + 1) / 2
