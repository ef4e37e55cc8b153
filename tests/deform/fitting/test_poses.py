"""Poses that are a little wrong: found back while the scene is fitted, and kept in the run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d import pipeline
from legs4d.context import Context
from legs4d.deform.fitting.per_picture import Poses, whose
from legs4d.gaussians.store.footage import cameras_taken
from legs4d.raster.states import CameraTable, States, render_states
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from tests.deform.conftest import asked
from tests.deform.film import balls, write_film
from tests.synthetic import Scene

FRAMES = 16


def jittered(folder: Path) -> tuple[Path, NDArray[np.float64]]:
    """A film whose training poses are told wrong by about a degree and a hundredth of the distance, and the true ones
    [F, 4, 4], world to camera."""
    path = write_film(folder, frames=FRAMES, tests=4) / "transforms_train.json"
    content, chance = json.loads(path.read_text()), np.random.default_rng(0)
    truth = []
    for frame in content["frames"]:
        pose = np.array(frame["transform_matrix"])
        truth.append(np.linalg.inv(pose @ np.diag([1, -1, -1, 1])))
        off = np.eye(4)
        off[:3, :3] = Rotation.from_rotvec(chance.normal(0, np.radians(0.7), 3)).as_matrix()
        off[:3, 3] = chance.normal(0, 0.03, 3)
        frame["transform_matrix"] = (pose @ off).tolist()
    path.write_text(json.dumps(content))
    return folder, np.array(truth)


def off_by(cameras: Cameras, truth: NDArray[np.float64]) -> float:
    """Pixels between where the balls are seen and where they should be, the median."""
    places = np.stack([np.c_[balls(f / (FRAMES - 1)), np.ones(3)] for f in range(FRAMES)])
    pixels = []
    for poses in (cameras.world_to_camera, truth):
        seen = np.einsum("fxy,fby->fbx", cameras.intrinsics @ poses[:, :3], places)
        pixels.append(seen[..., :2] / seen[..., 2:])
    return float(np.median(np.linalg.norm(pixels[0] - pixels[1], axis=-1)))


@pytest.mark.long
def test_jittered_poses_are_found_back_and_kept(tmp_path: Path) -> None:
    film, truth = jittered(tmp_path / "film")
    sequence = open_sequence(film)
    told = Cameras.together([sequence.cameras("train", frame) for frame in range(FRAMES)])
    run = pipeline.reconstruct(film, tmp_path / "run", asked(pose_rate=1e-3), Context(engine="cpu"))
    track = run.track("train")
    assert track is not None and off_by(told, truth) > 1.2
    assert off_by(track.cameras, truth) < 0.6 * off_by(told, truth)
    assert run.info["poses_refined"] and any(note.startswith("Poses were refined: 16 of") for note in run.info["notes"])
    assert np.array_equal(cameras_taken(run, sequence, 3).world_to_camera, run.cameras("train", 3).world_to_camera)
    np.testing.assert_array_equal(run.cameras("test", 0).world_to_camera, sequence.cameras("test", 0).world_to_camera)


def test_corrected_cameras_see_what_was_fitted() -> None:
    cameras = Scene(width=24, height=18, num_train=3, num_test=0).cameras("train")
    chance = torch.Generator().manual_seed(0)
    poses = Poses.none(np.arange(3), np.array([0.3, 2.0, -0.4]), 2.5, torch.device("cpu"))
    poses.values.data = 0.05 * torch.randn(3, 6, generator=chance)
    count = 40
    states = States(
        torch.rand(3, count, 3, generator=chance) - 0.5,
        torch.nn.functional.normalize(torch.randn(3, count, 4, generator=chance), dim=-1),
        torch.full((3, count, 3), 0.1) * torch.tensor([1.0, 2, 3]),
        torch.full((3, count), 0.7),
        torch.rand(count, 3, generator=chance),
    )
    which, behind = torch.arange(3), torch.zeros(3, 3)
    moved = render_states(poses.applied(states, which), CameraTable.of(cameras, which.device), which, behind, near=0.01)
    there = CameraTable.of(poses.corrected(cameras), which.device)
    seen = render_states(states, there, which, behind, near=0.01)
    still = render_states(states, CameraTable.of(cameras, which.device), which, behind, near=0.01)
    assert (moved[0] - seen[0]).abs().max().item() < 1e-3 < 0.05 < (moved[0] - still[0]).abs().max().item()


def test_a_pose_turns_about_the_middle_and_shifts_in_radii() -> None:
    poses = Poses.none(np.arange(2), np.array([1.0, 0, 0]), 2.0, torch.device("cpu"))
    poses.values.data[0] = torch.tensor([0.02, -0.04, 0.03, 0.1, 0.2, 0.3])
    means = torch.randn(1, 5, 3)
    states = States(means, torch.eye(4)[:1].expand(1, 5, 4), torch.ones(1, 5, 3), torch.ones(1, 5), torch.zeros(5, 3))
    found = poses.applied(states, torch.tensor([0]))
    turn = Rotation.from_rotvec([0.01, -0.02, 0.015])  # half of it, as the mean of both poses is taken off
    expected = turn.apply(means[0].numpy() - [1, 0, 0]) + np.array([1.1, 0.2, 0.3])
    np.testing.assert_allclose(found.means[0].detach(), expected, atol=1e-5)
    np.testing.assert_allclose(found.quats[0, 0].detach(), turn.as_quat(scalar_first=True), atol=1e-5)


def test_what_all_cameras_would_do_is_no_correction() -> None:
    cameras = Scene(width=24, height=18, num_train=3, num_test=0).cameras("train")
    poses = Poses.none(np.arange(3), np.zeros(3), 1.0, torch.device("cpu"))
    poses.values.data += torch.tensor([0.1, 0, 0.2, 0.3, 0, 0])
    np.testing.assert_allclose(poses.corrected(cameras).world_to_camera, cameras.world_to_camera, atol=1e-6)


def test_cameras_that_stand_still_have_one_pose_for_all_times() -> None:
    cameras = Scene(width=24, height=18, num_train=3, num_test=0).cameras("train")
    assert whose([cameras, cameras], still=True).tolist() == [0, 1, 2, 0, 1, 2]
    assert whose([cameras, cameras.take([0])], still=False).tolist() == [0, 1, 2, 3]
