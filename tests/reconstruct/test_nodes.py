"""Nodes carry Gaussians: a rigid motion of all nodes is a rigid motion of everything on them."""

import math
from dataclasses import replace

import torch

from legs4d.config import NodeSettings
from legs4d.reconstruct.nodes import carry, place_nodes


def points(count: int = 500) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0))


def test_every_gaussian_hangs_on_its_nearest_nodes() -> None:
    means = points()
    nodes = place_nodes(means, NodeSettings(count=40, bindings=3))
    assert len(set(nodes.gaussian.tolist())) == 40
    torch.testing.assert_close(nodes.weight.sum(dim=1), torch.ones(500))
    distances = (means[:, None] - means[nodes.gaussian][None]).norm(dim=-1)
    assert torch.equal(distances.argmin(dim=1), nodes.index[:, 0])
    assert (nodes.weight[:, 0] >= nodes.weight[:, 2]).all()
    # Farthest point sampling leaves nobody far from a node: 40 balls that cover a unit cube need about this radius.
    assert float(distances.min(dim=1).values.max()) < 0.35


def test_nodes_at_rest_move_nothing() -> None:
    means = points()
    quats = torch.nn.functional.normalize(torch.randn(500, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    nodes = place_nodes(means, NodeSettings(count=20))
    still = torch.tensor([1.0, 0, 0, 0]).repeat(20, 1)
    moved, turned = carry(nodes, means, quats, torch.zeros(20, 3), still)
    torch.testing.assert_close(moved, means)
    torch.testing.assert_close(turned, quats)


def test_a_rigid_motion_of_all_nodes_carries_rigidly() -> None:
    means = points()
    quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(500, 1)
    nodes = place_nodes(means, NodeSettings(count=25))
    angle, shift = 0.7, torch.tensor([0.3, -1.0, 0.2])
    turn = torch.tensor([math.cos(angle / 2), 0, math.sin(angle / 2), 0])
    rotation = torch.tensor([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
    expected = means @ rotation.T + shift
    anchors = means[nodes.gaussian]
    moved, turned = carry(nodes, means, quats, expected[nodes.gaussian] - anchors, turn.repeat(25, 1) * 3)
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned, turn.expand(500, 4))


def test_the_kernel_carries_as_torch_does_in_float64_and_so_do_its_gradients() -> None:
    chance = torch.Generator().manual_seed(2)
    means, nodes = points(60), place_nodes(points(60), NodeSettings(count=12))
    quats = torch.nn.functional.normalize(torch.randn(60, 4, generator=chance), dim=-1)
    shifts, turns = torch.randn(12, 3, generator=chance), torch.randn(12, 4, generator=chance)
    wanted = torch.randn(60, 3, generator=chance), torch.randn(60, 4, generator=chance)
    wide = replace(nodes, weight=nodes.weight.double())
    found = []
    for precision, bound in ((torch.float32, nodes), (torch.float64, wide)):
        free = [values.detach().to(precision).requires_grad_() for values in (shifts, turns)]
        moved, turned = carry(bound, means.to(precision), quats.to(precision), *free)
        ((moved * wanted[0].to(precision)).sum() + (turned * wanted[1].to(precision)).sum()).backward()
        found.append((moved.detach(), turned.detach(), *(values.grad for values in free)))
    for kernel, truth in zip(*found, strict=True):
        torch.testing.assert_close(kernel.double(), truth, atol=2e-5, rtol=2e-5)
