"""Adding Gaussians where the pictures lack detail and removing those that do nothing (Kerbl et al. 2023, section 5).

The published rule adds every Gaussian whose screen-space gradient passes a threshold, so that the count is whatever
comes out. Here the count is given and the threshold comes out: what a laptop can train is known beforehand.
"""

from __future__ import annotations

import torch

from legs4d.config import DensifySettings
from legs4d.raster import ScreenGradient
from legs4d.reconstruct.fitting.parameters import NAMES, Parameters
from legs4d.reconstruct.fitting.quaternions import rotation_matrices

SPLIT_SHRINK = 1.6
"""A split Gaussian's halves are this much smaller (Kerbl et al.)."""


class Densifier:
    """Gathers screen-space gradients and edits the Gaussians every few steps."""

    def __init__(self, settings: DensifySettings, parameters: Parameters, extent: float, seed: int) -> None:
        self.settings = settings
        self.parameters = parameters
        self.extent = extent
        self.generator = torch.Generator(device="cpu").manual_seed(seed)
        rows = parameters.is_foreground
        self.pull, self.seen = torch.zeros(len(rows), device=rows.device), torch.zeros(len(rows), device=rows.device)

    def _reset(self) -> None:
        rows = len(self.parameters.is_foreground)
        if rows == len(self.pull):  # captured steps add to what stays where it is
            self.pull.zero_()
            self.seen.zero_()
        else:
            self.pull, self.seen = self.pull.new_zeros(rows), self.seen.new_zeros(rows)

    def observe(self, screen: ScreenGradient) -> None:
        """Add what the last backward pass saw."""
        self.pull += screen.norm
        self.seen += screen.seen

    def bound(self) -> None:
        """Make what is wider than `max_scale` allows so wide again: after the last round nothing removes it."""
        self.parameters.bound(self.settings.max_scale * self.extent)

    def run(self, rounds_left: int) -> None:
        """Remove faint and oversized Gaussians; clone or split the hardest pulled, towards the budget."""
        with torch.no_grad():
            values = self.parameters.values
            widest = torch.exp(values["log_scales"]).amax(dim=1)
            faint = torch.sigmoid(values["logit_opacities"]) < self.settings.min_opacity
            keep = ~faint & (widest < self.settings.max_scale * self.extent)
            room = self.settings.max_gaussians - int(keep.sum())
            count = min(room // max(rounds_left, 1), int(keep.sum()) // 2)
            average = torch.where(keep, self.pull / self.seen.clamp(min=1), torch.zeros_like(self.pull))
            chosen = torch.zeros_like(keep)
            if count > 0:
                chosen[torch.topk(average, count).indices] = True
            split = chosen & (widest > self.settings.split_above * self.extent)
            clone = chosen & ~split
            first, second = self._halves(split), self._halves(split)
            added = {name: torch.cat([values[name].detach()[clone], first[name], second[name]]) for name in NAMES}
            foreground = self.parameters.is_foreground
            new_foreground = torch.cat([foreground[clone], foreground[split], foreground[split]])
            self.parameters.edit(keep & ~split, added, new_foreground)
            self._reset()

    def _halves(self, split: torch.Tensor) -> dict[str, torch.Tensor]:
        """A copy of each chosen Gaussian, smaller, at a place drawn from it."""
        values = {name: self.parameters.values[name].detach()[split] for name in NAMES}
        scales = torch.exp(values["log_scales"])
        noise = torch.randn(scales.shape, generator=self.generator).to(scales.device)
        offsets = torch.einsum("nij,nj->ni", rotation_matrices(values["quats"]), noise * scales)
        values["means"] = values["means"] + offsets
        values["log_scales"] = values["log_scales"] - torch.log(torch.tensor(SPLIT_SHRINK))
        return values
