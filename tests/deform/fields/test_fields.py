"""What bends Gaussians against closed forms and against what other programs computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from legs4d.config.deform import DeformSettings, NodesSettings, PlanesSettings
from legs4d.deform.fields.binding import Binding
from legs4d.deform.fields.blend import blend
from legs4d.deform.fields.nodes import NodeField, farthest
from legs4d.deform.fields.planes import PlaneField, second_difference, total_variation
from legs4d.deform.fields.rigidity import rigidity

SHARED = Path(__file__).resolve().parents[4] / "shared/reference"
CPU = torch.device("cpu")


def test_blending_is_a_product_with_the_matrix_of_weights_and_its_gradient_with_the_transpose() -> None:
    torch.manual_seed(0)
    index = torch.stack([torch.randperm(9)[:4] for _ in range(30)])
    weight = torch.softmax(torch.randn(30, 4), dim=1)
    binding = Binding.empty(40, 4, 9, CPU)
    binding.set(index, weight)
    values = torch.randn(3, 9, 5, requires_grad=True)
    pull = torch.randn(3, 30, 5)
    out = blend(values, binding, 30)
    out.backward(pull)
    matrix = torch.zeros(30, 9).scatter_(1, index, weight)
    torch.testing.assert_close(binding.index.flatten()[binding.order[:120]].diff() >= 0, torch.ones(119).bool())
    torch.testing.assert_close(out, torch.einsum("nk,bkc->bnc", matrix, values))
    torch.testing.assert_close(values.grad, torch.einsum("nk,bnc->bkc", matrix, pull))
    # The same the other way round, as CUDA's backward pass reads it.
    back = torch.zeros(9, 30)
    for node in range(9):
        part = slice(int(binding.start[node]), int(binding.start[node + 1]))
        back[node, binding.carried[part].long()] = binding.share[part]
    torch.testing.assert_close(back, matrix.T)


def test_the_gradient_of_weights_is_that_of_the_product() -> None:
    torch.manual_seed(0)
    index = torch.stack([torch.randperm(9)[:4] for _ in range(30)])
    binding = Binding.empty(40, 4, 9, CPU)
    binding.set(index, torch.full((30, 4), 0.25))
    values, pull = torch.randn(3, 9, 5, requires_grad=True), torch.randn(3, 30, 5)
    given = torch.softmax(torch.randn(30, 4), dim=1).requires_grad_()
    blend(values, binding, 30, given).backward(pull)
    found = values.grad, given.grad
    values.grad, given.grad = None, None
    matrix = torch.zeros(30, 9).scatter(1, index, given)
    torch.einsum("nk,bkc->bnc", matrix, values).backward(pull)
    torch.testing.assert_close(found, (values.grad, given.grad))


def test_what_touches_something_else_learns_not_to_move_with_it() -> None:
    # Two plates of nodes at x = ±0.1, and a point that is a little nearer to the wrong one.
    settings = DeformSettings(
        nodes=NodesSettings(count=8, bindings=8, width=16, depth=3, rigid_neighbours=3, weights_rate=30)
    )
    plate = torch.tensor([[0.0, y, z] for y in (0.0, 0.2) for z in (0.0, 0.2)])
    left, right = plate - torch.tensor([0.1, 0, 0]), plate + torch.tensor([0.1, 0, 0])
    points = torch.cat([left, right, torch.tensor([[-0.01, 0.1, 0.1]])])
    field = NodeField(settings, 16, 11, torch.zeros(3), 0.5, CPU)
    field.nodes.copy_(torch.cat([left, right]))
    field._settle()

    def poses(times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        shifts = torch.zeros(len(times), 8, 3)
        shifts[:, 4:, 1] = times[:, None]  # only the right one moves
        return shifts, torch.tensor([1.0, 0, 0, 0]).expand(len(times), 8, 4), torch.zeros(len(times), 8, 0)

    field.poses = poses  # type: ignore[method-assign]
    times, truth = torch.tensor([0.5, 1.0]), torch.tensor([0.5, 1.0])

    def off() -> torch.Tensor:
        moved = field.bend(points, torch.ones(9, 4), times).means[:, 8, 1] - points[8, 1]
        return (moved - truth).square().mean()

    field.follow(points, torch.ones(9), spread=False, for_good=True)
    before = float(off().detach())
    for _ in range(100):
        off().backward()
        field.step(2e-3)
    index, weight = (part.clone() for part in field.bound())
    assert before > 0.1 and float(off().detach()) < 0.01 * before
    assert float(weight[8][index[8] >= 4].sum()) > 0.9 and float(weight.sum(dim=1).sub(1).abs().max()) < 1e-5
    other = NodeField(settings, 16, 11, torch.zeros(3), 0.5, CPU)
    other.poses = poses  # type: ignore[method-assign]
    other.load(field.state())
    torch.testing.assert_close(other.bound()[1], weight)
    field.inherit(points[[8, 0, 8]], torch.tensor([8, 0, 8]))  # of three that are left, two come from the ninth
    torch.testing.assert_close(field.bound(), (index[[8, 0, 8]], weight[[8, 0, 8]]))


def test_what_turns_as_one_costs_nothing_and_the_inverse_turn_does() -> None:
    chance = np.random.default_rng(0)
    points = torch.tensor(chance.normal(size=(30, 3)), dtype=torch.float32)
    turn = Rotation.from_rotvec([0.1, 0.3, -0.25])
    now = torch.tensor(turn.apply(points.numpy()), dtype=torch.float32)
    quats = torch.tensor(turn.as_quat(scalar_first=True), dtype=torch.float32).expand(1, 30, 4)
    neighbours = torch.cdist(points, points).topk(7, largest=False).indices[:, 1:]
    weights = torch.ones(30, 6)
    assert float(rigidity(points, now[None] + 0.7, quats, neighbours, weights)) < 1e-10
    inverse = quats * torch.tensor([1.0, -1, -1, -1])
    assert float(rigidity(points, now[None], inverse, neighbours, weights)) > 0.05


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared/reference beside the checkout")
def test_rigidity_of_the_reference_cloud_is_nothing_where_the_original_says_0_036() -> None:
    with np.load(SHARED / "dreamscene.npz", allow_pickle=False) as file:
        rest, now = (torch.as_tensor(file[name]) for name in ("regular/xyz", "rigid/xyz_turned"))
        before, after = (file[name] for name in ("rigid/quats", "rigid/quats_turned"))
        neighbours = torch.as_tensor(file["regular/neighbours"]).long()
        weights = torch.as_tensor(file["regular/neighbour_weights"])
        assert file["rigid/loss_right_way"][0] < 1e-8 < file["rigid/loss_original_forward"][0]
    turns = Rotation.from_quat(after, scalar_first=True) * Rotation.from_quat(before, scalar_first=True).inv()
    quats = torch.as_tensor(turns.as_quat(scalar_first=True), dtype=torch.float32)
    assert float(rigidity(rest, now[None], quats[None], neighbours, weights)) < 1e-9


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared/reference beside the checkout")
@pytest.mark.parametrize("kind", ["mul", "cat"])
def test_regularisers_of_planes_are_those_of_the_original(kind: str) -> None:
    with np.load(SHARED / "4dgen.npz", allow_pickle=False) as file:
        for level in range(2):
            planes = [torch.as_tensor(file[f"{kind}_w_grid.grids.{level}.{plane}"]) for plane in range(6)]
            found = [[float(of(plane)) for plane in planes] for of in (total_variation, second_difference)]
            expected = [file[f"{kind}_reg_plane_{name}"][level] for name in ("tv", "second_difference")]
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def moving_field(count: int = 12) -> tuple[NodeField, torch.Tensor]:
    """Nodes that a network of chance moves, among points that hang on them."""
    settings = DeformSettings(nodes=NodesSettings(count=count, width=16, depth=3, rigid_neighbours=3))
    points = torch.rand(60, 3, generator=torch.Generator().manual_seed(1))
    field = NodeField(settings, 64, 11, torch.full((3,), 0.5), 0.6, CPU)
    field.follow(points, torch.ones(60), spread=True)
    with torch.no_grad():
        field._layers[4 + settings.nodes.depth - 1].normal_(std=0.3, generator=torch.Generator().manual_seed(2))
    return field, points


def test_nodes_carry_gaussians_as_embedded_deformation_has_it() -> None:
    field, points = moving_field()
    times = torch.tensor([0.2, 0.9])
    quats = torch.nn.functional.normalize(torch.randn(60, 4, generator=torch.Generator().manual_seed(3)), dim=-1)
    bent = field.bend(points, quats, times)
    shifts, turns, _ = field.poses(times)
    assert float((shifts[0] - shifts[1]).detach().abs().max()) > 0.01  # it moves
    index, weight = (values.numpy() for values in field.bound())
    nodes = field.nodes.numpy().astype(np.float64)
    distance = np.linalg.norm(points.numpy()[:, None] - nodes[index], axis=-1)
    expected = np.exp(-(distance**2) / (2 * field.widths.numpy()[index] ** 2))
    np.testing.assert_allclose(weight, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6)
    for moment in range(2):
        turned = Rotation.from_quat(turns[moment].detach().numpy()[index].reshape(-1, 4), scalar_first=True)
        local = (points.numpy()[:, None] - nodes[index]).reshape(-1, 3)
        moved = turned.apply(local).reshape(60, -1, 3) + (nodes + shifts[moment].detach().numpy())[index]
        np.testing.assert_allclose(bent.means[moment].detach(), (weight[..., None] * moved).sum(axis=1), atol=1e-5)
    assert bent.quats.shape == (2, 60, 4)


def test_nodes_may_turn_by_more_than_half_a_round() -> None:
    field, _ = moving_field()
    bias = field._layers[-1]
    with torch.no_grad():
        field._layers[4 + field.settings.depth - 1].zero_()
        bias.zero_()
        bias[3:7] = torch.tensor([0.0, 0.0, np.sin(1.9), np.cos(1.9) - 1])  # 3.8 about z
    _, turns, _ = field.poses(torch.tensor([0.5]))
    found = Rotation.from_quat(turns[0, 0].detach().numpy(), scalar_first=True).as_rotvec()
    np.testing.assert_allclose(found, [0, 0, 3.8 - 2 * np.pi], atol=1e-5)


def test_a_node_field_goes_on_as_if_it_had_never_stopped() -> None:
    def advance(field: NodeField, steps: range) -> None:
        for step in steps:
            times = torch.tensor([step / 10])
            bent = field.bend(points, torch.ones(60, 4), times)
            (bent.means.square().mean() + field.regularise(times, bent)).backward()
            field.step(1e-2)

    whole, points = moving_field()
    advance(whole, range(6))
    first, _ = moving_field()
    advance(first, range(3))
    second = NodeField(DeformSettings(nodes=first.settings), 64, 11, torch.full((3,), 0.5), 0.6, CPU)
    second.load(first.state())
    advance(second, range(3, 6))
    for name, value in whole.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_a_fresh_field_of_planes_moves_nothing_and_learns_to() -> None:
    settings = DeformSettings(field="planes", planes=PlanesSettings(channels=4, space=6, levels=1, width=8))
    field = PlaneField(settings, 12, torch.zeros(3), 1.0, CPU)
    points, quats = torch.rand(20, 3) - 0.5, torch.tensor([[1.0, 0, 0, 0]]).repeat(20, 1)
    times = torch.tensor([0.0, 1.0])
    fresh = field.bend(points, quats, times)
    assert torch.equal(fresh.means, points.expand(2, -1, -1)) and torch.equal(fresh.quats, quats.expand(2, -1, -1))
    target = points + torch.tensor([0.0, 0.2])[:, None, None]  # all of it goes up in time
    for _ in range(200):
        (field.bend(points, quats, times).means - target).square().mean().backward()
        field.step(5e-3)
    assert float((field.bend(points, quats, times).means - target).abs().max()) < 0.05


def test_points_are_spread_as_far_as_can_be() -> None:
    line = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0.5, 0, 0], [0.9, 0, 0], [1.0, 0, 0]])
    assert farthest(line, 3).tolist() == [0, 4, 2]
