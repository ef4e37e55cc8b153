"""Boxes around what a prompt names: where the true thing is, whatever strays."""

import numpy as np
import pytest

from legs4d.gaussians.gaussians import Gaussians, dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.grounding import boxes_of, query
from legs4d.grounding.boxes import Axes, box_around_all, boxes_around
from tests.synthetic import BALL_RADIUS, Scene, write_run

SCENE = Scene(num_frames=6)
FIRST, LAST = SCENE.flight or (0, 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("boxes") / "run", SCENE)


def cloud(means: np.ndarray, scale: float = 0.01) -> Gaussians:
    count = len(means)
    return Gaussians(
        means=means.astype(np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        scales=np.full((count, 3), scale, np.float32),
        opacities=np.full(count, 0.9, np.float32),
        colors=dc_from_rgb(np.full((count, 3), 0.5, np.float32)),
        is_foreground=np.ones(count, bool),
    )


def brick(center: tuple[float, float, float], size: tuple[float, float, float], count: int = 2000) -> np.ndarray:
    return np.array(center) + (np.random.default_rng(1).uniform(-0.5, 0.5, (count, 3))) * size


@pytest.mark.parametrize("axes", list(Axes))
def test_the_flying_ball_is_boxed_where_it_is(run: Run, axes: Axes):
    (flying,) = query(run, ["the ball is flying"])
    found = boxes_of(run, flying, axes)
    assert list(found) == list(range(FIRST, LAST + 1))
    for frame, (box,) in found.items():
        np.testing.assert_allclose(box.center, SCENE.ball_center(frame), atol=0.03)
        np.testing.assert_allclose(box.half_sizes, BALL_RADIUS, rtol=0.25)
        assert box.count == run.num_dynamic


def test_strays_move_no_box():
    thing = brick((1, 2, 3), (0.4, 0.6, 0.2))
    strays = np.random.default_rng(2).uniform(-20, 20, (150, 3))
    (clean,), (box,) = boxes_around(cloud(thing)), boxes_around(cloud(np.concatenate([thing, strays])))
    np.testing.assert_allclose(box.center, clean.center, atol=0.01)
    np.testing.assert_allclose(box.half_sizes, clean.half_sizes, atol=0.02)
    np.testing.assert_allclose(clean.half_sizes, [0.2, 0.3, 0.1], atol=0.02)


def test_two_things_have_two_boxes_the_larger_first():
    found = boxes_around(cloud(np.concatenate([brick((0, 0, 0), (0.5,) * 3, 500), brick((3, 0, 0), (0.5,) * 3)])))
    assert [round(float(box.center[0])) for box in found] == [3, 0]
    whole = box_around_all(found)
    np.testing.assert_allclose(whole.center, [1.5, 0, 0], atol=0.05)
    np.testing.assert_allclose(whole.half_sizes, [1.75, 0.25, 0.25], atol=0.05)


def test_own_axes_follow_what_is_turned():
    angle = np.radians(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    means = brick((0, 0, 0), (2, 0.5, 0.2)) @ turn.T + [5, 0, 0]
    (own,), (world,) = boxes_around(cloud(means), Axes.own), boxes_around(cloud(means), Axes.world)
    np.testing.assert_allclose(own.half_sizes, [1, 0.25, 0.1], atol=0.04)
    assert abs(own.axes[0] @ turn[:, 0]) == pytest.approx(1, abs=1e-3)
    assert np.linalg.det(own.axes) == pytest.approx(1, abs=1e-4)
    assert np.prod(world.half_sizes) > 2 * np.prod(own.half_sizes)
    inside = np.abs((means - own.center) @ own.axes.T) <= own.half_sizes
    assert inside.all(axis=1).mean() > 0.9
    np.testing.assert_allclose(own.corners.mean(axis=0), own.center, atol=1e-5)


def test_what_is_not_there_has_no_box(run: Run):
    assert boxes_around(cloud(np.zeros((0, 3)))) == []
    hidden = cloud(np.zeros((5, 3)))
    assert boxes_around(hidden.replace(opacities=np.zeros(5, np.float32))) == []
    assert boxes_of(run, query(run, ["a surgeon washing his hands"])[0]) == {}


@pytest.mark.parametrize("means", [np.zeros((1, 3)), np.zeros((20, 3)), np.eye(3) * 100])
@pytest.mark.parametrize("axes", list(Axes))
def test_odd_clouds_have_finite_boxes(means: np.ndarray, axes: Axes):
    for box in boxes_around(cloud(means), axes):
        assert np.isfinite(box.corners).all() and (box.half_sizes > 0).all()
