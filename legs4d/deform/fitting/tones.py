"""How each picture sees colour: a gain and an offset per channel, of what is filmed, not of what lies behind it.

Cameras that set exposure and white balance by themselves show one colour differently from picture to picture. What all
pictures would do together is the thing's own colour, so the mean of all is taken off (as `reconstruct` has it for the
cameras of a rig): held-out pictures are as the mean of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.deform.fitting.adam import Moments, step_group

KEPT = 0.01
"""Times the mean square of all gains and offsets, in the loss: what a picture does not tell of them stays nothing."""

WORTH_TELLING = 1.05
"""Of the brightest gain in the darkest."""


@dataclass
class Tones:
    """Of P cameras or pictures that F pictures were taken by: picture ≈ exp(gain) · what is filmed + offset.

    Attributes:
        of: [F] int64 whose tone each picture has: a camera that stands still has one, whenever it took a picture.
        values: [P, 6] gain and offset of three channels; a leaf.
    """

    of: torch.Tensor
    values: torch.Tensor

    @classmethod
    def none(cls, of: NDArray[np.int64], device: torch.device) -> Tones:
        """All alike yet."""
        values = torch.zeros(int(of.max()) + 1, 6, device=device).requires_grad_()
        return cls(torch.as_tensor(of, device=device), values)

    def __post_init__(self) -> None:
        self._moments = Moments.of(self.values.detach())

    def applied(
        self, color: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor, which: torch.Tensor
    ) -> torch.Tensor:
        """Renderings [B, H, W, 3] with alpha [B, H, W] on backgrounds [B, 3] as the pictures `which` [B] show them."""
        gain, offset = self._centred()[self.of[which]][:, None, None].split(3, dim=-1)
        opaque = alpha[..., None]
        behind = (1 - opaque) * background[:, None, None]
        return torch.exp(gain) * (color - behind) + offset * opaque + behind

    def cost(self) -> torch.Tensor:
        """[] for the loss."""
        return KEPT * self._centred().square().mean()

    def _centred(self) -> torch.Tensor:
        return self.values - self.values.mean(dim=0)

    def step(self, rate: float | torch.Tensor) -> None:
        """One step of Adam; clears the gradient."""
        step_group([self.values], [self._moments], rate)

    @torch.no_grad()
    def of_pictures(self) -> NDArray[np.float32]:
        """[F, 6] gain and offset of each picture."""
        return self._centred()[self.of].cpu().numpy()

    @torch.no_grad()
    def told(self) -> list[str]:
        """A sentence on how far pictures differ, if they do."""
        gains = np.exp(self._centred()[:, :3].mean(dim=1).cpu().numpy())
        if gains.max() < WORTH_TELLING * gains.min():
            return []
        which = f"{len(gains)} of them are {gains.min():.2f} to {gains.max():.2f} times as bright as all on average"
        return [f"Pictures differ in exposure, which was fitted: {which}."]

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on."""
        m = self._moments
        return {"value": self.values.detach(), "first": m.first, "second": m.second, "steps": m.steps}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        with torch.no_grad():
            self.values.copy_(state["value"])
            for name in ("first", "second", "steps"):
                getattr(self._moments, name).copy_(state[name])
