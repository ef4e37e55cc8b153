"""Gaussians while they are optimised: raw parameters, and an Adam state that survives adding and removing some."""

from __future__ import annotations

import math

import numpy as np
import torch

from legs4d.config import LearningRates
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.scene.sequence import InitialPoints

NAMES = ("means", "quats", "log_scales", "logit_opacities", "colors")

INITIAL_LOGIT_OPACITY = 1.0
"""0.73. A shell of points is a surface: starting it half transparent only makes every ray pass through more of it."""

SPARE = -20.0
"""Logit of the opacity of rows that are no Gaussians: far below 1/255, so that nothing is drawn."""


class Parameters:
    """N Gaussians as unconstrained leaf tensors, with one Adam group each.

    Attributes:
        values: name → tensor: means [N, 3], quats [N, 4] (any length), log_scales [N, 3], logit_opacities [N],
            colors [N, 3] (SH DC).
        is_foreground: [N] bool, never optimised.

    With a capacity above N all of these have so many rows, of which those after the N are transparent, and stay where
    they are in memory while no more Gaussians are there.
    """

    def __init__(
        self,
        values: dict[str, torch.Tensor],
        is_foreground: torch.Tensor,
        rates: LearningRates,
        extent: float,
        capacity: int = 0,
    ) -> None:
        self._count, self._capacity = len(is_foreground), capacity
        spare = self._spare()
        self.is_foreground = torch.cat([is_foreground, is_foreground.new_zeros(spare)])
        padded = {name: torch.cat([values[name].detach(), _transparent(name, values[name], spare)]) for name in NAMES}
        self.values = {name: value.requires_grad_() for name, value in padded.items()}
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
    def from_points(
        cls, points: InitialPoints, rates: LearningRates, extent: float, device: str, capacity: int = 0
    ) -> Parameters:
        """One round Gaussian per point, half as wide as the mean distance to its three nearest neighbours."""
        from scipy.spatial import cKDTree

        distances = cKDTree(points.positions).query(points.positions, k=4, workers=default_threads())[0][:, 1:]
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
        return cls(tensors, torch.as_tensor(points.is_foreground, device=device), rates, extent, capacity)

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
        return self._count

    def _spare(self) -> int:
        """Rows that are no Gaussians."""
        return max(0, self._capacity - self._count)

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
            if self._spare():
                gaussians = gaussians.take(torch.arange(self._count, device=self.is_foreground.device))
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

    def bound(self, widest: float) -> None:
        """Make what is wider than `widest`, scene units, so wide again."""
        bound(self.values["log_scales"], widest)

    def edit(self, keep: torch.Tensor, added: dict[str, torch.Tensor], added_foreground: torch.Tensor) -> None:
        """Keep the Gaussians at `keep` (indices or mask) and append new ones, whose Adam moments start at zero."""
        foreground = torch.cat([self.is_foreground[keep], added_foreground])
        self._count = len(foreground)
        spare = self._spare()
        stay = self._count + spare == len(self.is_foreground)
        for name in NAMES:
            old = self.values[name].detach()
            rows = torch.cat([old[keep], added[name], _transparent(name, old, spare)])
            if stay:
                old.copy_(rows)
            else:
                self.values[name] = rows.requires_grad_()
        foreground = torch.cat([foreground, foreground.new_zeros(spare)])
        if stay:
            self.is_foreground.copy_(foreground)
        else:
            self.is_foreground = foreground
        self.optimizer.edit(keep, len(added_foreground) + spare)


def bound(log_scales: torch.Tensor, widest: float) -> None:
    """Make what is wider than `widest`, scene units, so wide again, in place."""
    with torch.no_grad():
        log_scales.clamp_(max=math.log(widest))


def _transparent(name: str, like: torch.Tensor, rows: int) -> torch.Tensor:
    """Rows of a value that are no Gaussians."""
    made = like.detach().new_zeros(rows, *like.shape[1:])
    if name == "quats":
        made[:, 0] = 1
    elif name == "logit_opacities":
        made.fill_(SPARE)
    return made
