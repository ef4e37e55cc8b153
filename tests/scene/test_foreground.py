"""Foreground without masks: what moves in the known scene is found, and footage that cannot tell is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from legs4d.config import (
    DatasetSettings,
    DensifySettings,
    FirstFrameSettings,
    ReconstructSettings,
    TrackingSettings,
    TrainSettings,
)
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.pipeline import reconstruct
from legs4d.progress import Progress, Stopped
from legs4d.scene.foreground import MotionMasks, with_masks
from legs4d.scene.readers import open_sequence
from tests.scene.readers.layouts import write_d_nerf
from tests.synthetic import BALL, Scene, write_dataset

SCENE = Scene(num_frames=9, width=96, height=64, num_train=6, num_test=1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset without seg/."""
    folder = write_dataset(tmp_path_factory.mktemp("bare"), SCENE)
    shutil.rmtree(folder / "seg")
    return folder


def test_the_ball_is_found_in_every_frame(bare: Path) -> None:
    sequence = open_sequence(bare)
    assert isinstance(sequence, MotionMasks)
    common, either = 0, 0
    for frame in range(SCENE.num_frames):
        found, objects = sequence.masks("train", frame), sequence.objects("train", frame)
        assert found is not None and objects is not None and found.shape == objects.shape
        common += int(((found > 0.5) & (objects == BALL)).sum())
        either += int(((found > 0.5) | (objects == BALL)).sum())
    assert common / either > 0.8
    assert sequence.masks("test", 0) is None


def test_masks_are_the_same_again_and_one_by_one(bare: Path) -> None:
    first, second = open_sequence(bare), open_sequence(bare)
    together, alone = first.masks("train", 4), second.masks("train", 4, [2])
    assert together is not None and alone is not None
    assert np.array_equal(together[[2]], alone)
    assert first.fingerprint() == second.fingerprint()


def test_masks_have_the_size_of_the_pictures(bare: Path) -> None:
    masks = open_sequence(bare, 0.5).masks("train", 4)
    assert masks is not None and masks.shape == (6, 32, 48) and 0 <= masks.min() < masks.max() <= 1


def test_footage_with_masks_is_left_alone(tmp_path: Path) -> None:
    sequence = open_sequence(write_dataset(tmp_path, Scene(num_frames=1, width=32, height=32, num_train=2)))
    assert with_masks(sequence) is sequence and not isinstance(sequence, MotionMasks)


def test_training_works_without_masks(bare: Path, tmp_path: Path) -> None:
    said: list[Progress] = []
    settings = TrainSettings(
        dataset=DatasetSettings(scale=0.5),
        reconstruct=ReconstructSettings(
            first_frame=FirstFrameSettings(
                steps=40, num_foreground=200, num_background=600, densify=DensifySettings(max_gaussians=1000)
            ),
            tracking=TrackingSettings(steps=4),
        ),
    )
    run = reconstruct(bare, tmp_path / "run", settings, Context("cpu", progress=said.append))
    assert said[0].stage == "foreground_from_motion"
    assert run.info["masks"] == "motion" and run.num_dynamic > 10
    assert run.has_frame(SCENE.num_frames - 1)


def test_learning_can_be_stopped_after_each_picture(bare: Path) -> None:
    sequence = open_sequence(bare)
    assert isinstance(sequence, MotionMasks)
    cameras = len(sequence.cameras("train", 0))
    told: list[Progress] = []

    class Stop:
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 3

    with pytest.raises(Stopped):
        sequence.prepare(Context(progress=told.append, stop=Stop()))
    assert cameras > 3 and told[0].done == 0 and told[0].total % cameras == 0 and told[-1].done < cameras


def test_clips_that_cannot_tell_what_moves(tmp_path: Path) -> None:
    short = write_dataset(tmp_path / "short", Scene(num_frames=2, width=32, height=32, num_train=2))
    shutil.rmtree(short / "seg")
    with pytest.raises(DatasetError, match="in 2 frames nothing can be seen to move; add foreground masks"):
        MotionMasks(open_sequence(short)).prepare()
    assert open_sequence(short).masks("train", 0) is None
    moving = MotionMasks(open_sequence(write_d_nerf(tmp_path / "d_nerf", SCENE)))
    with pytest.raises(DatasetError, match="its cameras move"):
        moving.prepare()
    assert moving.masks("train", 0) is None
