"""What bends canonical Gaussians in time: one protocol, of which control nodes and HexPlane fields are two kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Bent:
    """N Gaussians at B times.

    Attributes:
        means: [B, N, 3]; quats: [B, N, 4] of any length.
        log_scales: [B, N, 3] or [B, N, 1] what is added to log scales, or None.
        logits: [B, N] what is added to opacity logits, or None.
        shifts: [B + ·, K, 3] scene units of the nodes that bend them, at these times and then at others that are asked
            for to regularise; turns: [B + ·, K, 4] of the nodes, of length 1; None where there are none.
    """

    means: torch.Tensor
    quats: torch.Tensor
    log_scales: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    shifts: torch.Tensor | None = None
    turns: torch.Tensor | None = None


class Field(Protocol):
    """Something that bends; its tensors stay where they are, so that a captured graph finds them."""

    def bend(self, means: torch.Tensor, quats: torch.Tensor, times: torch.Tensor) -> Bent:
        """Gaussians (means [N, 3], quats [N, 4]) at times [B] in 0..1; differentiable in all of it."""
        ...

    def regularise(self, times: torch.Tensor, bent: Bent) -> torch.Tensor:
        """[] how unlikely the motion at these times is, to which `bend` gave this."""
        ...

    def step(self, rate: float | torch.Tensor) -> None:
        """One step of Adam; clears the gradients."""
        ...

    def follow(self, means: torch.Tensor, opacities: torch.Tensor, *, spread: bool, for_good: bool = False) -> None:
        """Suit other Gaussians (means [N, 3], opacities [N], detached), as after growth.

        Args:
            spread: whether to place anew what is placed among Gaussians.
            for_good: whether this is the last time: from here on what each is bound to may be learned.
        """
        ...

    def inherit(self, means: torch.Tensor, sources: torch.Tensor) -> None:
        """Suit other Gaussians (means [N, 3]) that come from those in these rows [N], once they are bound for good."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """All that the next step depends on, on the CPU."""
        ...

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        ...


class Still:
    """What does not move: static captures."""

    def bend(self, means: torch.Tensor, quats: torch.Tensor, times: torch.Tensor) -> Bent:
        count = len(times)
        return Bent(means.expand(count, -1, -1), quats.expand(count, -1, -1))

    def regularise(self, times: torch.Tensor, bent: Bent) -> torch.Tensor:
        return times.new_zeros(())

    def step(self, rate: float | torch.Tensor) -> None:
        pass

    def follow(self, means: torch.Tensor, opacities: torch.Tensor, *, spread: bool, for_good: bool = False) -> None:
        pass

    def inherit(self, means: torch.Tensor, sources: torch.Tensor) -> None:
        pass

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        pass


def waves(values: torch.Tensor, octaves: int) -> torch.Tensor:
    """Values [..., D] and sines and cosines of them in so many octaves, [..., D (2 octaves + 1)] (NeRF, Mildenhall et
    al. 2020, equation 4)."""
    if not octaves:
        return values
    angles = values[..., None] * (torch.pi * 2.0 ** torch.arange(octaves, device=values.device))
    return torch.cat([values, angles.sin().flatten(-2), angles.cos().flatten(-2)], dim=-1)
