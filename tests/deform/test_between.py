"""Moments between stored frames, where what turns is not halfway on a straight line: eval, films, moving cameras."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.effects.run_video import choose_cameras, write_run_video
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import cameras_move
from legs4d.scene.track import Track, track_of
from tests.deform.wheel import FPS, FRAMES, SIZE, photo, viewed_from, write_wheel
from tests.scene.readers.layouts import FLIP

VIEWS = (0.0, 40.0, 80.0)
"""Degrees of the camera in each frame."""
TESTED = ((0.5, 20.0), (1.0, 50.0), (1.3, 10.0))
"""When the held-out pictures were taken, in frames, and from where."""
CPU = torch.device("cpu")


def write_pictures(folder: Path, times: list[float]) -> Path:
    """D-NeRF's files of the wheel: a picture at each time of a frame, and held-out ones between."""
    taken: list[tuple[float, float]] = list(zip(range(FRAMES), VIEWS, strict=True))
    of_split = {"train": taken, "test": list(TESTED)}
    for split, shots in of_split.items():
        frames = []
        (folder / split).mkdir(parents=True)
        for number, (moment, degrees) in enumerate(shots):
            camera, name = viewed_from(degrees), f"{split}/r_{number}"
            Image.fromarray((photo(moment, camera) * 255).round().astype(np.uint8)).save(folder / f"{name}.png")
            pose = np.linalg.inv(camera.world_to_camera[0].astype(float)) @ FLIP
            time = float(np.interp(moment, range(FRAMES), times))
            frames.append({"file_path": name, "time": time, "transform_matrix": pose.tolist()})
        lens = {"fl_x": 40.0, "fl_y": 40.0, "cx": SIZE / 2, "cy": SIZE / 2}
        (folder / f"transforms_{split}.json").write_text(json.dumps({**lens, "frames": frames}))
    return folder


@pytest.mark.parametrize("times", [[0.0, 0.5, 1.0], [3.0, 4.0, 7.0]])
def test_held_out_pictures_are_judged_at_their_own_times(tmp_path: Path, times: list[float]) -> None:
    sequence = open_sequence(write_pictures(tmp_path / "film", times))
    run = write_wheel(tmp_path / "run")
    scores = evaluate_pictures(run, sequence, CPU)
    assert [round(one["moment"], 3) for one in scores["images"]] == [0.5, 1.0, 1.3]
    assert min(one["psnr"] for one in scores["images"]) > 45
    (run.path / "run.zarr/nodes").rename(tmp_path / "nodes")
    straight = evaluate_pictures(Run.open(run.path), sequence, CPU)
    assert straight["images"][0]["psnr"] < 25 < straight["images"][1]["psnr"]


def test_times_of_frames_are_as_far_apart_as_they_were_taken(tmp_path: Path) -> None:
    sequence = open_sequence(write_pictures(tmp_path / "film", [3.0, 4.0, 7.0]))
    np.testing.assert_allclose(sequence.times, [0, 1 / 2 / 30, 4 / 2 / 30])


def test_a_film_of_more_pictures_a_second_goes_round_with_its_nodes(tmp_path: Path) -> None:
    run = write_wheel(tmp_path / "run")
    run.write_cameras(viewed_from(0), None, np.zeros((1, 3)), np.zeros((1, 3)))
    write_run_video(run, tmp_path / "film", "train", None, CPU, fps=4 * FPS)
    files = sorted((tmp_path / "film").iterdir())
    assert len(files) == 4 * (FRAMES - 1) + 1
    for number, file in enumerate(files):
        shown = np.asarray(Image.open(file).convert("RGB")) / 255
        np.testing.assert_allclose(shown, photo(number / 4, viewed_from(0)), atol=0.02)


def test_a_moving_camera_is_between_its_pictures_at_moments_between(tmp_path: Path) -> None:
    run = write_wheel(tmp_path / "run")
    sequence = open_sequence(write_pictures(tmp_path / "film", [0.0, 0.5, 1.0]))
    nothing = np.zeros((1, 3))
    run.write_cameras(track_of(sequence, "train"), track_of(sequence, "test"), nothing, nothing)
    run.set_info(cameras_move=True)
    run = Run.open(run.path)
    shots = choose_cameras(run, "train", fps=2 * FPS).shots
    assert [shot.moment for shot in shots] == [0, 0.5, 1, 1.5, 2]
    for shot, degrees in zip(shots, (0, 20, 40, 60, 80), strict=True):
        found, expected = shot.cameras.world_to_camera[0], viewed_from(degrees).world_to_camera[0]
        np.testing.assert_allclose(found[:3, :3], expected[:3, :3], atol=1e-5)
    np.testing.assert_allclose(shots[1].cameras.centers, (shots[0].cameras.centers + shots[2].cameras.centers) / 2)
    test = run.track("test")
    assert test is not None and test.moments.tolist() == pytest.approx([0.5, 1, 1.3])
    assert [len(run.cameras("test", frame)) for frame in range(FRAMES)] == [1, 2, 0]
    with pytest.raises(Legs4dError, match="not known between frames"):
        choose_cameras(run, "test", fps=2 * FPS)
    still = Track(Cameras.together([viewed_from(30)] * 2), np.array([0, 2], np.int32), np.array([0.0, 2.0]))
    run.write_cameras(track_of(sequence, "train"), still, nothing, nothing)  # stands while the other moves
    shots = choose_cameras(Run.open(run.path), "test", fps=2 * FPS).shots
    assert len(shots) == 5 and all((s.cameras.world_to_camera == viewed_from(30).world_to_camera).all() for s in shots)


def test_colmap_of_one_camera_is_in_the_order_of_its_names(tmp_path: Path) -> None:
    """A folder of one camera's pictures, each with a pose of its own: 2 comes before 10."""
    lines, model = [], tmp_path / "sparse/0"
    (tmp_path / "images/phone").mkdir(parents=True)
    model.mkdir(parents=True)
    for number in (10, 2, 1):
        camera = viewed_from(10.0 * number)
        shown = (photo(0, camera) * 255).round().astype(np.uint8)
        Image.fromarray(shown).save(tmp_path / f"images/phone/{number}.png")
        w2c = camera.world_to_camera[0]
        turn = " ".join(map(str, Rotation.from_matrix(w2c[:3, :3]).as_quat(scalar_first=True)))
        lines += [f"{number} {turn} {w2c[0, 3]} {w2c[1, 3]} {w2c[2, 3]} 1 phone/{number}.png", ""]
    (model / "cameras.txt").write_text(f"1 PINHOLE {SIZE} {SIZE} 40 40 {SIZE / 2} {SIZE / 2}\n")
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("1 0 0 0 200 100 50 0.1\n")
    sequence = open_sequence(tmp_path)
    assert sequence.num_frames == 3 and cameras_move(sequence)
    for frame, number in enumerate((1, 2, 10)):
        found, expected = sequence.cameras("train", frame), viewed_from(10.0 * number)
        np.testing.assert_allclose(found.world_to_camera, expected.world_to_camera, atol=1e-5)
        assert found.ids == sequence.cameras("train", 0).ids
        np.testing.assert_allclose(sequence.images("train", frame)[0], photo(0, expected), atol=0.003)
    assert sequence.initial_points is not None


def test_a_camera_path_shows_moments_between_frames(tmp_path: Path) -> None:
    run = write_wheel(tmp_path / "run")
    pose = viewed_from(0).world_to_camera[0].tolist()
    keys = [{"at": 0, "w2c": pose}, {"at": 4, "frame": 1, "w2c": pose}]
    path = {"w": SIZE, "h": SIZE, "fov": 43.6, "keyframes": keys}
    (tmp_path / "path.json").write_text(json.dumps(path))
    found = choose_cameras(run, str(tmp_path / "path.json")).shots
    assert [shot.moment for shot in found] == [0, 0.25, 0.5, 0.75, 1]
    assert [shot.frame for shot in found] == [0, 0, 0, 1, 1]
