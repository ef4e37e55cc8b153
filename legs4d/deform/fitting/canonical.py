"""Canonical Gaussians while they are optimised: buffers of a fixed size, of which the first `count` rows are in use.

The size is decided beforehand, so that memory is bounded and a captured graph finds everything where it was. On CUDA a
few rows more than are in use take part, as parts of a block; they are transparent.
"""

from __future__ import annotations

import numpy as np
import torch

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.scene.sequence import InitialPoints

NAMES = ("means", "quats", "log_scales", "logit_opacities", "colors", "sh_rest")
"""Parameters, in the order of their step sizes in a schedule."""

ABSENT = -20.0
"""Logit of the opacity of rows that are not in use: under 1/255, so that nothing is drawn."""

BLOCK = 8192
"""Rows on CUDA by which what takes part grows: a graph is captured anew for each."""


class Canonical:
    """Up to `capacity` Gaussians.

    Attributes:
        count: in use.
        values: name → leaf tensor over the rows that take part: means [L, 3], quats [L, 4] of any length, log_scales
            [L, 3], logit_opacities [L], colors [L, 3] (SH DC), sh_rest [L, K, 3].
    """

    def __init__(self, capacity: int, sh_coefficients: int, device: torch.device) -> None:
        widths = {"means": (3,), "quats": (4,), "log_scales": (3,), "logit_opacities": (), "colors": (3,)}
        shapes = {**widths, "sh_rest": (sh_coefficients, 3)}
        self.device, self.capacity, self.count = device, capacity, 0
        self._buffers = {name: torch.zeros(capacity, *shapes[name], device=device) for name in NAMES}
        self._moments = {name: Moments.of(buffer) for name, buffer in self._buffers.items()}
        self.values: dict[str, torch.Tensor] = {}
        self._taking: dict[str, Moments] = {}

    def start(self, points: InitialPoints, opacity: float, extent: float) -> None:
        """One round Gaussian per point, as wide as the mean distance to its three nearest neighbours, if it has any.

        Args:
            opacity: of all, 0..1.
            extent: scene units; widths are kept between shares of it.
        """
        from scipy.spatial import cKDTree

        positions = points.positions[: self.capacity]
        found = cKDTree(positions).query(positions, k=min(4, len(positions)))[0]
        near = np.reshape(found, (len(positions), -1))[:, 1:]
        width = np.clip(near.mean(axis=1) if near.size else [extent], 1e-4 * extent, 0.1 * extent)
        quats = np.zeros((len(positions), 4), np.float32)
        quats[:, 0] = 1
        given = {
            "means": positions,
            "quats": quats,
            "log_scales": np.log(np.repeat(width[:, None], 3, axis=1)),
            "logit_opacities": np.full(len(positions), np.log(opacity / (1 - opacity))),
            "colors": dc_from_rgb(points.colors[: self.capacity]),
        }
        self._fill({name: torch.as_tensor(value, dtype=torch.float32) for name, value in given.items()})

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        self._fill({name: state[name] for name in NAMES})
        for name in NAMES:
            moments, count = self._moments[name], self.count
            moments.first[:count] = state[f"{name}.first"].to(self.device)
            moments.second[:count] = state[f"{name}.second"].to(self.device)
            moments.steps.copy_(state[f"{name}.steps"])

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on, on the CPU."""
        found: dict[str, torch.Tensor] = {}
        for name in NAMES:
            found[name] = self._buffers[name][: self.count]
            moments = self._moments[name]
            found[f"{name}.first"], found[f"{name}.second"] = moments.first[: self.count], moments.second[: self.count]
            found[f"{name}.steps"] = moments.steps
        return {name: value.detach().cpu().clone() for name, value in found.items()}

    def _fill(self, given: dict[str, torch.Tensor]) -> None:
        self.count = len(given["means"])
        for name, value in given.items():
            self._buffers[name][: self.count] = value.to(self.device)
        self._take_part()

    def _take_part(self) -> None:
        """Leaf tensors over the rows that take part."""
        rows = self.count
        if self.device.type == "cuda":
            rows = min(-(-self.count // BLOCK) * BLOCK, self.capacity)
        self._buffers["logit_opacities"][self.count :] = ABSENT
        self._buffers["quats"][self.count :] = torch.tensor([1.0, 0, 0, 0], device=self.device)
        for name in NAMES:
            for moment in (self._moments[name].first, self._moments[name].second):
                moment[self.count :] = 0
        if not self.values or self.rows != rows or self.device.type == "cpu":
            self.values = {name: buffer[:rows].detach().requires_grad_() for name, buffer in self._buffers.items()}
            self._taking = {
                name: Moments(m.first[:rows], m.second[:rows], m.steps) for name, m in self._moments.items()
            }

    @property
    def rows(self) -> int:
        """How many rows take part, those that are not in use included."""
        return len(self.values["means"])

    def step(self, rates: list[float] | torch.Tensor) -> None:
        """One step of Adam, with a step size for each of NAMES; clears the gradients."""
        for name, rate in zip(NAMES, rates, strict=True):
            step_group([self.values[name]], [self._taking[name]], rate)

    def edit(self, keep: torch.Tensor, added: dict[str, torch.Tensor]) -> None:
        """Keep the Gaussians in use at these positions, and append others, whose moments start at zero."""
        kept, new = len(keep), len(added["means"])
        with torch.no_grad():
            for name in NAMES:
                buffer, moments = self._buffers[name], self._moments[name]
                for rows in (buffer, moments.first, moments.second):
                    rows[:kept] = rows[keep]
                buffer[kept : kept + new] = added[name]
                for rows in (moments.first, moments.second):
                    rows[kept : kept + new] = 0
            self.count = kept + new
            self._take_part()

    def used(self, name: str) -> torch.Tensor:
        """The rows in use of a parameter, detached."""
        return self._buffers[name][: self.count]

    def gaussians(self) -> Gaussians:
        """The Gaussians in use, detached, with unit quats."""
        sh_rest = self.used("sh_rest")
        return Gaussians(
            means=self.used("means").clone(),
            quats=torch.nn.functional.normalize(self.used("quats"), dim=-1),
            scales=torch.exp(self.used("log_scales")),
            opacities=torch.sigmoid(self.used("logit_opacities")),
            colors=self.used("colors").clone(),
            is_foreground=torch.ones(self.count, dtype=torch.bool, device=self.device),
            sh_rest=sh_rest.clone() if sh_rest.shape[1] else None,
        )
