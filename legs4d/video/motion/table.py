"""Nodes with a pose of their own in every frame: of a short clip they are found in a tenth of a network's steps."""

from __future__ import annotations

import torch

from legs4d.config.deform import DeformSettings
from legs4d.deform.fields.nodes import NodeField


class TableField(NodeField):
    """As `NodeField`, but the poses of the nodes in each of T frames are numbers of their own, [T, K, 7].

    Between frames they are those of the nearest; what keeps them together is the rigidity of neighbours and how evenly
    nodes move in time.
    """

    def __init__(
        self,
        settings: DeformSettings,
        capacity: int,
        num_frames: int,
        center: torch.Tensor,
        radius: float,
        device: torch.device,
    ) -> None:
        self.num_frames = num_frames
        super().__init__(settings, capacity, num_frames, center, radius, device)

    def _network(self, seed: int) -> list[torch.Tensor]:
        table = torch.zeros(self.num_frames, self.settings.count, 7)
        return [table.to(self.device).requires_grad_()]

    def poses(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at = (times * (self.num_frames - 1)).round().long().clamp(0, self.num_frames - 1)
        out = self._layers[0][at]
        turns = torch.cat([1 + out[..., 6:7], out[..., 3:6]], dim=-1)
        return out[..., :3] * self.radius, turns, out[..., 7:]

    @torch.no_grad()
    def start(self, shifts: torch.Tensor) -> None:
        """Begin with these shifts [T, K, 3], scene units."""
        self._layers[0][..., :3] = shifts / self.radius
