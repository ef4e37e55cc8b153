"""Tracking in chunks: what it shares with tracking in a row, and what a stop or another worker may not change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from legs4d import pipeline
from legs4d.config import (
    BirthSettings,
    ChunkSettings,
    DensifySettings,
    FirstFrameSettings,
    NodeSettings,
    ReconstructSettings,
    TrackingSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from legs4d.reconstruct.chunks import blend, chunk_starts
from tests.synthetic import Scene, write_dataset


class RollingBall(Scene):
    """Nothing flies: the ball goes a third of its radius a frame."""

    def ball_center(self, frame: int) -> np.ndarray:
        return np.array([-0.5 + 0.08 * frame, -0.3, 0.5])


SCENE = RollingBall(num_frames=7, width=48, height=32, num_train=6, num_test=1)
FIRST = FirstFrameSettings(
    steps=60,
    cameras_per_step=3,
    num_foreground=150,
    num_background=300,
    densify=DensifySettings(max_gaussians=600, every=20),
)
TRACKING = TrackingSettings(nodes=NodeSettings(steps=6, count=30), steps=5, cameras_per_step=4)
CHUNKS = ChunkSettings(
    length=3, overlap=1, scout=TrackingSettings(nodes=NodeSettings(steps=5, count=30), steps=3, cameras_per_step=4)
)
NONE = BirthSettings(frames=0)
"""Gaussians that are born at the end are not the same ones in both."""
ROW = TrainSettings(reconstruct=ReconstructSettings(first_frame=FIRST, tracking=TRACKING, births=NONE))
CUT = TrainSettings(reconstruct=ReconstructSettings(first_frame=FIRST, tracking=TRACKING, births=NONE, chunks=CHUNKS))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), SCENE)


@pytest.fixture(scope="module")
def row(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return pipeline.reconstruct(dataset, tmp_path_factory.mktemp("row"), ROW, Context("cpu"))


@pytest.fixture(scope="module")
def cut(dataset: Path, row: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = shutil.copytree(row.path, tmp_path_factory.mktemp("cut") / "run")
    Run.open(folder).forget_stage("tracking")
    return pipeline.reconstruct(dataset, folder, CUT, Context("cpu"))


def moved(run: Run, frame: int) -> np.ndarray:
    """[M, 3] means of what moves."""
    return run.dynamic(frame).means


def is_ball(run: Run) -> np.ndarray:
    """[M] which of the moving Gaussians are on the ball in the first frame; the others are on the box."""
    return np.linalg.norm(moved(run, 0) - SCENE.ball_center(0), axis=1) < 0.3


def test_chunks_cover_the_timeline() -> None:
    assert chunk_starts(7, 3) == [0, 3, 6]
    assert chunk_starts(6, 3) == [0, 3]
    assert chunk_starts(2, 3) == [0]
    with pytest.raises(ValidationError, match="too short for an overlap"):
        ChunkSettings(length=4, overlap=3)


def test_it_is_the_same_scene_with_the_same_ids(row: Run, cut: Run) -> None:
    assert cut.stages["tracking"].done_frames == list(range(1, 7))
    assert cut.stages["first_frame"].fingerprint == row.stages["first_frame"].fingerprint
    assert cut.stages["tracking"].fingerprint != row.stages["tracking"].fingerprint
    assert not (cut.path / "scout").exists()
    for frame in (0, 1):  # the first chunk is tracked in a row, until it goes over to the next
        np.testing.assert_array_equal(moved(cut, frame), moved(row, frame))
    ball = is_ball(row)
    for frame in range(3, 7):
        # Gaussian by Gaussian, over borders at 3 and 6: an id is still the same piece of the ball or the box.
        apart = np.linalg.norm(moved(cut, frame) - moved(row, frame), axis=1)
        assert np.median(apart[ball]) < 0.1 and np.median(apart[~ball]) < 0.05


def test_a_blend_lies_between(row: Run) -> None:
    first = row.dynamic(0)
    turned = np.tile(np.array([np.sqrt(0.5), 0, 0, -np.sqrt(0.5)], np.float32), (len(first), 1))
    straight = np.tile(np.array([-1, 0, 0, 0], np.float32), (len(first), 1))  # no turn at all, written with a minus
    middle = blend(first.replace(quats=straight), first.replace(means=first.means + 2, quats=turned), 0.5)
    np.testing.assert_allclose(middle.means, first.means + 1, rtol=1e-6)
    eighth = [-np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)]
    np.testing.assert_allclose(middle.quats, np.tile(eighth, (len(first), 1)), atol=1e-6)


def test_the_ball_is_followed_over_borders(cut: Run) -> None:
    ball = is_ball(cut)
    for frame in range(7):
        center = np.median(moved(cut, frame)[ball], axis=0)
        assert np.linalg.norm(center - SCENE.ball_center(frame)) < 0.12, frame


@pytest.mark.parametrize(("stage", "done"), [("scouting", 3), ("tracking", 2)])
def test_stopped_and_resumed_it_gives_the_same_bits(
    dataset: Path, cut: Run, row: Run, tmp_path: Path, stage: str, done: int
) -> None:
    class Stop:
        reached = False

        def __call__(self, progress: Progress) -> None:
            self.reached |= progress.stage == stage and progress.done >= done

        def is_set(self) -> bool:
            return self.reached

    folder, stop = Path(shutil.copytree(row.path, tmp_path / "run")), Stop()
    Run.open(folder).forget_stage("tracking")
    with pytest.raises(Stopped):
        pipeline.reconstruct(dataset, folder, CUT, Context("cpu", progress=stop, stop=stop))
    assert (folder / "scout").is_dir()
    again = pipeline.reconstruct(dataset, folder, CUT, Context("cpu"))
    for frame in range(7):
        for name, values in again.moving(frame).items():
            np.testing.assert_array_equal(values, cut.moving(frame)[name])
