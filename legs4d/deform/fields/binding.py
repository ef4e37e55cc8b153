"""Which nodes carry which Gaussians."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Binding:
    """Which nodes carry each Gaussian, and the same the other way round. All on one device; kept in place when bound
    anew, so that a captured graph finds it.

    Attributes:
        index: [N, J] int32, the nodes of each Gaussian.
        weight: [N, J] float32, summing to 1.
        start: [K + 1] int32, where each node's part of `carried` and `share` begins.
        order: [N · J] int64, positions in `index`, flattened, by node.
        carried: [N · J] int32, Gaussians by node; share: [N · J] float32, the weight of each.
    """

    index: torch.Tensor
    weight: torch.Tensor
    start: torch.Tensor
    order: torch.Tensor
    carried: torch.Tensor
    share: torch.Tensor

    @classmethod
    def empty(cls, count: int, bindings: int, nodes: int, device: torch.device) -> Binding:
        return cls(
            torch.zeros(count, bindings, dtype=torch.int32, device=device),
            torch.full((count, bindings), 1 / bindings, device=device),
            torch.zeros(nodes + 1, dtype=torch.int32, device=device),
            torch.zeros(count * bindings, dtype=torch.int64, device=device),
            torch.zeros(count * bindings, dtype=torch.int32, device=device),
            torch.zeros(count * bindings, device=device),
        )

    def set(self, index: torch.Tensor, weight: torch.Tensor) -> None:
        """Bind the first n Gaussians to these nodes [n, J] with these weights [n, J]; the others, which are not there
        yet, follow the first node, as a pose of nothing at all is none."""
        count, bindings = index.shape
        self.index[count:], self.weight[count:] = 0, 0
        self.weight[count:, 0] = 1
        self.index[:count] = index.to(torch.int32)
        self.weight[:count] = weight
        order = index.flatten().argsort(stable=True)
        numbers = torch.arange(len(self.start), device=index.device)
        self.start.copy_(torch.searchsorted(index.flatten()[order].contiguous(), numbers))
        self.order[: count * bindings] = order
        self.carried[: count * bindings] = (order // bindings).to(torch.int32)
        self.share[: count * bindings] = weight.flatten()[order]

    def pull_of_weights(self, values: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """[N, J] what a gradient [B, N, C] of what N Gaussians get says of their weights; values [B, K, C] of nodes."""
        index = self.index[: gradient.shape[1]].long()
        each = [(values[:, index[:, j]] * gradient).sum(dim=(0, 2)) for j in range(index.shape[1])]
        return torch.stack(each, dim=1)
