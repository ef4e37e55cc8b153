"""What a ray crosses, as Blender works it out, against the rasteriser; and which segment is meant."""

import numpy as np
import pytest

from legs4d.portable import pointing
from legs4d.segment.pick import along_ray
from tests.segment.table import BALL, CENTER, LOWER, NEAR, things

FOCAL = 400.0


@pytest.mark.parametrize(
    ("aim", "owner"),
    [(CENTER, BALL), (np.array([-0.5, -0.2, 0.0]), LOWER), (CENTER - np.array([0.0, 0.36, 0.0]), BALL)],
)
def test_a_ray_fills_gaussians_as_the_rasteriser_does(aim, owner) -> None:
    gaussians, owners = things()
    origin = np.array([0.3, -1.2, -2.5])
    rows, alphas, depths = pointing.crossed(
        gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities, origin, 3 * (aim - origin), 1 / FOCAL
    )
    found = np.zeros(len(owners))
    found[rows] = pointing.composited(alphas, depths)
    expected = along_ray(gaussians, origin, aim - origin, FOCAL, NEAR)
    assert abs(found - expected).sum() < 0.06  # the rasteriser's projection is affine, and sorts by centres as well
    assert found[owners == owner].sum() > 0.9
    hit = origin + 3 * (aim - origin) * depths[np.argmax(found[rows])]
    assert np.linalg.norm(np.cross(hit - origin, aim - origin)) < 1e-5


def test_what_turns_and_leans_is_crossed_where_it_is() -> None:
    means = np.array([[0, 0, 2], [0, 0, 3], [0, 0, -2]], np.float32)
    turned = np.array([[np.sqrt(0.5), 0, 0, np.sqrt(0.5)], [1, 0, 0, 0], [1, 0, 0, 0]], np.float32)
    scales = np.array([[0.5, 0.01, 0.01], [0.5, 0.5, 0.01], [1, 1, 1]], np.float32)
    opacities = np.array([0.5, 0.8, 1.0], np.float32)

    def at(y: float) -> list[int]:
        ray = np.array([0, y, 2.0])
        return sorted(pointing.crossed(means, scales, turned, opacities, np.zeros(3), ray, 1e-4)[0].tolist())

    assert at(0.4) == [0, 1]  # the needle lies along y, and the ray passes behind it through the disc
    rows, alphas, depths = pointing.crossed(means, scales, turned, opacities, np.zeros(3), np.array([0, 0, 1.0]), 1e-4)
    assert depths.tolist() == [2, 3] and rows.tolist() == [0, 1]
    assert np.allclose(pointing.composited(alphas, depths), [0.5, 0.5 * 0.8])
    assert np.allclose(pointing.composited(alphas[::-1], depths[::-1]), [0.5 * 0.8, 0.5])
    assert len(pointing.composited(np.zeros(0), np.zeros(0))) == 0


def test_the_segment_nearest_in_scale_is_meant_first() -> None:
    quantile = pointing.quantiles(np.array([3.0, 1.0, 2.0]))
    assert quantile.tolist() == [1, 0, 0.5]
    share = np.array([0.9, 0.8, 0.2])
    assert pointing.under(share, quantile, 0.9).tolist() == [0, 1]
    assert pointing.under(share, quantile, 0.1).tolist() == [1, 0]
    assert pointing.under(share, quantile, 0.5).tolist() == [0, 1]  # equally near: the surer
    assert pointing.under(np.zeros(3), quantile, 0.5).tolist() == []
