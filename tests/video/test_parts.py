"""Pieces of `legs4d video` on their own: how thick silhouettes are, how far away things, what flow and losses say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.video.input.clip import find_cut
from legs4d.video.input.things import Crop
from legs4d.video.motion.losses import balanced
from legs4d.video.motion.tracks import agreeing
from legs4d.video.objects.shape import corners, half_thickness
from legs4d.video.objects.surface import blow_up
from legs4d.video.scene.distance import CONTACT, HOLDER, SIZE, Placed, distances_of
from legs4d.video.scene.filming import still
from tests.video import drawn

SIDE = 64
X, Y = np.meshgrid(np.arange(SIDE) + 0.5 - SIDE / 2, np.arange(SIDE) + 0.5 - SIDE / 2)
MATRIX = np.array([[200.0, 0, SIDE / 2], [0, 200.0, SIDE / 2], [0, 0, 1]])


def test_a_disc_is_a_ball_and_a_bar_is_round() -> None:
    ball = half_thickness(X**2 + Y**2 < 20**2)
    assert ball.max() == pytest.approx(20, rel=0.07)
    assert ball[SIDE // 2, SIDE // 2 + 12] == pytest.approx(16, rel=0.1)  # √(20² − 12²)
    bar = half_thickness((np.abs(X) < 6) & (np.abs(Y) < 30))
    assert bar.max() == pytest.approx(6, rel=0.2)  # Poisson's own is √2 as much


def test_a_box_is_deeper_towards_its_edges_than_a_ball() -> None:
    box, disc = (np.abs(X) < 18) & (np.abs(Y) < 18), X**2 + Y**2 < 18**2
    assert corners(box) > 0.8 and corners(disc) == 0
    thick = half_thickness(box)
    assert thick[SIDE // 2, SIDE // 2 + 14] > 0.75 * thick.max()


@pytest.mark.parametrize("lean", [0.0, 0.3])
def test_what_is_higher_than_wide_stands_upright(lean: float) -> None:
    up = np.array([0.0, -np.cos(lean), -np.sin(lean)])  # a camera that looks down by `lean`
    figure = (np.abs(X) < 5) & (np.abs(Y) < 28)
    blown = blow_up(np.zeros((SIDE, SIDE, 3), np.float32), figure, MATRIX, up)
    places = blown.gaussians.means.astype(np.float64)
    axis = np.linalg.svd(places - places.mean(axis=0))[2][0]
    assert abs(axis @ up) == pytest.approx(1, abs=0.01)


def test_every_gaussian_lies_on_its_pixels_ray() -> None:
    blown = blow_up(np.zeros((SIDE, SIDE, 3), np.float32), X**2 + Y**2 < 15**2, MATRIX)
    places = blown.gaussians.means.astype(np.float64) + np.linalg.inv(MATRIX) @ [SIDE / 2, SIDE / 2, 1]
    pixels = places @ MATRIX.T
    assert np.allclose(pixels[:, :2] / pixels[:, 2:], blown.pixels + 0.5, atol=1e-3)


def test_balanced_loss_counts_inside_and_outside_alike() -> None:
    error = torch.zeros(1, 4, 4, 1)
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1
    error[0, 0, 0] = 2
    error[0, 3, 3] = 3
    assert float(balanced(error, mask)) == pytest.approx(4 / 1 + 9 / 15)


def test_flow_forth_and_back() -> None:
    forth = np.zeros((12, 16, 2), np.float32)
    forth[..., 0] = 3
    good = agreeing(forth, -forth)
    assert good[:, :12].all() and not good[:, 14:].any()  # leaves the picture
    back = -forth
    back[:, 8:] = 0
    assert not agreeing(forth, back)[:, 6:].any() and agreeing(forth, back)[:, :4].all()


def test_a_crop_is_where_its_intrinsics_say() -> None:
    picture = np.zeros((40, 60), np.float32)
    picture[10, 20] = 1
    crop = Crop.around(20.5, 10.5, 16, 16)
    assert np.unravel_index(crop.take(picture).argmax(), (16, 16)) == (8, 8) or crop.take(picture)[7:9, 7:9].sum() > 0.9
    point = np.array([0.1, -0.2, 1.0])
    matrix = np.array([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]])
    there, local = matrix @ point, crop.intrinsics(matrix) @ point
    assert local[:2] * crop.scale + [crop.left, crop.top] == pytest.approx(there[:2])


def ball_at(places: list[tuple[float, float]], radius: float, called: str) -> Placed:
    """A ball of a size, seen at places (height above the floor, distance) from 1.5 above the floor."""
    chance = np.random.default_rng(0)
    around = chance.normal(size=(400, 3))
    around *= radius / np.linalg.norm(around, axis=1, keepdims=True)
    canonical = places[0][1]
    bent = [(np.array([0, 1.5 - height, far]) + around) / far for height, far in places]
    sizes = np.array([canonical / far for _, far in places])
    count = len(places)
    masks = np.zeros((count, 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    return Placed(bent, sizes, np.ones(count, bool), np.ones(count, bool), masks, called)


def test_what_rests_is_where_the_floor_is_and_what_flies_where_its_size_says() -> None:
    places = [(0.2, 4.0), (0.2, 4.4), (0.2, 4.8), (0.9, 5.2), (1.2, 5.6), (0.9, 6.0)]
    (found,) = distances_of([ball_at(places, 0.2, "ball")], still(6, 64, 48, None, ""))
    assert found.factors == pytest.approx([far for _, far in places], rel=0.04)
    assert found.routes == (CONTACT,) * 3 + (SIZE,) * 3


def test_what_is_held_is_as_far_away_as_what_holds_it() -> None:
    man = ball_at([(0.6, 4.0)] * 4, 0.6, "man")
    man.masks[:] = False
    man.masks[:, :, :5] = True
    ball = ball_at([(1.0, 4.0), (1.0, 4.0), (1.3, 4.5), (1.3, 5.0)], 0.1, "ball")
    ball.masks[:] = False
    ball.masks[:2, 3:5, 4:7] = True
    ball.masks[2:, 0:2, 6:8] = True
    man.masks[2:, :, :4] = True
    _, found = distances_of([man, ball], still(4, 64, 48, None, ""))
    assert found.routes[:2] == (HOLDER, HOLDER) and found.routes[3] == SIZE
    assert found.factors == pytest.approx([4, 4, 4.5, 5], rel=0.05)


def test_cuts_are_found_and_motion_is_none() -> None:
    first = drawn.wall()
    second = (255 - first[::-1]) // 3
    moving = np.stack([np.roll(first, frame, axis=1) for frame in range(6)])
    assert find_cut(moving) is None
    assert find_cut(np.concatenate([moving, np.stack([second] * 4)])) == 6
