"""Splats as readers hand them on, turned with their view dependence; turns between directions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from legs4d.portable.sh import sh_basis
from legs4d.portable.splats import Splats
from legs4d.portable.turns import turn_between, upright_turn

RNG = np.random.default_rng(2)


def crowd(count: int = 30) -> Splats:
    return Splats(
        means=RNG.standard_normal((count, 3)).astype(np.float32),
        quats=Rotation.random(count, rng=RNG).as_quat(scalar_first=True).astype(np.float32),
        scales=RNG.uniform(0.01, 1, (count, 3)).astype(np.float32),
        opacities=RNG.random(count).astype(np.float32),
        colors=RNG.standard_normal((count, 3)).astype(np.float32),
        sh_rest=RNG.standard_normal((count, 15, 3)).astype(np.float32),
        extra={"weight": np.arange(count)},
    )


def test_turning_moves_means_axes_colours_and_up_together() -> None:
    splats, turn = crowd(), Rotation.from_rotvec([0.3, -1.1, 0.7])
    after = splats.turned(turn.as_quat(scalar_first=True))
    np.testing.assert_allclose(after.means, turn.apply(splats.means), atol=1e-6)
    axes = Rotation.from_quat(splats.quats, scalar_first=True)
    difference = Rotation.from_quat(after.quats, scalar_first=True) * (turn * axes).inv()
    assert difference.magnitude().max() < 1e-6
    towards = RNG.standard_normal((30, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    before_rest, after_rest = splats.sh_rest, after.sh_rest
    assert before_rest is not None and after_rest is not None
    seen_before = np.einsum("nk,nkc->nc", sh_basis(towards, 3), before_rest)
    seen_after = np.einsum("nk,nkc->nc", sh_basis(turn.apply(towards), 3), after_rest)
    np.testing.assert_allclose(seen_after, seen_before, atol=1e-5)
    np.testing.assert_allclose(after.up, turn.apply([0, -1, 0]), atol=1e-12)


@pytest.mark.parametrize("first", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0), (0.3, 0.9, -0.2)])
@pytest.mark.parametrize("second", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (0.1, 0.2, 0.9)])
def test_the_turn_between_two_directions_is_the_shortest(first: tuple[float, ...], second: tuple[float, ...]) -> None:
    turn = Rotation.from_quat(turn_between(first, second), scalar_first=True)
    start, end = (np.array(v) / np.linalg.norm(v) for v in (first, second))
    np.testing.assert_allclose(turn.apply(start), end, atol=1e-12)
    assert turn.magnitude() == pytest.approx(np.arccos(np.clip(start @ end, -1, 1)), abs=1e-6)


def test_a_capture_whose_y_points_down_is_turned_about_x() -> None:
    np.testing.assert_allclose(np.abs(upright_turn((0, 1, 0))), [0, 1, 0, 0], atol=1e-12)
