"""Map coordinates, clocks, rigs, cameras left out, files by scripts: read as what was filmed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.footage.transforms_file import TransformsFile, is_left_out, split_of
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence, cameras_move
from tests.scene.as_filmed import CLOSE, SCENE, WRITERS, assert_is_the_scene, edit, found_cameras
from tests.scene.readers.layouts import (
    all_cameras,
    camera_to_world,
    photograph,
    save,
    write_colmap,
    write_instant_ngp,
    write_json,
    write_neu3d,
)
from tests.synthetic import Scene

FAR, POINT = np.array([512345.678, 130.5, 4812345.678]), np.array([0.25, 0.5, -0.125])


def move_nerf(folder: Path) -> None:
    def move(content: Any) -> None:
        for frame in content["frames"]:
            for row in range(3):
                frame["transform_matrix"][row][3] += FAR[row]

    edit(folder / "transforms.json", move)


def shifted(matrix: list[list[float]]) -> list[list[float]]:
    moved = np.array(matrix, np.float64)
    moved[:3, 3] -= moved[:3, :3] @ FAR
    return moved.tolist()


def move_panoptic(folder: Path) -> None:
    for meta in ("train_meta.json", "test_meta.json"):
        edit(folder / meta, lambda c: c.update(w2c=[[shifted(m) for m in row] for row in c["w2c"]]))
    cloud = np.array([[*(FAR + POINT), 0.1, 0.2, 0.3, 1]])
    np.savez(folder / "init_pt_cld.npz", data=cloud)


def move_videos(folder: Path) -> None:
    edit(folder / "cameras.json", lambda c: [one.update(w2c=shifted(one["w2c"])) for one in c["cameras"]])


def move_neu3d(folder: Path) -> None:
    rows = np.load(folder / "poses_bounds.npy")
    rows[:, (3, 8, 13)] += FAR
    np.save(folder / "poses_bounds.npy", rows)


@pytest.mark.parametrize(
    ("name", "move"), [("nerf", move_nerf), ("panoptic", move_panoptic), ("videos", move_videos), ("neu3d", move_neu3d)]
)
def test_map_coordinates_lose_nothing(tmp_path: Path, name: str, move: Callable[[Path], None]) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    near = open_sequence(folder)
    move(folder)
    sequence = open_sequence(folder)
    assert near.origin == (0, 0, 0) and np.abs(np.array(sequence.origin) - FAR).max() < 3
    point = np.array([0.1, -0.4, 0.2])

    def pixels(sequence: Sequence, at: NDArray[np.float64]) -> NDArray[np.float64]:
        cameras = found_cameras(sequence, 1)[0]
        in_camera = cameras.world_to_camera[:, :3].astype(np.float64) @ [*at, 1]
        seen = np.einsum("cij,cj->ci", cameras.intrinsics, in_camera)
        return np.asarray(seen[:, :2] / seen[:, 2:])

    assert np.abs(pixels(sequence, point + FAR - np.array(sequence.origin)) - pixels(near, point)).max() < 2e-3
    if name == "panoptic":
        assert sequence.initial_points is not None
        expected = FAR + POINT - np.array(sequence.origin)
        np.testing.assert_allclose(sequence.initial_points.positions[0], expected, atol=1e-6)
    assert any("far from the origin" in note for note in sequence.notes)


def test_still_cameras_are_told_by_their_poses(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    rng = np.random.default_rng(0)

    def write_anew(content: Any) -> None:
        """In another order, with the noise of numbers written frame by frame."""
        rng.shuffle(content["frames"])
        for frame in content["frames"]:
            frame["transform_matrix"][0][3] += float(rng.normal()) * 1e-7

    edit(folder / "transforms.json", write_anew)
    sequence = open_sequence(folder)
    assert isinstance(sequence, MotionMasks) and not cameras_move(sequence)
    assert_is_the_scene(sequence, SCENE)


@pytest.mark.parametrize("unit", [1.0, 0.1, 1 / 30, 1000.0])
def test_times_within_half_a_frame_are_one_frame(tmp_path: Path, unit: float) -> None:
    folder, rng = write_instant_ngp(tmp_path, SCENE), np.random.default_rng(0)
    edit(
        folder / "transforms.json",
        lambda c: [f.update(time=unit * (f["time"] + float(rng.uniform(0, 0.2)))) for f in c["frames"]],
    )
    assert_is_the_scene(open_sequence(folder), SCENE)


def test_without_times_names_tell_the_order(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: [f.pop("time") for f in c["frames"]])
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, SCENE)
    assert any("in the order of their names" in note for note in sequence.notes)


CALLED = {
    "panoptic": "1",
    "nerf": "01",
    "neu3d": "cam01",
    "videos": "view1",
    "colmap": "cam01",
    "multipleview": "cam02",
}


@pytest.mark.parametrize("name", WRITERS)
def test_cameras_can_be_left_out_or_chosen_by_name(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    left = open_sequence(folder, DatasetSettings(leave_out=(CALLED[name],)))
    assert sum(len(left.cameras(split, 0)) for split in ("train", "test")) == 3
    assert_is_the_scene(left, SCENE, CLOSE.get(name, 0.003))
    gone = all_cameras(SCENE).world_to_camera[1]
    assert not any(np.allclose(pose, gone, atol=1e-4) for pose in found_cameras(left, 0)[0].world_to_camera)
    others = tuple(str(i) for i in ((1, 2, 3) if name == "multipleview" else (0, 1, 2)))
    chosen = open_sequence(folder, DatasetSettings(cameras=others))
    assert_is_the_scene(chosen, SCENE, CLOSE.get(name, 0.003))
    assert sum(len(chosen.cameras(split, 0)) for split in ("train", "test")) == 3
    with pytest.raises(DatasetError, match="there is no camera 'nobody'"):
        open_sequence(folder, DatasetSettings(leave_out=("nobody",)))


@pytest.mark.parametrize("gone", [[2], [0], [1, 3], [5]])
def test_neural_3d_video_without_some_of_its_videos(tmp_path: Path, gone: list[int]) -> None:
    scene = Scene(num_frames=2, width=48, height=32, num_train=6, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for camera in gone:
        (folder / f"cam{camera:02d}.mp4").unlink()
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, scene, 0.03)
    assert any("no footage" in note for note in sequence.notes)


def test_llffs_own_layout_is_a_scene_at_one_moment(tmp_path: Path) -> None:
    scene = Scene(num_frames=1, width=48, height=32, num_train=6, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for camera, picture in enumerate(photograph(scene, 0)):
        (folder / f"cam{camera:02d}.mp4").unlink()
        save(folder / f"images/IMG_{camera + 8}.png", picture)
    assert_is_the_scene(open_sequence(folder), scene)


def test_a_few_missing_pictures_cost_their_frames_and_are_said(tmp_path: Path) -> None:
    scene = Scene(num_frames=24, width=32, height=24, num_train=2, num_test=1)
    panoptic = WRITERS["panoptic"](tmp_path / "panoptic", scene)
    (panoptic / "ims/1/000005.png").unlink()
    colmap = write_colmap(tmp_path / "colmap", scene)
    (colmap / "images/cam01/0005.png").unlink()
    nerf = write_instant_ngp(tmp_path / "nerf", scene)
    (nerf / "images/01_005.png").unlink()
    kept = [frame for frame in range(24) if frame != 5]
    for folder in (panoptic, colmap, nerf):
        sequence = open_sequence(folder)
        assert_is_the_scene(sequence, scene, frames=kept)
        assert any("1 of 24 frames lacks a picture and is left out" in note for note in sequence.notes)
    assert list(open_sequence(panoptic).frame_numbers) == kept
    for frame in (6, 7, 8):
        (panoptic / f"ims/1/{frame:06d}.png").unlink()
    with pytest.raises(DatasetError, match=r"000005\.png: is missing.*000006\.png: is missing.*leave its camera"):
        open_sequence(panoptic)


def test_camera_files_as_scripts_write_them(tmp_path: Path) -> None:
    folder = WRITERS["panoptic"](tmp_path, SCENE)
    changes: list[Callable[[Any], object]] = [
        lambda c: c.update(cam_id=[[str(i) for i in row] for row in c["cam_id"]]),
        lambda c: c.update(cam_id=c["cam_id"][0]),
        lambda c: c.update(w=float(c["w"]), h=str(c["h"])),
        lambda c: c.update(k=c["k"][0], w2c=c["w2c"][0]),
        lambda c: c.update(cam_id=[f"Bühne {i}" for i in c["cam_id"]]),
    ]
    for change in changes:  # one on top of the other
        for meta in ("train_meta.json", "test_meta.json"):
            edit(folder / meta, change)
        assert_is_the_scene(open_sequence(folder), SCENE)
    left = open_sequence(folder, DatasetSettings(leave_out=("bühne 0",)))
    assert len(left.cameras("train", 0)) == 2


def test_what_is_read_and_not_used_is_said_once(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: [f.update(depth_file_path="x", sharpness=3.0) for f in c["frames"]])
    notes = open_sequence(folder).notes
    assert notes == ("depth_file_path in transforms.json is read and not used.",)


def test_nerfstudios_lists_of_test_pictures_are_heeded(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(
        folder / "transforms.json",
        lambda c: c.update(test_filenames=[f["file_path"] for f in c["frames"] if "/02_" in f["file_path"]]),
    )
    sequence = open_sequence(folder)
    assert len(sequence.cameras("train", 0)) == 3
    np.testing.assert_allclose(
        sequence.cameras("test", 1).world_to_camera[0], all_cameras(SCENE).world_to_camera[2], atol=1e-5
    )


def test_lists_of_thousands_of_pictures_are_looked_through_once() -> None:
    names, pose = [f"images/{i}.png" for i in range(3000)], np.eye(4).tolist()
    file = TransformsFile.model_validate(
        {
            "frames": [{"file_path": name, "transform_matrix": pose} for name in names],
            "train_filenames": names[300:2900],
            "test_filenames": names[:300],
        }
    )
    before = time.process_time()
    splits = [split_of("transforms.json", file, frame) for frame in file.frames if not is_left_out(file, frame)]
    assert time.process_time() - before < 2  # one look for each picture took 37 s
    assert splits == ["test"] * 300 + ["train"] * 2600


def test_two_cameras_are_enough(tmp_path: Path) -> None:
    scene = Scene(num_frames=2, width=32, height=24, num_train=2, num_test=0)
    frames = [
        {"file_path": f"{i}_{f}.png", "time": float(f), "transform_matrix": camera_to_world(all_cameras(scene), i)}
        for f in range(2)
        for i in range(2)
    ]
    for frame in range(2):
        for camera, picture in enumerate(photograph(scene, frame)):
            save(tmp_path / f"{camera}_{frame}.png", picture)
    angle = float(2 * np.arctan(16 / all_cameras(scene).intrinsics[0, 0, 0]))
    write_json(tmp_path / "transforms.json", {"camera_angle_x": angle, "frames": frames})
    assert_is_the_scene(open_sequence(tmp_path), scene)
