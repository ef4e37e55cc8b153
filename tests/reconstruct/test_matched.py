"""Matches between cameras: where points are, and which camera stands wrong. Matches here are points that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.priors.objects.places import project
from legs4d.priors.protocols import Pairs
from legs4d.reconstruct.calibration import Views, misfits, start_points, unknown
from legs4d.reconstruct.matched import Matched, match_cameras, near_pairs
from legs4d.scene.camera import Cameras
from tests.synthetic import Scene

CAMERAS = Scene(width=640, height=480, num_train=12, num_test=0).cameras("train")
POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (120, 3))


class Knowing:
    """Finds the points where they are, to a third of a pixel; a picture is [1, 1, 1] with its camera's position."""

    def points(self, picture: NDArray[np.float32]) -> NDArray[np.float64]:
        camera = int(picture[0, 0, 0])
        viewmat, intrinsics = (
            part[camera].astype(np.float64) for part in (CAMERAS.world_to_camera, CAMERAS.intrinsics)
        )
        noise = np.random.default_rng(camera).normal(0, 0.3, (len(POINTS), 2))
        return project(POINTS, viewmat, intrinsics)[0] + noise

    def match(self, first: NDArray[np.float64], second: NDArray[np.float64]) -> Pairs:
        return Pairs(first.astype(np.float32), second.astype(np.float32), np.full(len(first), 0.9, np.float32))

    def matches(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> Pairs:
        return self.match(self.points(first), self.points(second))


def picture(camera: int) -> NDArray[np.float32]:
    return np.full((1, 1, 3), camera, np.float32)


def seen_by(cameras: Cameras) -> tuple[Views, Matched]:
    views = Views(cameras, [0] * len(cameras), picture, lambda view: None, scale=1.0)
    return views, match_cameras(picture, cameras, Knowing())


def turned(camera: int, degrees: float, axis: int) -> Cameras:
    """The cameras with one that is turned about an axis of its own."""
    angle, matrix = np.radians(degrees), np.eye(4)
    one, other = (i for i in range(3) if i != axis)
    matrix[[one, one, other, other], [one, other, one, other]] = (
        *(np.cos(angle), -np.sin(angle)),
        *(np.sin(angle), np.cos(angle)),
    )
    viewmats = CAMERAS.world_to_camera.copy()
    viewmats[camera] = matrix @ viewmats[camera]
    return replace(CAMERAS, world_to_camera=viewmats)


def test_each_camera_is_matched_with_those_beside_it() -> None:
    pairs = near_pairs(CAMERAS, 2)
    assert len(pairs) == 12 and all((other - one) % 12 in (1, 11) for one, other in pairs)
    # nobody is matched with one who looks the other way, nor with himself in another frame
    assert near_pairs(CAMERAS.take([0, 6])) == [] and near_pairs(CAMERAS.take([3, 3])) == []


def test_points_are_where_cameras_agree() -> None:
    views, matched = seen_by(CAMERAS)
    found = start_points(views, matched)
    assert found is not None
    nearest = np.linalg.norm(found.positions[:, None] - POINTS[None], axis=-1).min(axis=1)
    assert np.median(nearest) < 0.01 and len(found.positions) > 1000
    assert not found.is_foreground.any() and set(found.colors[:, 0]) <= set(range(12))
    assert misfits(views, matched) == []


@pytest.mark.parametrize(("axis", "degrees"), [(0, 1.5), (2, 6.0)])
def test_the_camera_that_stands_wrong_is_named_and_gives_no_points(axis: int, degrees: float) -> None:
    views, matched = seen_by(turned(5, degrees, axis))
    (found,) = misfits(views, matched)
    assert found.camera == CAMERAS.ids[5] and found.pixels > 2
    assert str(found).startswith("Camera 5 seems to stand wrong: points that others see too miss their epipolar lines")
    points = start_points(views, matched)
    assert points is not None and 5 not in points.colors[:, 0]
    # of pictures of half the size, a pixel is two of the footage's
    assert misfits(replace(views, scale=0.5), matched)[0].pixels == pytest.approx(2 * found.pixels)


def test_things_that_look_alike_do_not_condemn_a_camera() -> None:
    views, matched = seen_by(CAMERAS)
    spoilt = next(pair for pair in matched.pairs if 4 in pair)
    off = {**matched.off, spoilt: matched.off[spoilt] + 90}
    assert misfits(views, Matched(matched.pairs, off)) == []


def test_a_few_matches_condemn_no_camera() -> None:
    """As of pictures that share nothing: the tankard every 15 degrees had 11, 2 and 13 of them, off by 59 to 199 px."""
    views, matched = seen_by(CAMERAS)
    few = {pair: off[:27] + 90 if 4 in pair else off for pair, off in matched.off.items()}
    assert misfits(views, Matched(matched.pairs, few)) == []
    # nor acquit it, nor those beside it, who are left with one pair
    assert unknown(views, Matched(matched.pairs, few)) == list(CAMERAS.ids[3:6]) and unknown(views, matched) == []
    many = {pair: off[:40] + 90 if 4 in pair else off for pair, off in matched.off.items()}
    assert [one.camera for one in misfits(views, Matched(matched.pairs, many))] == [CAMERAS.ids[4]]
