"""Splats under the maps of the nodes that hold them: covariances and colours from elsewhere, against the formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError
from legs4d.gaussians.formats.placing import joined, placed, usable
from legs4d.portable.sh import sh_basis
from legs4d.portable.splats import Splats
from tests.gaussians.crowd import crowd

RNG = np.random.default_rng(0)
TURN = Rotation.from_rotvec([1.0, -0.4, 2.0]).as_matrix()
LINEAR = {
    "turn": TURN,
    "uniform": 2.5 * TURN,
    "stretched": TURN @ np.diag([1.0, 2.0, 0.3]),
    "sheared": RNG.standard_normal((3, 3)),
    "mirrored": TURN @ np.diag([1.0, 1.0, -1.0]),
}


def covariances(splats: Splats) -> NDArray[np.float64]:
    axes = Rotation.from_quat(splats.quats, scalar_first=True).as_matrix() * splats.scales[:, None, :]
    return axes @ np.swapaxes(axes, 1, 2)


@pytest.mark.parametrize("name", list(LINEAR))
def test_shapes_follow_any_map(name: str) -> None:
    splats, matrix = crowd(60), np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = LINEAR[name], [1, -2, 3]
    after = placed(splats, matrix)
    np.testing.assert_allclose(after.means, splats.means @ LINEAR[name].T + [1, -2, 3], atol=1e-4)
    expected = LINEAR[name] @ covariances(splats) @ LINEAR[name].T
    size = np.linalg.norm(expected, axis=(1, 2))[:, None, None]
    np.testing.assert_allclose(covariances(after) / size, expected / size, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(after.quats, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["turn", "uniform", "mirrored"])
def test_colours_are_seen_from_where_they_were(name: str) -> None:
    splats, matrix = crowd(60), np.eye(4)
    matrix[:3, :3] = LINEAR[name]
    after = placed(splats, matrix)
    towards = RNG.standard_normal((60, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    there = towards @ LINEAR[name].T
    there /= np.linalg.norm(there, axis=1, keepdims=True)
    assert splats.sh_rest is not None and after.sh_rest is not None
    before = np.einsum("nk,nkc->nc", sh_basis(towards, 3), splats.sh_rest)
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", sh_basis(there, 3), after.sh_rest), before, atol=1e-5)


def test_what_is_put_far_out_keeps_its_precision() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = [500_000.25, 0, 5_400_000.5]
    after = placed(crowd(10), matrix)
    assert after.origin == (500_000, 0, 5_400_000)
    np.testing.assert_allclose(after.means, np.add(crowd(10).means, [0.25, 0, 0.5]), atol=1e-6)
    near = placed(crowd(10), np.eye(4))
    both = joined([after, replace(near, sh_rest=None)])
    np.testing.assert_allclose(both.means[:10] + np.array(both.origin), crowd(10).means + matrix[:3, 3], atol=0.01)
    assert both.sh_rest is not None and not both.sh_rest[10:].any() and both.sh_rest[:10].all()
    np.testing.assert_allclose(both.means[10:] + np.array(both.origin), near.means, atol=1)


def test_what_is_not_finite_is_left_out_and_counted() -> None:
    splats = replace(crowd(30), extra={"weight": np.arange(30)})
    splats.means[3, 1] = np.nan
    splats.opacities[4] = np.nan
    assert splats.sh_rest is not None
    splats.sh_rest[5, 14, 2] = np.inf
    splats.quats[6] = 0
    splats.quats[7] *= 3
    splats.opacities[8] = 1.5
    splats.scales[9] = 0
    kept = usable(splats, "x.glb")
    assert kept.extra["weight"].tolist() == [i for i in range(30) if i not in (3, 4, 5, 6)]
    assert kept.dropped == 4
    np.testing.assert_allclose(np.linalg.norm(kept.quats, axis=1), 1, atol=1e-6)
    assert kept.opacities[kept.extra["weight"] == 8] == 1 and kept.scales.min() > 0
    splats.means[:] = np.nan
    with pytest.raises(DatasetError, match=r"x\.glb: all of its 30 Gaussians"):
        usable(splats, "x.glb")
