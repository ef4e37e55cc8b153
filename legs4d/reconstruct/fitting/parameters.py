"""Gaussians while they are optimised: raw parameters, and an Adam state that survives adding and removing some."""

from __future__ import annotations

import numpy as np
import torch

from legs4d.config import LearningRates
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.scene.sequence import InitialPoints

NAMES = ("means", "quats", "log_scales", "logit_opacities", "colors")

INITIAL_LOGIT_OPACITY = 1.0
"""0.73. A shell of points is a surface: starting it half transparent only makes every ray pass through more of it."""


class Parameters:
    """N Gaussians as unconstrained leaf tensors, with one Adam group each.

    Attributes:
        values: name → tensor: means [N, 3], quats [N, 4] (any length), log_scales [N, 3], logit_opacities [N],
            colors [N, 3] (SH DC).
        is_foreground: [N] bool, never optimised.
    """

    def __init__(
        self, values: dict[str, torch.Tensor], is_foreground: torch.Tensor, rates: LearningRates, extent: float
    ) -> None:
        self.is_foreground = is_foreground
        self.values = {name: values[name].detach().clone().requires_grad_() for name in NAMES}
        rate = {
            "means": rates.means * extent,
            "quats": rates.quats,
            "log_scales": rates.scales,
            "logit_opacities": rates.opacities,
            "colors": rates.colors,
        }
        self.optimizer = Adam(self.values, dict(rate))
        self._initial_rates = rate

    @classmethod
    def from_points(cls, points: InitialPoints, rates: LearningRates, extent: float, device: str) -> Parameters:
        """One round Gaussian per point, half as wide as the mean distance to its three nearest neighbours."""
        from scipy.spatial import cKDTree

        distances = cKDTree(points.positions).query(points.positions, k=4)[0][:, 1:]
        width = np.clip(0.5 * distances.mean(axis=1), 1e-4 * extent, 0.2 * extent).astype(np.float32)
        count = len(width)
        quats = np.zeros((count, 4), np.float32)
        quats[:, 0] = 1
        values = {
            "means": points.positions,
            "quats": quats,
            "log_scales": np.log(np.repeat(width[:, None], 3, axis=1)),
            "logit_opacities": np.full(count, INITIAL_LOGIT_OPACITY, np.float32),
            "colors": dc_from_rgb(points.colors),
        }
        tensors = {name: torch.as_tensor(value, dtype=torch.float32, device=device) for name, value in values.items()}
        return cls(tensors, torch.as_tensor(points.is_foreground, device=device), rates, extent)

    @classmethod
    def from_gaussians(cls, gaussians: Gaussians, rates: LearningRates, extent: float) -> Parameters:
        """Parameters that stand for these Gaussians, torch tensors."""
        values = {
            "means": gaussians.means,
            "quats": gaussians.quats,
            "log_scales": torch.log(gaussians.scales),
            "logit_opacities": torch.logit(gaussians.opacities, eps=1e-4),
            "colors": gaussians.colors,
        }
        return cls(values, gaussians.is_foreground, rates, extent)

    def __len__(self) -> int:
        return len(self.is_foreground)

    def gaussians(self) -> Gaussians:
        """The Gaussians these parameters stand for, differentiable; quats are not unit yet."""
        return self._gaussians(self.values)

    def _gaussians(self, v: dict[str, torch.Tensor]) -> Gaussians:
        return Gaussians(
            means=v["means"],
            quats=v["quats"],
            scales=torch.exp(v["log_scales"]),
            opacities=torch.sigmoid(v["logit_opacities"]),
            colors=v["colors"],
            is_foreground=self.is_foreground,
        )

    def finished(self, values: dict[str, torch.Tensor] | None = None) -> Gaussians:
        """The Gaussians, detached, with unit quats; of these values if given, in place of the parameters' own."""
        with torch.no_grad():
            gaussians = self._gaussians(values or self.values)
            return gaussians.replace(
                means=gaussians.means.detach().clone(),
                quats=torch.nn.functional.normalize(gaussians.quats, dim=-1),
                colors=gaussians.colors.detach().clone(),
            )

    def set_rate(self, name: str, factor: float) -> None:
        """Scale the learning rate of one group by `factor`, counted from where it started."""
        self.optimizer.rates[name] = self._initial_rates[name] * factor

    def step(self) -> None:
        """One Adam step; clears the gradients."""
        self.optimizer.step()

    def edit(self, keep: torch.Tensor, added: dict[str, torch.Tensor], added_foreground: torch.Tensor) -> None:
        """Keep the Gaussians at `keep` (indices or mask) and append new ones, whose Adam moments start at zero."""
        for name in NAMES:
            self.values[name] = torch.cat([self.values[name].detach()[keep], added[name]]).requires_grad_()
        self.optimizer.edit(keep, len(added_foreground))
        self.is_foreground = torch.cat([self.is_foreground[keep], added_foreground])
