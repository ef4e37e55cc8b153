"""Coarse motion: a few nodes move rigidly and carry the Gaussians around them (as embedded deformation, Sumner et al.
2007, and SC-GS, Huang et al. 2024, do), so that what is one thing moves as one, however far it goes between frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from legs4d import _csrc
from legs4d.config import NodeSettings
from legs4d.executor import default_threads
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices


@dataclass(frozen=True)
class Nodes:
    """K nodes and what hangs on them, fixed in the first frame.

    Attributes:
        gaussian: [K] int64, the moving Gaussian at which each node sits.
        index: [M, B] int64, the nodes that carry each Gaussian.
        weight: [M, B], summing to 1.
    """

    gaussian: torch.Tensor
    index: torch.Tensor
    weight: torch.Tensor


def place_nodes(means: torch.Tensor, settings: NodeSettings, parts: torch.Tensor | None = None) -> Nodes:
    """Nodes spread over the Gaussians by farthest point sampling, each Gaussian bound to the nearest few.

    Args:
        parts: [M] int64, what each Gaussian is a part of: only nodes in the same thing carry it, and each has one at
            least. None for one thing.
    """
    parts = torch.zeros(len(means), dtype=torch.int64, device=means.device) if parts is None else parts
    count = min(max(settings.count, len(parts.unique())), len(means))
    chosen = torch.zeros(count, dtype=torch.int64, device=means.device)
    distance = torch.full((len(means),), torch.inf, device=means.device)
    for i in range(1, count):
        here = chosen[i - 1]
        away = torch.where(parts == parts[here], (means - means[here]).square().sum(dim=-1), torch.inf)
        distance = torch.minimum(distance, away)
        chosen[i] = distance.argmax()  # in a thing that has no node yet, everything is infinitely far from one
    apart = torch.cdist(means, means[chosen]).masked_fill(parts[:, None] != parts[chosen], torch.inf)
    bound = apart.topk(min(settings.bindings, count), dim=1, largest=False)
    within = bound.values.isfinite()
    # Falls to exp(-2) where the next node out would take over, so that weights fade before a binding ends.
    reach = torch.where(within, bound.values, 0).amax(dim=1, keepdim=True).clamp(min=1e-6)
    weight = torch.where(within, torch.exp(-2 * (bound.values / reach) ** 2), 0)
    return Nodes(chosen, bound.indices, weight / weight.sum(dim=1, keepdim=True))


def carry(
    nodes: Nodes, means: torch.Tensor, quats: torch.Tensor, shifts: torch.Tensor, turns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaussians after their nodes have moved: linear blend skinning. Differentiable in `shifts` and `turns`.

    Args:
        means, quats: [M, 3], [M, 4] unit, before.
        shifts: [K, 3] how far each node goes.
        turns: [K, 4] wxyz of any length, how it turns about itself.

    Returns:
        (means [M, 3], unit quats [M, 4]).
    """
    if means.device.type == "cpu" and means.dtype == torch.float32:
        moved, turned = _CarryCpu.apply(nodes, means, quats, shifts, turns)
        return moved, turned
    return carry_torch(nodes, means, quats, shifts, turns)


class _CarryCpu(torch.autograd.Function):
    """`csrc`'s kernel: for as few nodes as there are, torch takes ten times as long."""

    @staticmethod
    def forward(
        ctx: Any,
        nodes: Nodes,
        means: torch.Tensor,
        quats: torch.Tensor,
        shifts: torch.Tensor,
        turns: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tensors = {
            "gaussian": nodes.gaussian,
            "index": nodes.index,
            "weight": nodes.weight,
            "means": means,
            "quats": quats,
            "shifts": shifts,
            "turns": turns,
        }
        # The optimiser changes shifts and turns in place, after the backward pass.
        arrays = {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}
        ctx.arrays = arrays
        moved, turned = _csrc.carry(**arrays, threads=default_threads())
        return torch.from_numpy(moved), torch.from_numpy(turned)

    @staticmethod
    def backward(ctx: Any, v_moved: torch.Tensor, v_turned: torch.Tensor) -> tuple[Any, ...]:
        arrays = {
            **ctx.arrays,
            "moved_gradient": v_moved.contiguous().numpy(),
            "turned_gradient": v_turned.contiguous().numpy(),
        }
        v_shifts, v_turns = _csrc.carry_backward(**arrays, threads=default_threads())
        return None, None, None, torch.from_numpy(v_shifts), torch.from_numpy(v_turns)


def carry_torch(
    nodes: Nodes, means: torch.Tensor, quats: torch.Tensor, shifts: torch.Tensor, turns: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`carry` in plain PyTorch, for CUDA and for any precision."""
    shape = nodes.index.shape

    def of_nodes(values: torch.Tensor) -> torch.Tensor:
        # Not by indexing: on CUDA its gradient would sort the indices in every step.
        return values.index_select(0, nodes.index.flatten()).view(*shape, *values.shape[1:])

    anchors = means[nodes.gaussian]
    turned = torch.einsum("mbij,mbj->mbi", of_nodes(rotation_matrices(turns)), means[:, None] - of_nodes(anchors))
    carried = turned + of_nodes(anchors + shifts)
    blended = (nodes.weight[..., None] * of_nodes(torch.nn.functional.normalize(turns, dim=-1))).sum(dim=1)
    spun = multiply(torch.nn.functional.normalize(blended, dim=-1), quats)
    return (nodes.weight[..., None] * carried).sum(dim=1), torch.nn.functional.normalize(spun, dim=-1)
