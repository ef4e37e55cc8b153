"""Rigid motions found again from the points that they moved, and what is said where points do not determine them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from legs4d.gaussians.rigid import fit_rigid

CHANCE = np.random.default_rng(5)
TURNS = Rotation.random(6, random_state=1).as_matrix()
SHIFTS = CHANCE.normal(size=(6, 3))


@pytest.mark.parametrize("scale", [1.0, 0.3, 4.0])
def test_motions_are_found_again(scale: float) -> None:
    points = CHANCE.normal(size=(6, 20, 3))
    moved = scale * np.einsum("bij,bnj->bni", TURNS, points) + SHIFTS[:, None]
    fit = fit_rigid(points, moved, scaled=scale != 1)
    np.testing.assert_allclose(fit.rotation, TURNS, atol=1e-10)
    np.testing.assert_allclose(fit.translation, SHIFTS, atol=1e-10)
    np.testing.assert_allclose(fit.scale, scale)
    assert (fit.error < 1e-10).all() and (fit.rank == 3).all()


def test_it_is_the_least_squares_one_of_scipy() -> None:
    points, noise = CHANCE.normal(size=(15, 3)), 0.2 * CHANCE.normal(size=(15, 3))
    weights = CHANCE.random(15)
    moved = points @ TURNS[0].T + noise
    fit = fit_rigid(points, moved, weights)
    share = weights / weights.sum()
    mean_from, mean_to = share @ points, share @ moved
    best, _ = Rotation.align_vectors(moved - mean_to, points - mean_from, weights=weights)
    np.testing.assert_allclose(fit.rotation[0], best.as_matrix(), atol=1e-8)
    np.testing.assert_allclose(fit.translation[0], mean_to - best.as_matrix() @ mean_from, atol=1e-8)
    left = points @ fit.rotation[0].T + fit.translation[0] - moved
    assert fit.error[0] == pytest.approx(np.sqrt(share @ (left**2).sum(axis=1)))


def test_weights_of_zero_leave_points_out() -> None:
    points = CHANCE.normal(size=(10, 3))
    moved = points @ TURNS[1].T
    moved[7:] += 5
    fit = fit_rigid(points, moved, np.arange(10) < 7)
    np.testing.assert_allclose(fit.rotation[0], TURNS[1], atol=1e-10)


def test_a_mirrored_set_gives_a_rotation_all_the_same() -> None:
    points = CHANCE.normal(size=(10, 3))
    fit = fit_rigid(points, points * [1, 1, -1])
    assert np.linalg.det(fit.rotation[0]) == pytest.approx(1) and fit.error[0] > 0.1


def test_a_plane_is_enough_and_a_line_turns_the_short_way() -> None:
    plane = CHANCE.normal(size=(10, 3)) * [1, 1, 0]
    fit = fit_rigid(plane, plane @ TURNS[2].T)
    np.testing.assert_allclose(fit.rotation[0], TURNS[2], atol=1e-9)
    assert fit.rank[0] == 2
    line = np.outer(np.linspace(-1, 1, 5), [1.0, 0, 0])
    quarter = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    fit = fit_rigid(line, line @ quarter.T)
    assert fit.rank[0] == 1
    angle = np.degrees(Rotation.from_matrix(fit.rotation[0]).magnitude())
    assert angle == pytest.approx(90, abs=1e-6)
    point = fit_rigid([[1.0, 2, 3]], [[4.0, 4, 4]])
    assert point.rank[0] == 0
    np.testing.assert_allclose(point.rotation[0], np.eye(3))
    np.testing.assert_allclose(point.translation[0], [3, 2, 1])
