"""Segments of runs in which things move, with ids and without: ids are the same Gaussians in all frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.gaussians.part import part_of
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.run import Run
from legs4d.segment.masks.frame_masks import FrameMasks, masks_of_labels
from legs4d.segment.segments import read_segments
from legs4d.segment.selecting import Pointed, select
from legs4d.segment.stage import segment_run
from tests.segment.table import BALL, CENTER, NEAR, cameras, ids, things

GAUSSIANS, OWNER = things()
FRAMES = 3
AWAY = np.array([0.25, 0.0, -0.2])
"""How far the ball moves from frame to frame."""
VIEWS = cameras(6)


class Filmed:
    """True ids of a frame; the ball stands elsewhere in each."""

    name, has_identities = "filmed", True

    def frames(self) -> list[int]:
        return list(range(FRAMES))

    def masks(self, frame: int) -> FrameMasks:
        return masks_of_labels(frame, VIEWS, ids(VIEWS, CENTER + frame * AWAY))


def write_moving(folder: Path, write: Callable[[Run], None]) -> Run:
    run = Run.create(folder)
    run.set_info(fps=1.0, frame_numbers=[0, 1, 2], near=NEAR, center=[0.0, -0.3, 0.0], radius=2.6, down=[0.0, 1.0, 0.0])
    with run.lock():
        run.begin_stage("import", "moving")
        write(run)
        zeros = np.zeros((6, 3), np.float32)
        run.write_cameras(VIEWS, None, zeros, zeros)
        for frame in range(FRAMES):
            run.frame_done("import", frame, 0.0)
        run.finish_stage("import")
    return run


def ball(frame: int) -> NDArray[np.float32]:
    return (GAUSSIANS.means[OWNER == BALL] + frame * AWAY).astype(np.float32)


def test_a_thing_that_moves_is_the_same_gaussians_in_all_frames(tmp_path: Path) -> None:
    def write(run: Run) -> None:
        moving = GAUSSIANS.take(OWNER == BALL)
        run.write_geometry(GAUSSIANS.take(OWNER != BALL), moving, FRAMES)
        for frame in range(FRAMES):
            run.write_frame(frame, ball(frame), moving.quats, moving.colors)

    run = write_moving(tmp_path / "run", write)
    segments = segment_run(run, Filmed())
    assert segments.made["frames"] == [0, 1, 2] and segments.made["pictures"] == 18
    weights = segments.weights(segments.made["identities"].index(BALL))
    assert (weights[run.num_static :] >= 0.5).mean() > 0.8 and (weights[: run.num_static] >= 0.5).mean() < 0.02
    one = segment_run(run, Filmed(), frames=range(1))
    few = one.weights(one.made["identities"].index(BALL))
    assert (few[run.num_static :] >= 0.5).sum() <= (weights[run.num_static :] >= 0.5).sum()
    place = CENTER + 2 * AWAY - [0, 0.36, 0]
    found = select(run, "ball", Pointed(point=(place[0], place[1], place[2]), frame=2))
    assert found["segments"] == [one.made["identities"].index(BALL)]
    alone = part_of(run, "ball", None, keep_places=False)
    assert alone.frame(2).means[-1] == pytest.approx(run.frame(2).means[-1])
    assert alone.num_dynamic > 0.8 * run.num_dynamic and alone.num_static < 0.02 * run.num_static


def test_what_has_no_identity_is_told_frame_by_frame(tmp_path: Path) -> None:
    def write(run: Run) -> None:
        nothing = GAUSSIANS.take(np.zeros(0, np.int64))
        rest, moving = GAUSSIANS.take(OWNER != BALL), GAUSSIANS.take(OWNER == BALL)
        run.write_geometry(rest, nothing, FRAMES, max_loose=len(moving))
        for frame in range(FRAMES):  # in another order, and another number, in each frame
            order = np.random.default_rng(frame).permutation(len(moving))[: len(moving) - 40 * frame]
            run.write_loose(frame, moving.replace(means=ball(frame)).take(order))

    run = write_moving(tmp_path / "run", write)
    assert run.count(2) == run.count(0) - 80
    segment_run(run, Filmed())
    number = read_segments(run).made["identities"].index(BALL)
    select(run, "ball", Pointed(segments=(number,)))
    for frame in range(FRAMES):
        belongs = read_selection(run, "ball").frame(run, frame) >= 0.5
        assert belongs[run.num_gaussians :].mean() > 0.65 and belongs[: run.num_gaussians].mean() < 0.02
        assert part_of(run, None, "ball", keep_places=False).count(frame) == (~belongs).sum()
