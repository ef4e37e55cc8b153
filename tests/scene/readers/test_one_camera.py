"""One moving camera, and static captures, in the ways in which people's tools leave them: the ball in the middle of the
film is where the cameras that were read say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.errors import DatasetError
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.deform.film import ANGLE, COLORS, balls, camera, picture, write_film
from tests.scene.as_filmed import edit
from tests.scene.readers.layouts import FLIP

SIZE, FRAMES = 32, 10
FOCAL = SIZE / 2 / np.tan(ANGLE / 2)


def assert_as_filmed(sequence: Sequence, moments: list[float] | None = None) -> None:
    """Of each picture, the ball nearest to its camera has its colour where the camera says that its middle is.

    Args:
        moments: of each frame, 0..1; by default as the sequence tells.
    """
    times = np.array(sequence.times) / max(sequence.times[-1], 1e-9) if moments is None else moments
    for frame, time in enumerate(times):
        cameras, shown = sequence.cameras("train", frame), sequence.images("train", frame)
        for pose, k, image in zip(cameras.world_to_camera, cameras.intrinsics, shown, strict=True):
            seen = balls(float(time)) @ pose[:3, :3].T + pose[:3, 3]
            nearest = int(np.linalg.norm(seen, axis=1).argmin())
            x, y, z = k @ seen[nearest]
            assert z > 0 and np.abs(image[int(y / z), int(x / z)] - COLORS[nearest]).max() < 0.1, frame


def untimed(content: Any) -> None:
    for frame in content["frames"]:
        del frame["time"]


def opaque(pose: NDArray[np.float64], time: float) -> Image.Image:
    shown = Image.fromarray(picture(pose, time, SIZE))
    return Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB")


# -- transforms.json ---------------------------------------------------------------------------------------------------


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film", frames=FRAMES, size=SIZE, tests=3)


def in_one_file(film: Path, **more: Any) -> Path:
    """As nerfstudio writes it."""
    content: dict[str, Any] = {"frames": []}
    for split in ("train", "test"):
        own = json.loads((film / f"transforms_{split}.json").read_text())
        content |= {"camera_angle_x": own["camera_angle_x"], "frames": content["frames"] + own["frames"]}
        content[f"{split}_filenames"] = [f"{frame['file_path']}" for frame in own["frames"]]
        (film / f"transforms_{split}.json").unlink()
    (film / "transforms.json").write_text(json.dumps(content | more))
    return film


def test_held_out_pictures_without_files_cost_nothing_else(film: Path) -> None:
    (film / "test/r_001.png").unlink()
    found = open_sequence(film)
    assert found.num_frames == FRAMES and sum(len(found.cameras("test", t)) for t in range(FRAMES)) == 2
    assert any("1 of 3 held-out pictures without a file are left out: ./test/r_001" in note for note in found.notes)
    shutil.rmtree(film / "test")  # as BlenderNeRF leaves it
    found = open_sequence(film)
    assert found.num_frames == FRAMES and not any(len(found.cameras("test", t)) for t in range(FRAMES))
    assert_as_filmed(found)
    edit(film / "transforms_test.json", lambda c: c.update(frames=[]))
    assert open_sequence(film).num_frames == FRAMES
    edit(film / "transforms_train.json", lambda c: c.update(frames=[]))
    with pytest.raises(DatasetError, match=r"transforms_train\.json: lists no pictures"):
        open_sequence(film)


def test_pictures_for_validation_are_held_out_where_there_are_no_others(film: Path) -> None:
    shutil.copy(film / "transforms_test.json", film / "transforms_val.json")
    assert any("transforms_val.json is not read" in note for note in open_sequence(film).notes)
    (film / "transforms_test.json").unlink()
    found = open_sequence(film)
    assert sum(len(found.cameras("test", t)) for t in range(FRAMES)) == 3 and not found.notes


def test_only_listed_pictures_are_trained_on(film: Path) -> None:
    names = [f"./train/r_{number:03d}" for number in range(6)]
    found = open_sequence(in_one_file(film, train_filenames=names))
    assert [len(found.cameras("train", t)) for t in range(found.num_frames)] == [1] * 6
    assert any("4 of 13 pictures are not in train_filenames" in note for note in found.notes)
    edit(film / "transforms.json", lambda c: c.update(train_filenames=["elsewhere"], test_filenames=[]))
    with pytest.raises(DatasetError, match="none of the pictures in frames is in train_filenames"):
        open_sequence(film)


def test_pictures_for_validation_are_never_trained_on(film: Path) -> None:
    names = [f"./train/r_{number:03d}" for number in range(6, 10)]
    found = open_sequence(in_one_file(film, train_filenames=None, val_filenames=names))
    assert [len(found.cameras("train", t)) for t in range(found.num_frames)] == [1] * 6
    assert sum(len(found.cameras("test", t)) for t in range(found.num_frames)) == 3
    assert any("4 of 13 pictures are in val_filenames, and test_filenames judge" in note for note in found.notes)


def test_points_beside_the_poses_are_started_from(film: Path) -> None:
    in_one_file(film, ply_file_path="sparse_pc.ply")
    assert any("sparse_pc.ply, ply_file_path in transforms.json, is missing" in n for n in open_sequence(film).notes)
    types = "".join(f"property float {axis}\n" for axis in "xyz")
    types += "".join(f"property uint8 {color}\n" for color in ("red", "green", "blue"))  # as nerfstudio calls them
    head = f"ply\nformat ascii 1.0\nelement vertex 2\n{types}end_header\n"
    (film / "sparse_pc.ply").write_text(f"{head}0.5 -1.25 2 255 0 51\n1 2 3 0 255 0\n")
    before, found = open_sequence(film).fingerprint(), open_sequence(film).initial_points
    assert found is not None
    np.testing.assert_allclose(found.positions, np.array([[0.5, -1.25, 2], [1, 2, 3]]))
    np.testing.assert_allclose(found.colors, np.array([[1, 0, 0.2], [0, 1, 0]]), atol=1e-6)
    (film / "sparse_pc.ply").write_text(f"{head}0.5 -1.25 2 255 0 51\n1 2 4 0 255 0\n")
    assert open_sequence(film).fingerprint() != before
    (film / "sparse_pc.ply").write_text("no points")
    with pytest.raises(DatasetError, match=r"sparse_pc\.ply"):
        open_sequence(film)


def test_what_has_no_times_does_not_move_and_says_so(film: Path) -> None:
    for name in ("transforms_train.json", "transforms_test.json"):
        edit(film / name, untimed)
    found = open_sequence(film)
    assert found.num_frames == 1 and any("No picture has a time: nothing moves" in note for note in found.notes)


@pytest.mark.parametrize(("without", "tells"), [((0,), True), ((2, 5), True), (tuple(range(6)), False)])
def test_pictures_without_alpha_among_others(film: Path, without: tuple[int, ...], tells: bool) -> None:
    for number in without:
        path = film / f"train/r_{number:03d}.png"
        Image.open(path).convert("RGB").save(path)
    found = open_sequence(film)
    assert found.see_through == tells and any("alpha channel" in note for note in found.notes)
    if tells:
        masks = found.masks("train", without[0])
        assert masks is not None and masks.min() == 1


# -- COLMAP ------------------------------------------------------------------------------------------------------------


def write_model(folder: Path, names: list[str], called: str = "phone/{}", *, poses: set[int] | None = None) -> Path:
    """A walk about the film with a picture of each name in images/phone/, and a model that names them as `called`."""
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    (folder / "images/phone").mkdir(parents=True)
    (model / "cameras.txt").write_text(f"1 PINHOLE {SIZE} {SIZE} {FOCAL} {FOCAL} {SIZE / 2} {SIZE / 2}\n")
    (model / "points3D.txt").write_text("1 0 0 0 120 110 90 0.5\n")
    lines = []
    for number, name in enumerate(names):
        pose = camera(0.3 + 2.4 * number, 0.5 * np.sin(1.7 * number))
        opaque(pose, number / (len(names) - 1)).save(folder / "images/phone" / name)
        if poses is None or number in poses:
            matrix = np.linalg.inv(pose @ FLIP)
            values = [*Rotation.from_matrix(matrix[:3, :3]).as_quat(scalar_first=True), *matrix[:3, 3]]
            lines.append(f"{number + 1} {' '.join(map(str, values))} 1 {called.format(name)}\n\n")
    (model / "images.txt").write_text("".join(lines))
    return folder


NAMES = [f"frame_{number}.png" for number in range(FRAMES)]


def test_pictures_that_colmap_did_not_register_are_left_out(tmp_path: Path) -> None:
    kept = {0, 1, 2, 5, 6, 9}
    found = open_sequence(write_model(tmp_path, NAMES, poses=kept))
    np.testing.assert_allclose(np.array(found.times) * found.fps, sorted(kept))
    assert_as_filmed(found)
    note = "4 of 10 pictures have no pose, and are left out: phone/frame_3, phone/frame_4, phone/frame_7, phone/frame_8"
    assert any(note in said for said in found.notes)
    for name in NAMES:
        (tmp_path / "images/phone" / name).rename(tmp_path / "images/phone" / f"b_{name}")
    with pytest.raises(DatasetError, match=r"has no pose of any picture of camera 'phone', as b_frame_0\.png"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_numbers_in_names_are_times(tmp_path: Path, suffix: str) -> None:
    """Blurred pictures were thrown away, as people do before they map."""
    write_model(tmp_path, NAMES)
    if suffix == ".bin":
        import pycolmap

        model = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
        for path in (tmp_path / "sparse/0").iterdir():
            path.unlink()
        model.write_binary(str(tmp_path / "sparse/0"))
    for number in (4, 5, 8):
        (tmp_path / f"images/phone/frame_{number}.png").unlink()
    found = open_sequence(tmp_path)
    np.testing.assert_allclose(np.array(found.times) * found.fps, [0, 1, 2, 3, 6, 7, 9])
    assert_as_filmed(found)


def test_a_model_made_within_the_folder_of_a_film_is_of_that_film(tmp_path: Path) -> None:
    found = open_sequence(write_model(tmp_path, NAMES, "{}"))
    assert found.num_frames == FRAMES
    assert_as_filmed(found)


def test_another_folder_of_pictures_does_not_stop_a_film(tmp_path: Path) -> None:
    write_model(tmp_path, NAMES)
    (tmp_path / "images/thumbnails").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images/thumbnails/cover.png")
    assert open_sequence(tmp_path).num_frames == FRAMES


def test_pictures_without_a_folder_are_of_one_moment_and_said_to_be(tmp_path: Path) -> None:
    write_model(tmp_path, NAMES, "{}")
    for name in NAMES:
        (tmp_path / "images/phone" / name).rename(tmp_path / "images" / name)
    (tmp_path / "images/phone").rmdir()
    found = open_sequence(tmp_path)
    assert found.num_frames == 1 and any("All 10 pictures are of one moment" in note for note in found.notes)


# -- LLFF --------------------------------------------------------------------------------------------------------------


def write_llff(folder: Path, poses: list[NDArray[np.float64]], pictures: str = "images") -> Path:
    """Poses of pictures four times as large."""
    (folder / pictures).mkdir(parents=True)
    rows = []
    for number, pose in enumerate(poses):
        opaque(pose, 0.0).save(folder / pictures / f"IMG_{4026 + number}.JPG", quality=98)
        right, up, back, center = pose[:3].T
        size = np.array([4 * SIZE, 4 * SIZE, 4 * FOCAL])
        rows.append([*np.stack([-up, right, back, center, size], axis=1).ravel(), 1.5, 5.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return folder


def test_of_llffs_pictures_every_eighth_is_held_out(tmp_path: Path) -> None:
    poses = [camera(0.7 * number, 0.3) for number in range(17)]
    found = open_sequence(write_llff(tmp_path, poses, "images_4"))
    assert found.cameras("test", 0).ids == (4026, 4034, 4042) and len(found.cameras("train", 0)) == 14
    assert found.bounds == (1.5, 5.0)
    assert any("All 17 pictures in images_4/ are of one moment" in note for note in found.notes)
    assert_as_filmed(found)
    (tmp_path / "images_4/IMG_4030.JPG").unlink()
    with pytest.raises(DatasetError, match="17 poses, but there are 16 pictures in images_4/"):
        open_sequence(tmp_path)
    shutil.rmtree(tmp_path / "images_4")
    with pytest.raises(DatasetError, match="has no pictures in images/"):
        open_sequence(tmp_path)


def test_masks_may_lie_without_folders_where_names_tell(tmp_path: Path) -> None:
    write_model(tmp_path, NAMES)
    (tmp_path / "masks").mkdir()
    for number, name in enumerate(NAMES):
        shown = picture(camera(0.3 + 2.4 * number, 0.5 * np.sin(1.7 * number)), number / (FRAMES - 1), SIZE)
        Image.fromarray(shown[..., 3]).save(tmp_path / "masks" / name)
    found = open_sequence(tmp_path)
    masks = found.masks("train", 4)
    assert masks is not None and 0.05 < masks.mean() < 0.5
    white = found.images("train", 4)[masks < 0.01]
    assert white.min() > 0.98
    shutil.copytree(tmp_path / "images/phone", tmp_path / "images/second")  # whose masks would they be?
    text = (tmp_path / "sparse/0/images.txt").read_text()
    other = text.replace("phone/", "second/").splitlines(keepends=True)
    other = [line if not line.strip() else f"{int(line.split()[0]) + 50} {line.split(' ', 1)[1]}" for line in other]
    (tmp_path / "sparse/0/images.txt").write_text(text + "".join(other))
    assert any("masks/ is not used" in note for note in open_sequence(tmp_path).notes)
