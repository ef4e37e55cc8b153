"""Control nodes whose pose in every frame is a number of its own: of a short clip they are found in a tenth of the
steps of a network, and nothing has to be learned to say where they are."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from legs4d.deform.fields.nodes import NodeField


class PosedNodes(NodeField):
    """As `NodeField`, with a table of shifts and turns in place of its network, straight between frames.

    What keeps poses together is the rigidity of neighbours and how evenly nodes move in time.
    """

    def _network(self, seed: int) -> list[torch.Tensor]:
        count, frames = self.settings.count, self.num_frames
        still = torch.tensor([1.0, 0, 0, 0]).expand(frames, count, 4)
        made = [torch.zeros(frames, count, 3), still.clone()]
        return [value.to(self.device).requires_grad_() for value in made]

    def poses(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        at = (times * (self.num_frames - 1)).clamp(0, self.num_frames - 1)
        first = at.floor().long().clamp(max=max(self.num_frames - 2, 0))
        share = (at - first)[:, None, None]
        second = (first + 1).clamp(max=self.num_frames - 1)
        shifts, turns = (
            (1 - share) * v.index_select(0, first) + share * v.index_select(0, second) for v in self._layers
        )
        return shifts * self.radius, turns, turns[..., :0]

    @torch.no_grad()
    def start(self, shifts: torch.Tensor) -> None:
        """Begin with these shifts [T, K, 3], scene units, unturned."""
        self._layers[0].copy_(shifts / self.radius)

    @torch.no_grad()
    def put(self, frame: int, places: torch.Tensor, turns: torch.Tensor) -> None:
        """Where the nodes are in a frame: places [K, 3] scene units, turns [K, 4] wxyz."""
        shifts, table = self._layers
        shifts[frame] = (places - self.nodes) / self.radius
        turns = normalize(turns, dim=-1)
        # Of the two quaternions of a turn the one that is nearer to the frame's before.
        before = table[max(frame - 1, 0)]
        table[frame] = turns * torch.where((turns * before).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
