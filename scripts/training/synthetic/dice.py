"""Random numbers on a device, from one seeded generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Dice:
    """Draws tensors of any shape; the same ones for the same seed, device and order of calls."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self._generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self._generator, device=self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return self.uniform(*shape, low=math.log(low), high=math.log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, device=self.device)

    def integers(self, *shape: int, high: int) -> Tensor:
        """0 … high − 1, int64."""
        return torch.randint(high, shape, generator=self._generator, device=self.device)

    def chance(self, *shape: int, share: float) -> Tensor:
        """bool, true with this probability."""
        return torch.rand(shape, generator=self._generator, device=self.device) < share

    def sign(self, *shape: int) -> Tensor:
        """−1 or 1."""
        return self.integers(*shape, high=2).float() * 2 - 1

    def choose(self, weights: Tensor) -> Tensor:
        """[n] int64 columns of [n, m] weights, each with the probability that its weight says; 0 weights never."""
        total = weights.cumsum(1)
        at = self.uniform(len(weights)) * total[:, -1]
        found = (total <= at[:, None]).sum(1)
        last = weights.shape[1] - 1 - (weights.flip(1) > 0).int().argmax(1)  # should rounding carry it past the end
        return torch.minimum(found, last)

    def direction(self, *shape: int, level: float = 1.0) -> Tensor:
        """[..., 3] unit vectors; `level` 0 for horizontal ones only."""
        vector = self.normal(*shape, 3)
        vector[..., 2] *= level
        return torch.nn.functional.normalize(vector, dim=-1)
