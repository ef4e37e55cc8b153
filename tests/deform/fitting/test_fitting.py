"""What a fit holds and how it goes on, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.config.deform import DeformSettings, GrowthSettings
from legs4d.deform.fitting.canonical import Canonical
from legs4d.deform.fitting.growth import grow
from legs4d.deform.fitting.schedule import plan
from legs4d.raster.states import Pull
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.scene.sequence import InitialPoints

CPU = torch.device("cpu")


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
        zip(
            ("means", "quats", "scales", "opacities", "colors", "sh", "bend", "pose", "tone"),
            schedule.rates.T,
            strict=True,
        )
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
