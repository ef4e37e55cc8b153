"""How motion is followed: what is taken up when, and what motion costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from legs4d.config.deform import DeformSettings, FollowingSettings, GrowthSettings, NodesSettings
from legs4d.deform.fields.rigidity import rigidity
from legs4d.deform.fit import Fit
from legs4d.deform.fitting.pacing import Pacing
from legs4d.deform.footage.opening import Opening, find_opening
from legs4d.deform.footage.pictures import all_cameras, read_pictures
from legs4d.deform.footage.start import find_stage_of, find_start
from legs4d.deform.stage import begin_fit
from legs4d.progress import StageReporter
from legs4d.scene.readers import open_sequence
from tests.deform.fields.test_fields import CPU, moving_field
from tests.deform.film import RADII, balls, write_film


def test_rigidity_that_grows_with_the_first_power_is_that_of_the_formula() -> None:
    rest = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
    now = torch.tensor([[[0.0, 0, 0], [1.5, 0, 0]]])  # both see each other half a distance too far away
    turns = torch.tensor([[1.0, 0, 0, 0]]).expand(1, 2, 4)
    index, weights = torch.tensor([[1], [0]]), torch.ones(2, 1)
    assert float(rigidity(rest, now, turns, index, weights)) == pytest.approx(0.25)
    assert float(rigidity(rest, now, turns, index, weights, 0.1)) == pytest.approx(np.hypot(0.5, 0.1) - 0.1)


def test_nodes_that_move_at_an_even_pace_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    field, points = moving_field()
    field.settings = field.settings.model_copy(update={"steady_weight": 1.0, "rigid_weight": 0.0})
    times = torch.tensor([0.2, 0.7])
    shifts = {"even": lambda t: 3 * t, "faster": lambda t: 10 * t**2}
    costs = {}
    for name, along in shifts.items():

        def poses(
            at: torch.Tensor, along: Callable[[torch.Tensor], torch.Tensor] = along
        ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            moved = along(at)[:, None, None].expand(-1, len(field.nodes), 3)
            turns = torch.tensor([1.0, 0, 0, 0]).expand(len(at), len(field.nodes), 4)
            return moved, turns, torch.zeros(len(at), len(field.nodes), 0)

        monkeypatch.setattr(field, "poses", poses)
        costs[name] = float(field.regularise(times, field.bend(points, torch.ones(60, 4), times)))
    # Second differences of 10 t² a frame of 0.1 apart are 0.2 along each axis, in radii of 0.6.
    assert costs["even"] < 1e-9 and costs["faster"] == pytest.approx(3 * (0.2 / 0.6) ** 2, rel=1e-3)


def test_nodes_that_turn_at_an_even_pace_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    field, points = moving_field()
    field.settings = field.settings.model_copy(update={"steady_weight": 1.0, "rigid_weight": 0.0})
    costs = {}
    for name, does_turn in (("as one", 1.0), ("without turning", 0.0)):

        def poses(at: torch.Tensor, turning: float = does_turn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            about = torch.zeros(len(at), 3)
            about[:, 2] = 6 * at  # 34 degrees a frame
            turned = torch.as_tensor(Rotation.from_rotvec(about).as_matrix(), dtype=torch.float32)
            shifts = torch.einsum("bxy,ky->bkx", turned, field.nodes) - field.nodes
            quats = Rotation.from_rotvec(turning * about).as_quat(scalar_first=True)
            turns = torch.as_tensor(quats, dtype=torch.float32)[:, None].expand(-1, len(field.nodes), -1)
            return shifts, turns, torch.zeros(len(at), len(field.nodes), 0)

        monkeypatch.setattr(field, "poses", poses)
        times = torch.tensor([0.2, 0.7])
        costs[name] = float(field.regularise(times, field.bend(points, torch.ones(60, 4), times)))
    assert costs["as one"] < 1e-9 and costs["without turning"] > 0.05


def test_pictures_are_taken_up_in_the_order_in_which_they_are_explained() -> None:
    opening = Opening(np.array([5, 4, 6, 3, 7, 2, 8, 1, 9, 0]), 2, 1.0)
    pacing = Pacing(opening, steps=40, every=10, seed=0, by_time=np.arange(10))
    assert pacing.due(10) and not pacing.due(11) and not pacing.due(40)
    assert set(pacing.draw(0, 4).flatten()) == {4, 5}
    # The pictures at one end are explained badly, those at the other well; neighbours count with each.
    pacing.take_up(np.array([9.0, 9, 9, 9, 9, 9, 1, 1, 1, 1]), 20)
    assert pacing.taken == 6 and pacing.order[:2].tolist() == [5, 4] and set(pacing.order[2:6]) == {6, 7, 8, 9}
    drawn = pacing.draw(20, 4)
    assert drawn.shape == (10, 4) and set(drawn[:, 2:].flatten()) <= {4, 5, 6, 7, 8, 9}
    assert set(drawn[:, :2].flatten()) <= set(pacing.order[4:6])  # half of a step's are of the newest fifth
    assert np.array_equal(drawn, pacing.draw(20, 4))
    pacing.take_up(np.zeros(10), 30)
    assert pacing.taken == 8 and set(pacing.order[2:6]) == {6, 7, 8, 9}


def test_a_fit_opens_with_moments_whose_silhouettes_agree(tmp_path: Path) -> None:
    film = open_sequence(write_film(tmp_path / "film", frames=24, size=40))
    pictures = read_pictures(film, CPU)
    stage = find_stage_of(all_cameras(film), "film")
    opening = find_opening(pictures, stage, 0.1)
    assert opening is not None and opening.count == 10 and opening.covered > 0.9
    assert sorted(opening.order) == list(range(24))
    first = sorted(opening.order[:10])
    assert first == list(range(first[0], first[0] + 10))
    limbs = balls(float(pictures.times[first[5]]))[1]
    start = find_start(pictures, None, stage, 800, "film", most=800, among=opening.order[:10])
    reached = np.linalg.norm(start.points.positions - limbs, axis=1).min()
    assert reached < RADII[1]  # the hull holds what moves too


@pytest.mark.parametrize(("until", "weights_rate"), [(0.9, 0.0), (0.5, 100.0)])
def test_a_followed_fit_goes_on_as_if_it_had_never_stopped(tmp_path: Path, until: float, weights_rate: float) -> None:
    """Amid the steps for which pictures are drawn, and once weights of nodes are learned, which new ones inherit."""
    film = open_sequence(write_film(tmp_path / "film", frames=24, size=24))
    pictures = read_pictures(film, CPU)
    settings = DeformSettings(
        enough_pixels=1,
        steps=60,
        num_points=120,
        following=FollowingSettings(share=0.1, until=until),
        growth=GrowthSettings(every=20, stop=0.9, max_gaussians=160),
        nodes=NodesSettings(count=16, width=16, depth=3, rigid_neighbours=3, weights_rate=weights_rate),
    )

    def begin() -> Fit:
        stage = find_stage_of(all_cameras(film), "film")
        return begin_fit(pictures, film, stage, settings, StageReporter("start"))[0]

    whole, first, second = begin(), begin(), begin()
    assert whole.pacing is not None and whole.pacing.taken == 10
    while whole.done < 50:
        whole.advance()
    assert whole.pacing.taken > 14 and whole.deformation.settings.steady_weight == 20  # type: ignore[attr-defined]
    while first.done < 37:
        first.advance()
    second.load(first.state())
    while second.done < 50:
        second.advance()
    for name, value in whole.state().items():
        assert np.array_equal(value, second.state()[name]), name
