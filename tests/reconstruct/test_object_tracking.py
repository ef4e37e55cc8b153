"""Following an object: scenes whose Gaussians follow it, lose it, or never were on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import DatasetError
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.evaluation.object_tracking import evaluate_tracking
from legs4d.scene.readers import open_sequence
from tests.synthetic import BALL, BALL_RADIUS, FOCAL_PER_WIDTH, RING_RADIUS, Scene, write_dataset, write_run

SCENE = Scene(num_frames=6, width=96, height=64, num_train=6, num_test=1)
CPU = torch.device("cpu")
RADIUS_PX = BALL_RADIUS * FOCAL_PER_WIDTH * SCENE.width / RING_RADIUS


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), SCENE)


def moved(dataset: Path, folder: Path, offset_in_flight: float) -> Run:
    """The true run, but in the flight the ball's Gaussians are this far (scene units) above the ball."""
    run = write_run(folder, SCENE, language=False, dataset=str(dataset))
    assert SCENE.flight is not None
    for frame in range(SCENE.flight[0], SCENE.num_frames):
        ball = SCENE.dynamic(frame)
        run.write_frame(frame, ball.means - np.array([0, offset_in_flight, 0], np.float32), ball.quats, ball.colors)
    return run


def test_gaussians_that_are_the_ball_follow_it(dataset: Path, tmp_path: Path) -> None:
    run = moved(dataset, tmp_path, 0.0)
    found = evaluate_tracking(run, open_sequence(dataset), BALL, CPU)
    # Half of them are hidden in the floor's thick Gaussians in frame 0; those seen are the upper half.
    assert 0.5 * run.num_dynamic < found["gaussians"] < run.num_dynamic
    assert found["median_carried_px"] < 0.15 * RADIUS_PX
    assert found["median_px"] < 0.5 * RADIUS_PX
    in_flight = found["per_frame"][2]
    assert in_flight["rendered_px"] < 0.2 * RADIUS_PX and in_flight["iou"] > 0.6
    assert found["stayed"] > 0.5  # at its rim they reach over it by half
    assert [row["frame"] for row in found["per_frame"]] == list(range(6))
    assert set(found["per_camera"]) <= {str(camera) for camera in SCENE.cameras("train").ids}


def test_gaussians_that_lose_the_ball_are_told(dataset: Path, tmp_path: Path) -> None:
    off = 2 * BALL_RADIUS
    found = evaluate_tracking(moved(dataset, tmp_path, off), open_sequence(dataset), BALL, CPU)
    before, after = found["per_frame"][0], found["per_frame"][3]
    for name in ("px", "carried_px", "rendered_px"):
        assert after[name] == pytest.approx(2 * RADIUS_PX, rel=0.35)
    assert before["carried_px"] < 0.15 * RADIUS_PX
    assert after["on_object"] < 0.1 and after["iou"] == 0 and found["stayed"] < 0.1


def test_objects_that_cannot_be_followed(dataset: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SCENE, language=False, dataset=str(dataset))
    with pytest.raises(DatasetError, match="object 7 is in no mask of frame 0"):
        evaluate_tracking(run, open_sequence(dataset), 7, CPU)
    plain = write_dataset(tmp_path / "plain", SCENE)
    (plain / "objects").rename(tmp_path / "away")
    with pytest.raises(DatasetError, match="no object masks"):
        evaluate_tracking(run, open_sequence(plain), BALL, CPU)
