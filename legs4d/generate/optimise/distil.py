"""Score distillation of an object from random sides (DreamFusion, Poole et al. 2023), by Zero-1-to-3."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.generate.lenses import Lens
from legs4d.priors.guidance.zero123 import Zero123
from legs4d.raster.states import CameraTable, States, render_states
from legs4d.raster.tiles import Room

SIDE = 256
"""Pixels of what is rendered for it."""
STEPS = (200, 600)
"""Of the noise: first and last."""
SCALE = 2.0
"""How far beyond the unconditional answer."""
WEIGHT = 1.0
"""Of the gradient (1 − ᾱ)(ε̂ − ε): 4DGen takes it twice, and then half of that."""


@dataclass(frozen=True)
class View:
    """One camera that nobody filmed with."""

    table: CameraTable

    def render(self, states: States, near: float, room: Room | None) -> torch.Tensor:
        """[1, S, S, 3] one state, on white."""
        device = states.means.device
        white, which = torch.ones(1, 3, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        return render_states(states, self.table, which, white, near=near, room=room)[0]


@dataclass
class Distillation:
    """What a helper of the role `guidance` says of renderings.

    Args:
        prior: which.
        frames: [T, S, S, 4] uint8 RGBA of the reference, colours times alpha.
        side: pixels of what is rendered for it.
    """

    prior: Zero123
    frames: NDArray[np.uint8]
    device: torch.device
    side: int = SIDE
    _known: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def view(self, lens: Lens, elevation: float, azimuth: float) -> View:
        return View(CameraTable.of(lens.cameras(elevation, azimuth, self.side), self.device))

    def loss(
        self, color: torch.Tensor, elevation: float, azimuth: float, frame: int, chance: np.random.Generator
    ) -> torch.Tensor:
        """[] whose gradient in a rendering [1, S, S, 3] is that of score distillation with a frame as the reference."""
        if frame not in self._known:
            seen = self.frames[frame].astype(np.float32) / np.float32(255)
            self._known[frame] = self.prior.reference(seen[..., :3] + 1 - seen[..., 3:])
        step = int(chance.integers(STEPS[0], STEPS[1] + 1))
        generator = torch.Generator(self.device).manual_seed(int(chance.integers(2**31)))
        pose = self.prior.pose(elevation, azimuth, 0.0)[None]
        shown = color.permute(0, 3, 1, 2)
        told = self.prior.loss(shown, pose, self._known[frame], step, scale=SCALE, generator=generator)
        return WEIGHT * told
