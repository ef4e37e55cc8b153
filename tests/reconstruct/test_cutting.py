"""Static Gaussians that reach behind what hides them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from legs4d.gaussians.gaussians import Gaussians, concatenate, dc_from_rgb
from legs4d.raster import render
from legs4d.reconstruct.births.cutting import Shown, pieces, torn
from legs4d.reconstruct.births.evidence import Evidence
from tests.reconstruct.test_births import FRAMES, STAGE, TEST, TRAIN, WALL, Filmed, sheet, shifted

SHAPE = (len(TRAIN), TRAIN.height, TRAIN.width)
ALL = np.array([True])


def beam(length: float = 0.8, thickness: float = 0.05) -> Gaussians:
    """One upright Gaussian before the wall."""
    return Gaussians(
        means=np.array([[0.1, 0, -0.05]], np.float32),
        quats=np.array([[1, 0, 0, 0]], np.float32),
        scales=np.array([[thickness, length, 0.01]], np.float32),
        opacities=np.array([0.99], np.float32),
        colors=dc_from_rgb(np.array([[0.9, 0.2, 0.1]], np.float32)),
        is_foreground=np.array([False]),
    )


def shown(lacking_rows: slice = slice(0)) -> Shown:
    """A frame in which nothing hides the beam, and some rows of pixels are not explained."""
    lacking = np.zeros(SHAPE, np.bool_)
    lacking[:, lacking_rows] = True
    return Shown(TRAIN, np.ones(SHAPE, np.bool_), lacking, np.full(SHAPE, 5.0, np.float32))


def picture(gaussians: Gaussians) -> np.ndarray:
    with torch.no_grad():
        return render(gaussians.torch(), TEST, near=STAGE.near).color.numpy()


def test_pieces_together_look_like_the_whole() -> None:
    whole = beam(0.3)  # a longer one is drawn less exactly than its pieces
    cut, parts = pieces(whole, ALL, [shown()] * 2, STAGE, 1000)
    assert cut.all() and len(parts) > 10 and parts.scales.max() < 0.1
    off = np.abs(picture(parts) - picture(whole))
    assert off.max() < 0.16 and off.mean() < 0.2 * picture(whole).mean()


def test_pieces_that_pictures_contradict_or_that_never_show_go() -> None:
    _, whole = pieces(beam(), ALL, [shown()] * 2, STAGE, 1000)
    lower = slice(TRAIN.height // 2, None)  # y points down
    _, parts = pieces(beam(), ALL, [shown(lower)] * 2, STAGE, 1000)
    kept = whole.means[:, 1] < -0.1
    assert 0 < len(parts) < len(whole) and parts.means[:, 1].max() < 0.1
    assert len(parts) >= kept.sum()
    _, once = pieces(beam(), ALL, [shown(lower), shown()], STAGE, 1000)
    assert len(once) == len(whole), "one frame alone may err"
    behind = replace(shown(), depth=np.full(SHAPE, 1.0, np.float32))
    _, hidden = pieces(beam(), ALL, [behind] * 2, STAGE, 1000)
    assert not len(hidden)


def test_only_what_is_long_is_cut_and_no_more_pieces_are_made_than_may_be() -> None:
    assert not pieces(beam(0.05), ALL, [shown()] * 2, STAGE, 1000)[0].any()
    assert not pieces(beam(), ~ALL, [shown()] * 2, STAGE, 1000)[0].any()
    two = concatenate(beam(), beam())
    _, one = pieces(beam(), ALL, [shown()] * 2, STAGE, 1000)
    cut, parts = pieces(two, np.repeat(ALL, 2), [shown()] * 2, STAGE, len(one) + 3)
    assert cut.tolist() == [True, False] and len(parts) == len(one)


def test_one_is_torn_where_it_is_right_in_a_frame_and_wrong_where_it_shows_more() -> None:
    def evidence(mass: list[float], wrong: list[float]) -> Evidence:
        none = np.zeros((0, 1, 1), np.float32)
        outside = np.ones(len(mass), np.float32)
        filled, off = (np.array(part, np.float32) for part in (mass, np.multiply(mass, wrong)))
        return Evidence(none, none, filled, off, outside, np.zeros((len(mass), 3), np.float32), none[:, 0])

    first = evidence([10, 10, 10, 0, 10], [0, 0, 0.3, 0, 0])
    later = evidence([50, 9, 50, 50, 50], [0.3, 0.3, 0.3, 0.3, 0])
    assert torn([first, later], slice(0, 5)).tolist() == [True, False, False, False, False]


def test_a_ghost_before_what_is_revealed_goes() -> None:
    """A board slides off a hole in the wall; a Gaussian at the edge of the hole reaches across it behind the board."""
    wall = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
    wall = wall.take((np.abs(wall.means[:, 0]) > 0.3) | (np.abs(wall.means[:, 1]) > 0.4))
    hall = sheet(WALL, WALL, 0.3, np.array([0.05, 0.05, 0.1]), False, 0.06)
    ghost = beam(0.5, 0.08).replace(means=np.array([[0, 0, 0]], np.float32), colors=wall.colors[:1])
    board = sheet(0.36, 0.46, -0.1, np.array([0.2, 0.5, 0.2]), True, 0.06)
    boards = [shifted(board, 0.16 * frame) for frame in range(FRAMES)]
    filmed = Filmed([concatenate(wall, hall, one) for one in boards], concatenate(wall, hall, ghost), boards)
    found = filmed.reveal()
    assert found.static.scales.max() < 0.2, "it is still as long"
    assert filmed.after(found, FRAMES - 1) > filmed.before(FRAMES - 1) + 8
    assert filmed.after(found, 0) > 40
