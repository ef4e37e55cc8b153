"""The parts of a deformation against closed forms and against what other programs computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from legs4d.config.deform import DeformSettings, GrowthSettings, NodesSettings, PlanesSettings
from legs4d.deform.adam import Moments, step_group
from legs4d.deform.binding import Binding
from legs4d.deform.blend import blend
from legs4d.deform.canonical import Canonical
from legs4d.deform.growth import grow
from legs4d.deform.nodes import NodeField, farthest
from legs4d.deform.planes import PlaneField, second_difference, total_variation
from legs4d.deform.rigidity import rigidity
from legs4d.deform.schedule import plan
from legs4d.raster.states import Pull
from legs4d.scene.sequence import InitialPoints

SHARED = Path(__file__).resolve().parents[3] / "shared/reference"
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
    torch.testing.assert_close(out, torch.einsum("nk,bkc->bnc", matrix, values))
    torch.testing.assert_close(values.grad, torch.einsum("nk,bnc->bkc", matrix, pull))
    # The same the other way round, as CUDA's backward pass reads it.
    back = torch.zeros(9, 30)
    for node in range(9):
        part = slice(int(binding.start[node]), int(binding.start[node + 1]))
        back[node, binding.carried[part].long()] = binding.share[part]
    torch.testing.assert_close(back, matrix.T)


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


def test_a_step_of_adam_is_that_of_the_paper() -> None:
    start = np.random.default_rng(0).normal(size=(5, 3))
    value = torch.tensor(start, dtype=torch.float32).requires_grad_()
    moments = Moments.of(value.detach())
    expected, first, second = start.copy(), np.zeros((5, 3)), np.zeros((5, 3))
    for step in range(1, 5):
        (value - step).square().sum().backward()
        step_group([value], [moments], 0.01)
        gradient = 2 * (expected - step)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        expected -= 0.01 * (first / (1 - 0.9**step)) / np.sqrt(second / (1 - 0.999**step))
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-5)


def some_canonical(count: int, capacity: int) -> Canonical:
    canonical = Canonical(capacity, 0, CPU)
    chance = np.random.default_rng(0)
    points = chance.random((count, 3)).astype(np.float32)
    canonical.start(InitialPoints(points, points, np.ones(count, bool)), 0.5, 1.0)
    return canonical


def test_growth_adds_where_pulled_removes_what_is_faint_and_keeps_to_the_most() -> None:
    canonical = some_canonical(40, 60)
    with torch.no_grad():
        canonical.values["logit_opacities"][:3] = -9  # three that do nothing
        canonical.values["log_scales"][10] = np.log(0.2)  # two that are wide, one of them pulled
        canonical.values["log_scales"][11] = np.log(0.2)
    pull = Pull.of(60, CPU)
    pull.seen += 1
    pull.norm[10], pull.norm[20] = 5, 4
    where = canonical.used("means")[20].clone()
    grow(canonical, pull, GrowthSettings(max_gaussians=60, split_above=0.1, max_scale=0.5), 1.0, 11, seed=0)
    assert canonical.count == 39  # 37 and room for 23 in 11 rounds: two more; one split, one cloned
    assert int((canonical.used("means") == where).all(dim=1).sum()) == 2
    widest = torch.exp(canonical.used("log_scales")).amax(dim=1)
    assert int((widest > 0.19).sum()) == 1 and int(((widest > 0.12) & (widest < 0.13)).sum()) == 2
    grow(canonical, pull, GrowthSettings(max_gaussians=60), 1.0, 1, seed=1)
    grow(canonical, pull, GrowthSettings(max_gaussians=60), 1.0, 1, seed=2)
    assert canonical.count <= 60


def test_a_schedule_shows_every_picture_equally_often_and_holds_back_what_begins_later() -> None:
    settings = DeformSettings(steps=30, pictures_per_step=2, sh_start=0.5, opacities_held=0.2, deformation_start=0.4)
    schedule = plan(settings, 6, see_through=True, extent=2.0)
    assert np.bincount(schedule.pictures.ravel()).tolist() == [10] * 6
    assert schedule.backgrounds.min() >= 0 and schedule.backgrounds.std() > 0.2
    rates = dict(
        zip(("means", "quats", "scales", "opacities", "colors", "sh", "bend", "pose"), schedule.rates.T, strict=True)
    )
    assert rates["means"][0] == pytest.approx(2 * settings.rates.means) and rates["means"][-1] < rates["means"][0] / 50
    for name, begins in (("opacities", 6), ("sh", 15), ("bend", 12)):
        assert not rates[name][:begins].any() and rates[name][begins:].all(), name
    assert not plan(settings, 6, see_through=False, extent=1.0).backgrounds.any()


def test_small_footage_takes_fewer_gaussians_and_steps_and_suiting_twice_changes_nothing() -> None:
    settings = DeformSettings()
    small = settings.suited(settings.enough_pixels // 4)
    assert small.steps == settings.steps // 2 and small.growth.max_gaussians == settings.growth.max_gaussians // 4
    assert small.num_points <= small.growth.max_gaussians and small.suited(10) == small
    assert settings.suited(settings.enough_pixels) == settings
