"""Other people's layouts: the scene that was written is what is read, and each way to be wrong gets one sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.scene.readers.layouts import (
    all_cameras,
    encode,
    save,
    to_bytes,
    write_colmap,
    write_d_nerf,
    write_instant_ngp,
    write_json,
    write_neu3d,
    write_plain_videos,
)
from tests.synthetic import FPS, Scene

SCENE = Scene(num_frames=6, width=48, height=32, num_train=8, num_test=1)
WRITERS: dict[str, Callable[[Path, Scene], Path]] = {
    "d_nerf": write_d_nerf,
    "instant_ngp": write_instant_ngp,
    "neu3d": write_neu3d,
    "videos": write_plain_videos,
    "colmap": write_colmap,
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name), SCENE) for name, write in WRITERS.items()}


@pytest.fixture
def sample(samples: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a sample that may be damaged."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(samples[name], tmp_path / name))

    return copy


def assert_same_cameras(found: Cameras, truth: Cameras) -> None:
    assert (found.width, found.height) == (truth.width, truth.height)
    np.testing.assert_allclose(found.world_to_camera, truth.world_to_camera, atol=2e-5)
    np.testing.assert_allclose(found.intrinsics, truth.intrinsics, rtol=1e-5)


def assert_same_pictures(found: NDArray, truth: NDArray, worst: float) -> None:
    assert found.shape == truth.shape and found.dtype == np.float32
    assert np.abs(found - truth).mean() < worst


# -- many cameras at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "test", "fps", "worst"),
    [
        ("instant_ngp", [0, 8], FPS, 0.002),
        ("neu3d", [0], FPS, 0.03),
        ("videos", list(SCENE.cameras("test").ids), FPS, 0.03),
        ("colmap", [0, 8], 30.0, 0.002),
    ],
)
def test_what_was_filmed_is_read(
    samples: dict[str, Path], name: str, test: list[int], fps: float, worst: float
) -> None:
    sequence, every = open_sequence(samples[name]), all_cameras(SCENE)
    train = [i for i in range(len(every)) if i not in test]
    assert sequence.num_frames == SCENE.num_frames and sequence.fps == pytest.approx(fps)
    assert isinstance(sequence, MotionMasks) and sequence.objects("train", 0) is None
    for frame in (0, 5, 3, 4):  # forwards, backwards and on
        for split, positions in (("train", train), ("test", test)):
            truth = every.take(positions)
            assert_same_cameras(sequence.cameras(split, frame), truth)  # type: ignore[arg-type]
            pictures = SCENE.photograph(truth, frame)[0]
            assert_same_pictures(sequence.images(split, frame), pictures, worst)  # type: ignore[arg-type]
    few = sequence.images("train", 2, [3, 1])
    assert np.array_equal(few, sequence.images("train", 2)[[3, 1]])
    assert_bytes_are_pictures(sequence)


def assert_bytes_are_pictures(sequence: Sequence) -> None:
    for camera, picture in enumerate(sequence.images("train", 1)):
        stored = sequence.in_bytes("train", 1, camera)
        assert stored.dtype == np.uint8 and np.array_equal(stored, np.rint(picture * 255))


@pytest.mark.parametrize("name", WRITERS)
def test_scale_shrinks_pictures_and_intrinsics(samples: dict[str, Path], name: str) -> None:
    full, half = open_sequence(samples[name]), open_sequence(samples[name], 0.5)
    assert_same_cameras(half.cameras("train", 1), full.cameras("train", 1).scaled(0.5))
    by_area = full.images("train", 1).reshape(-1, 16, 2, 24, 2, 3).mean(axis=(2, 4))
    # With alpha, white shows through where half of a pixel is transparent: the same mean.
    np.testing.assert_allclose(half.images("train", 1), by_area, atol=1e-5)
    assert_bytes_are_pictures(half)
    assert half.fingerprint() == full.fingerprint() == open_sequence(samples[name]).fingerprint()


# -- a moving camera ---------------------------------------------------------------------------------------------------


def test_d_nerf_has_one_camera_a_frame_and_masks_from_alpha(samples: dict[str, Path]) -> None:
    sequence = open_sequence(samples["d_nerf"])
    assert sequence.num_frames == SCENE.num_frames
    for frame in range(SCENE.num_frames):
        camera = SCENE.cameras("train").take([frame % SCENE.num_train])
        assert_same_cameras(sequence.cameras("train", frame), camera)
        image, ids = SCENE.photograph(camera, frame)
        masks = sequence.masks("train", frame)
        assert masks is not None and np.array_equal(masks, ids > 0)
        shown = np.where(ids[..., None] > 0, image, 1.0)
        assert_same_pictures(sequence.images("train", frame), shown, 0.002)
    # Its test picture was taken at 2.2 frames' time, and belongs to frame 2.
    assert [len(sequence.cameras("test", frame)) for frame in range(6)] == [0, 0, 1, 0, 0, 0]
    assert_same_cameras(sequence.cameras("test", 2), SCENE.cameras("test"))
    assert sequence.images("test", 2).shape == (1, 32, 48, 3) and sequence.images("test", 0).shape == (0, 32, 48, 3)


# -- COLMAP's several ways ---------------------------------------------------------------------------------------------


def test_colmap_gives_points_whose_foreground_is_not_known(samples: dict[str, Path]) -> None:
    points = open_sequence(samples["colmap"]).initial_points
    assert points is not None and points.positions.shape == (6, 3) and not points.is_foreground.any()
    assert points.positions[:, 1].tolist() == [0.0] * 6
    np.testing.assert_allclose(points.colors, np.tile(np.array([120, 110, 90]) / 255, (6, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("pictures", "moments"),
    [("f{frame:04d}/cam{camera:02d}.png", 1), ("cam{camera:02d}/{frame:04d}.png", 3), ("cam{camera:02d}.png", 1)],
)
def test_other_ways_to_lay_out_pictures(tmp_path: Path, pictures: str, moments: int) -> None:
    scene = Scene(num_frames=1 if "frame" not in pictures else 3, width=48, height=32, num_train=4, num_test=0)
    sequence = open_sequence(write_colmap(tmp_path, scene, pictures=pictures, moments=moments))
    assert sequence.num_frames == scene.num_frames
    last = scene.num_frames - 1
    assert_same_cameras(sequence.cameras("train", last), all_cameras(scene))
    assert_same_pictures(sequence.images("train", last), scene.photograph(all_cameras(scene), last)[0], 0.002)


def test_a_model_of_bare_names_and_in_binary(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE)
    text = (folder / "sparse/0/images.txt").read_text()
    (folder / "sparse/0/images.txt").write_text(re.sub(r"(cam\d\d)/0000\.png", r"\1.png", text))
    model = pycolmap.Reconstruction(str(folder / "sparse/0"))
    for file in (folder / "sparse/0").iterdir():
        file.unlink()
    model.write_binary(str(folder / "sparse/0"))
    sequence = open_sequence(folder)
    assert sequence.num_frames == 6
    assert_same_cameras(sequence.cameras("train", 4), all_cameras(SCENE).take(list(range(1, 8))))


# -- videos ------------------------------------------------------------------------------------------------------------


def test_a_camera_that_moves_has_a_pose_per_frame(sample: Callable[[str], Path]) -> None:
    folder = sample("videos")
    content = json.loads((folder / "cameras.json").read_text())
    moved = np.array(content["cameras"][0]["w2c"])
    poses = [moved.tolist()] * 5
    moved[0, 3] += 1
    content["cameras"][0]["w2c"] = [*poses, moved.tolist()]
    write_json(folder / "cameras.json", content)
    sequence = open_sequence(folder)
    shift = sequence.cameras("train", 5).world_to_camera - sequence.cameras("train", 0).world_to_camera
    assert shift[0, 0, 3] == pytest.approx(1) and not shift[1:].any()


# -- what is wrong -----------------------------------------------------------------------------------------------------


def change(file: str, edit: Callable[[Any], Any]) -> Callable[[Path], object]:
    """Edit a JSON file in place."""

    def apply(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        edit(content)
        write_json(folder / file, content)

    return apply


def rewrite(file: str, old: str, new: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return apply


def poses(edit: Callable[[NDArray], NDArray]) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / "poses_bounds.npy", edit(np.load(folder / "poses_bounds.npy")))


def delete(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def junk(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(b"no video, no picture, no JSON")


def video_of(name: str, width: int, height: int, fps: float) -> Callable[[Path], object]:
    return lambda folder: encode(folder / name, [np.zeros((height, width, 3), np.uint8)] * 6, fps)


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("d_nerf", junk("transforms_train.json"), "is no list of pictures (Invalid JSON"),
    ("d_nerf", change("transforms_train.json", lambda c: c.update(frames=[])), "lists no pictures"),
    ("d_nerf", change("transforms_train.json", lambda c: c["frames"][1].pop("file_path")), "frames.1.file_path: Field"),
    ("d_nerf", change("transforms_train.json", lambda c: c.pop("camera_angle_x")), "has no focal length"),
    ("d_nerf", delete("train/r_002.png"), "r_002: is missing"),
    ("d_nerf", junk("train/r_002.png"), "cannot be read as a picture"),
    (
        "d_nerf",
        lambda f: save(f / "train/r_002.png", np.zeros((8, 8, 4), np.uint8)),
        "of 8×8 and of 48×32 pixels",
    ),
    (
        "d_nerf",
        change("transforms_train.json", lambda c: c["frames"][0].update(file_path="../secret")),
        "names the file '../secret'",
    ),
    (
        "d_nerf",
        change("transforms_train.json", lambda c: c["frames"][0].update(transform_matrix=[[1.0]])),
        "transform_matrix is not 4×4",
    ),
    (
        "d_nerf",
        change("transforms_train.json", lambda c: c["frames"][0]["transform_matrix"].__setitem__(0, [0.0] * 4)),
        "cannot be inverted",
    ),
    (
        "d_nerf",
        change("transforms_train.json", lambda c: c["frames"][0]["transform_matrix"].__setitem__(0, [9.0] * 4)),
        "the pose is not a rotation",
    ),
    ("d_nerf", change("transforms_train.json", lambda c: c.update(frames=c["frames"][:1])), "1 training picture"),
    ("instant_ngp", change("transforms.json", lambda c: c.update(w=96)), "the camera file says 96×32"),
    ("neu3d", junk("poses_bounds.npy"), "poses_bounds.npy: cannot be read"),
    ("neu3d", poses(lambda p: p[:, :15]), "is float64 (9, 15)"),
    ("neu3d", poses(lambda p: p[:5]), "has 5 poses, but there are 9 videos"),
    ("neu3d", poses(lambda p: p * np.nan), "camera"),
    ("neu3d", poses(lambda p: p * np.where(np.arange(17) == 4, 0.5, 1)), "may be scaled, but not cropped"),
    ("neu3d", junk("cam02.mp4"), "cam02.mp4: cannot be read as a video"),
    ("neu3d", video_of("cam02.mp4", 64, 32, FPS), "calibrated for 96×64 pixels, its pictures are 64×32"),
    ("neu3d", video_of("cam02.mp4", 48, 32, 2 * FPS), "cam02.mp4: lasts 6 frames (0.3 s), cam00.mp4 6 frames (0.6 s)"),
    ("videos", junk("cameras.json"), "is no camera file"),
    ("videos", delete("view3.mp4"), "view3.mp4: is missing"),
    ("videos", change("cameras.json", lambda c: c["cameras"][0].update(id=1)), "names a camera twice"),
    ("videos", change("cameras.json", lambda c: c["cameras"][0].pop("k")), "cameras.0.k: Field required"),
    ("videos", change("cameras.json", lambda c: c["cameras"][0].update(video="/etc/passwd")), "names the file '/etc"),
    ("videos", change("cameras.json", lambda c: c.update(w=50)), "says 50×64, the videos are 48×32"),
    (
        "videos",
        change("cameras.json", lambda c: c["cameras"][0].update(w2c=[c["cameras"][0]["w2c"]] * 2)),
        "has 2 poses for 6 frames",
    ),
    ("colmap", junk("sparse/0/images.txt"), "as a COLMAP model"),
    ("colmap", lambda f: (f / "sparse/0/images.txt").write_text(""), "has no registered pictures"),
    ("colmap", rewrite("sparse/0/cameras.txt", "PINHOLE", "OPENCV"), "COLMAP model"),
    ("colmap", lambda f: shutil.rmtree(f / "images"), "images: has no pictures"),
    ("colmap", lambda f: shutil.rmtree(f / "images/cam02"), "has no pictures of camera 'cam02'"),
    ("colmap", delete("images/cam02/0003.png"), "camera 'cam02' has no picture of frame '0003'"),
    ("colmap", lambda f: save(f / "images/cam02/0003.png", to_bytes(np.zeros((9, 9, 3)))), "9×9 pixels"),
]


@pytest.mark.parametrize(("name", "damage", "says"), BAD, ids=[f"{name}: {says[:30]}" for name, _, says in BAD])
def test_each_way_to_be_wrong(
    sample: Callable[[str], Path], name: str, damage: Callable[[Path], object], says: str
) -> None:
    folder = sample(name)
    damage(folder)
    with pytest.raises(DatasetError) as error:
        open_sequence(folder)
    assert says in str(error.value)
    assert str(folder) in str(error.value) and str(error.value).count("\n") == 0


def test_a_video_that_breaks_off_is_told_when_its_frame_is_read(sample: Callable[[str], Path]) -> None:
    folder = sample("neu3d")
    content = (folder / "cam04.mp4").read_bytes()
    start = content.index(b"mdat") + 4
    size = (len(content) - start) // 2
    (folder / "cam04.mp4").write_bytes(content[:start] + bytes(size) + content[start + size :])
    with pytest.raises(DatasetError, match=r"cam04\.mp4: cannot be read as a video"):
        sequence = open_sequence(folder)
        for frame in range(6):
            sequence.images("train", frame)


def test_a_folder_of_no_known_layout(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"has none of train_meta\.json, transforms\.json"):
        open_sequence(tmp_path)
