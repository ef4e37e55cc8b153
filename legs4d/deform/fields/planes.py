"""A HexPlane field that bends every Gaussian by itself (4DGaussians, Wu et al. 2024), while it is optimised."""

from __future__ import annotations

import torch

from legs4d.config.deform import DeformSettings
from legs4d.deform.fields.field import Bent
from legs4d.gaussians.hexplane import PLANES, HexPlane
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.reconstruct.fitting.quaternions import multiply

OF_TIME = (2, 4, 5)
"""Planes with time as an axis."""
MARGIN = 1.6
"""Half the side of the box that the planes cover, in radii (DreamScene4D)."""
LEAST_TIMES = 8


class PlaneField:
    """Six planes at several resolutions, and a small network, for any number of Gaussians.

    Args:
        num_frames: of the sequence; how finely time is told apart follows from it.
        center: [3] scene units, radius: of what is filmed.
        margin: half the side of the box that the planes cover, in radii.
    """

    def __init__(
        self,
        settings: DeformSettings,
        num_frames: int,
        center: torch.Tensor,
        radius: float,
        device: torch.device,
        *,
        margin: float = MARGIN,
    ) -> None:
        own, chance = settings.planes, torch.Generator().manual_seed(settings.seed)
        self.settings, self.radius = own, radius
        times = own.time or max(LEAST_TIMES, num_frames // 2)

        def leaf(value: torch.Tensor) -> torch.Tensor:
            return value.to(device).requires_grad_()

        def plane(level: int, axes: tuple[int, int]) -> torch.Tensor:
            sides = [times if axis == 3 else own.space * 2**level for axis in axes]
            shape = (1, own.channels, sides[1], sides[0])
            # Times change nothing at the start, and space is told apart by chance.
            return leaf(torch.ones(shape) if 3 in axes else 0.1 + 0.4 * torch.rand(shape, generator=chance))

        def linear(inputs: int, outputs: int, *, zero: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
            weight = (torch.rand(outputs, inputs, generator=chance) * 2 - 1) / inputs**0.5
            return leaf(torch.zeros_like(weight) if zero else weight), leaf(torch.zeros(outputs))

        levels = [[plane(level, axes) for axes in PLANES] for level in range(own.levels)]
        features = own.levels * own.channels * (1 if own.combine == "product" else len(PLANES))
        heads = {"position": 3, "rotations": 3}
        heads |= {"scales": 3} if "scales" in settings.changing else {}
        heads |= {"opacity": 1} if "opacities" in settings.changing else {}
        self.planes = HexPlane(
            box=torch.stack([center.to(device) - margin * radius, center.to(device) + margin * radius]),
            planes=levels,
            trunk=[linear(features if not i else own.width, own.width) for i in range(own.layers)],
            heads={name: [linear(own.width, own.width), linear(own.width, k, zero=True)] for name, k in heads.items()},
            combine=own.combine,
        )
        self._grids = [value for level in levels for value in level]
        layers = [*self.planes.trunk, *(layer for head in self.planes.heads.values() for layer in head)]
        self._network = [value for layer in layers for value in layer]
        self._moments = [Moments.of(value) for value in (*self._grids, *self._network)]

    def bend(self, means: torch.Tensor, quats: torch.Tensor, times: torch.Tensor) -> Bent:
        batch, count = len(times), len(means)
        # Where a Gaussian looks is not what it is moved by: a mean that sought its motion would leave its surface.
        points = means.detach().expand(batch, -1, -1).reshape(-1, 3)
        when = (2 * times - 1).repeat_interleave(count)[:, None]
        hidden = self.planes.hidden(self.planes.features(points, when))
        found = {name: self.planes.head(name, hidden).view(batch, count, -1) for name in self.planes.heads}
        turn = torch.cat([torch.ones_like(found["rotations"][..., :1]), found["rotations"]], dim=-1)
        unit = torch.nn.functional.normalize(quats, dim=-1).expand(batch, -1, -1)
        logits = found["opacity"][..., 0] if "opacity" in found else None
        return Bent(means + found["position"] * self.radius, multiply(turn, unit), found.get("scales"), logits)

    def regularise(self, times: torch.Tensor, bent: Bent) -> torch.Tensor:
        own = self.settings
        smooth = sum(total_variation(level[i]) for level in self.planes.planes for i in range(6) if i not in OF_TIME)
        steady = sum(second_difference(level[i]) for level in self.planes.planes for i in OF_TIME)
        return torch.as_tensor(own.smooth_weight * smooth + own.time_weight * steady)

    def step(self, rate: float | torch.Tensor) -> None:
        grids = len(self._grids)
        step_group(self._grids, self._moments[:grids], rate * self.settings.grid_rate)
        step_group(self._network, self._moments[grids:], rate)

    def follow(self, means: torch.Tensor, opacities: torch.Tensor, *, spread: bool, for_good: bool = False) -> None:
        pass

    def inherit(self, means: torch.Tensor, sources: torch.Tensor) -> None:
        pass

    def state(self) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for number, (value, m) in enumerate(zip((*self._grids, *self._network), self._moments, strict=True)):
            found |= {f"{number}": value, f"{number}.first": m.first, f"{number}.second": m.second}
            found[f"{number}.steps"] = m.steps
        return {name: value.detach().cpu().clone() for name, value in found.items()}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for number, (value, m) in enumerate(zip((*self._grids, *self._network), self._moments, strict=True)):
                value.copy_(state[f"{number}"])
                m.first.copy_(state[f"{number}.first"])
                m.second.copy_(state[f"{number}.second"])
                m.steps.copy_(state[f"{number}.steps"])


def total_variation(plane: torch.Tensor) -> torch.Tensor:
    """[] of a plane [1, C, H, W]: twice the mean squared differences down and across (K-Planes, equation 4)."""
    down, across = plane.diff(dim=2).square().mean(), plane.diff(dim=3).square().mean()
    return 2 * (down + across)


def second_difference(plane: torch.Tensor) -> torch.Tensor:
    """[] mean squared second difference along the second axis of a plane [1, C, H, W], which is time's (K-Planes,
    equation 5)."""
    return plane.diff(n=2, dim=2).square().mean()
