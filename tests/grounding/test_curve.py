"""The curve over time is decided by the little that fits best, not by the mass that does not, nor by one stray."""

import numpy as np
import pytest

from legs4d.grounding.curve import SHARE, most_relevant


def test_it_is_the_weighted_mean_of_the_best_fitting_share():
    strength = np.array([0.9, 0.1, 0.5, 0.7])
    weight = np.array([1.0, 6.0, 2.0, 1.0])
    # Best first: 0.9 (1 of 10), 0.7 (1), 0.5 (2), 0.1 (6).
    for share, expected in [(0.1, 0.9), (0.2, 0.8), (0.3, (0.9 + 0.7 + 0.5) / 3), (1.0, 3.2 / 10)]:
        assert most_relevant(strength, weight, share) == pytest.approx(expected, abs=1e-3)


def test_a_small_ball_decides_against_big_people():
    strength = np.concatenate([np.full(50, 0.8), np.full(5000, 0.2)])
    assert most_relevant(strength, np.ones(5050)) == pytest.approx(0.8, abs=1e-3)


def test_one_stray_gaussian_does_not_decide():
    strength = np.full(5000, 0.2)
    strength[0] = 1.0
    assert most_relevant(strength, np.ones(5000)) == pytest.approx(0.2 + 0.8 / (5000 * SHARE), abs=1e-3)


def test_what_no_camera_sees_does_not_count():
    assert most_relevant(np.array([1.0, 0.3]), np.array([0.0, 5.0])) == pytest.approx(0.3, abs=1e-3)
    assert most_relevant(np.array([1.0]), np.array([0.0])) == 0
    assert most_relevant(np.zeros(0), np.zeros(0)) == 0


def test_any_strengths_agree_with_sorting():
    rng = np.random.default_rng(5)
    strength, weight = rng.uniform(0, 1, 3000), rng.exponential(size=3000)
    order = np.argsort(-strength)
    inside = np.cumsum(weight[order]) <= 0.05 * weight.sum()
    expected = np.average(strength[order][inside], weights=weight[order][inside])
    assert most_relevant(strength, weight, 0.05) == pytest.approx(expected, abs=2e-3)
