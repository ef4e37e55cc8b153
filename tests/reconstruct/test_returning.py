"""Gaussians that tracking left behind come back to their object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.reconstruct.births.births import reveal
from legs4d.reconstruct.births.clip import Clip
from legs4d.reconstruct.births.evidence import look
from legs4d.reconstruct.births.returning import with_returned
from legs4d.reconstruct.observation import CameraColors, Observation
from tests.reconstruct.test_births import FRAMES, SETTINGS, STAGE, TRAIN, WALL, Filmed, sheet, shifted

KNOWN = [0, 2, 4, 5]
COLORS = CameraColors(torch.zeros(len(TRAIN), 3), torch.zeros(len(TRAIN), 3))


def turned(gaussians: Gaussians, frame: int) -> Gaussians:
    """To the right, by 4 degrees a frame about the line of sight."""
    angle = 0.07 * frame
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
    half = np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)], np.float32)
    placed = gaussians.replace(means=gaussians.means @ turn.T, quats=np.tile(half, (len(gaussians), 1)))
    return shifted(placed, 0.15 * frame)


WALL_BEHIND = sheet(WALL, WALL, 0, np.array([0.7, 0.6, 0.5]), False, 0.06)
BOARD = sheet(0.25, 0.25, -0.3, np.array([0.2, 0.5, 0.2]), True, 0.05)
TRUE = [turned(BOARD, frame) for frame in range(FRAMES)]


def left_behind(lost: NDArray[np.bool_]) -> Filmed:
    """A board of which some Gaussians stay where they were in the second frame."""

    def tracked(frame: int) -> Gaussians:
        stuck = TRUE[min(frame, 1)]
        means, quats = TRUE[frame].means.copy(), TRUE[frame].quats.copy()
        means[lost], quats[lost] = stuck.means[lost], stuck.quats[lost]
        return TRUE[frame].replace(means=means, quats=quats)

    true = [concatenate(WALL_BEHIND, one) for one in TRUE]
    return Filmed(true, WALL_BEHIND, [tracked(frame) for frame in range(FRAMES)])


def masked(boards: list[Gaussians], shown: Callable[[int, NDArray[np.uint8]], NDArray[np.bool_]]) -> Filmed:
    """Boards that were tracked rightly, of which masks show what `shown(frame, labels)` says."""

    class Masked(Filmed):
        def observe(self, frame: int) -> Observation:
            seen = super().observe(frame)
            assert seen.labels is not None
            return replace(seen, labels=seen.labels * shown(frame, seen.labels))

    return Masked([concatenate(WALL_BEHIND, one) for one in boards], WALL_BEHIND, boards)


def returned(clip: Clip) -> Clip:
    evidence = [look(clip.at(one), clip.observe(one), COLORS, STAGE.near, clip.ids) for one in KNOWN]
    return with_returned(clip, evidence, KNOWN, lambda: None)


def test_what_an_object_lost_is_carried_by_the_rest_of_it() -> None:
    lost = BOARD.means[:, 0] < -0.03
    clip = left_behind(lost).clip(np.zeros(len(BOARD), np.int64))
    found = returned(clip)
    for frame in (4, 5):  # by then it is off the board
        assert np.abs(clip.dynamic(frame).means - TRUE[frame].means).max() > 0.4
        np.testing.assert_allclose(found.dynamic(frame).means, TRUE[frame].means, atol=1e-3)
        np.testing.assert_allclose(found.dynamic(frame).quats, TRUE[frame].quats, atol=1e-3)
    np.testing.assert_array_equal(found.dynamic(0).means, TRUE[0].means)
    still = ~lost
    np.testing.assert_array_equal(found.dynamic(5).means[still], clip.dynamic(5).means[still])


def test_an_object_that_lost_few_and_what_no_mask_shows_stay_as_they_are() -> None:
    few = np.zeros(len(BOARD), np.bool_)
    few[:3] = True
    clip = left_behind(few).clip(np.zeros(len(BOARD), np.int64))
    assert returned(clip) is clip
    lost = left_behind(BOARD.means[:, 0] < -0.03)
    nobody = lost.clip(np.full(len(BOARD), -1))
    assert returned(nobody) is nobody
    without = replace(nobody, ids=np.zeros(0, np.int64))
    assert returned(without) is without


def test_an_object_that_masks_no_longer_tell_goes_on_as_it_was_tracked() -> None:
    """A board that grows, which is no rigid motion, in frames whose masks know no object after the third."""

    boards = [BOARD.replace(means=BOARD.means * np.float32(1 + 0.1 * frame)) for frame in range(FRAMES)]
    clip = masked(boards, lambda frame, _: np.array(frame < 3)).clip(np.zeros(len(BOARD), np.int64))
    assert returned(clip) is clip


def test_what_would_lie_no_better_stays_where_masks_err() -> None:
    """A board that is tracked well, of which masks show the right half alone after the second frame."""

    def right_half(frame: int, labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return (np.arange(TRAIN.width) > int(np.nonzero(labels)[2].mean())) | (frame < 2)

    clip = masked(TRUE, right_half).clip(np.zeros(len(BOARD), np.int64))
    assert returned(clip) is clip


def test_births_show_the_object_whole_again() -> None:
    filmed = left_behind(BOARD.means[:, 0] < -0.03)
    clip = filmed.clip(np.zeros(len(BOARD), np.int64))
    found = reveal(clip, SETTINGS.suited(len(TRAIN) * TRAIN.width * TRAIN.height), QUIET)
    assert filmed.after(found, FRAMES - 1) > filmed.before(FRAMES - 1) + 10
    assert (found.died[: len(BOARD)] == FRAMES - 1).mean() > 0.95
