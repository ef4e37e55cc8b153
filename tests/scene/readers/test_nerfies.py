"""The layout of Nerfies, HyperNeRF and DyCheck: the same film as in D-NeRF's layout, written anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.layouts import layout_of
from legs4d.scene.readers import open_sequence
from tests.deform.film import write_film

SIZE = 32


def write_nerfies(folder: Path, film: Path, *, splits: bool = False, points: bool = True) -> Path:
    """Training pictures first, then those held out; the times of these lie between."""
    (folder / "camera").mkdir(parents=True)
    (folder / "rgb/1x").mkdir(parents=True)
    metadata: dict[str, dict[str, int]] = {}
    names: dict[str, list[str]] = {}
    for split in ("train", "test"):
        content = json.loads((film / f"transforms_{split}.json").read_text())
        focal = SIZE / 2 / np.tan(content["camera_angle_x"] / 2)
        names[split] = []
        for number, frame in enumerate(content["frames"]):
            name = f"{'01'[split == 'test']}_{number:05d}"
            names[split].append(name)
            pose = np.array(frame["transform_matrix"]) @ np.diag([1, -1, -1, 1])
            camera = {
                "orientation": pose[:3, :3].T.tolist(),
                "position": pose[:3, 3].tolist(),
                "focal_length": focal,
                "principal_point": [SIZE / 2, SIZE / 2],
                "image_size": [SIZE, SIZE],
                "skew": 0.0,
                "radial_distortion": [0.0, 0.0, 0.0],
            }
            (folder / f"camera/{name}.json").write_text(json.dumps(camera))
            metadata[name] = {"warp_id": number if split == "train" else 2 * number, "camera_id": int(split == "test")}
            Image.open(film / f"{frame['file_path']}.png").convert("RGB").save(folder / f"rgb/1x/{name}.png")
    (folder / "metadata.json").write_text(json.dumps(metadata))
    ids = {"ids": [*names["train"], *names["test"]], "train_ids": names["train"], "val_ids": names["test"]}
    if splits:
        (folder / "splits").mkdir()
        for split, file in (("train", "train"), ("test", "val")):
            (folder / f"splits/{file}.json").write_text(json.dumps({"frame_names": names[split]}))
        (folder / "extra.json").write_text(json.dumps({"fps": 12, "lookat": [0, 0, 0]}))
        ids |= {"train_ids": [], "val_ids": []}
    (folder / "dataset.json").write_text(json.dumps(ids))
    (folder / "scene.json").write_text(json.dumps({"scale": 0.1, "center": [0, 0, 0], "near": 0.1, "far": 4}))
    if points:
        np.save(folder / "points.npy", np.random.default_rng(0).normal(size=(50, 3)))
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return write_film(tmp_path / "film", frames=6, size=SIZE, tests=3)


@pytest.mark.parametrize("splits", [False, True])
def test_cameras_and_pictures_are_those_of_the_film(film: Path, tmp_path: Path, splits: bool) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film, splits=splits)
    assert layout_of(folder) == "nerfies"
    found, truth = open_sequence(folder), open_sequence(film)
    assert found.num_frames == 6 and found.fps == (12 if splits else 30)
    for frame in range(6):
        one, other = found.cameras("train", frame), truth.cameras("train", frame)
        np.testing.assert_allclose(one.world_to_camera, other.world_to_camera, atol=1e-5)
        np.testing.assert_allclose(one.intrinsics, other.intrinsics, rtol=1e-5)
        assert found.images("train", frame).shape == (1, SIZE, SIZE, 3)
    assert [len(found.cameras("test", frame)) for frame in range(6)] == [1, 0, 1, 0, 1, 0]
    assert found.initial_points is not None and len(found.initial_points.positions) == 50


def test_without_points_it_says_where_it_starts(film: Path, tmp_path: Path) -> None:
    found = open_sequence(write_nerfies(tmp_path / "nerfies", film, points=False))
    assert found.initial_points is None and any("no points.npy" in note for note in found.notes)


def test_smaller_pictures_scale_their_cameras(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    (folder / "rgb/2x").mkdir()
    for path in (folder / "rgb/1x").iterdir():
        Image.open(path).resize((SIZE // 2, SIZE // 2)).save(folder / "rgb/2x" / path.name)
        path.unlink()
    (folder / "rgb/1x").rmdir()
    found, truth = open_sequence(folder).cameras("train", 0), open_sequence(film).cameras("train", 0)
    assert (found.width, found.height) == (SIZE // 2, SIZE // 2)
    np.testing.assert_allclose(found.intrinsics[0, 0, 0], truth.intrinsics[0, 0, 0] / 2, rtol=1e-5)


def test_what_is_missing_is_said_in_one_sentence(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    camera = folder / "camera/0_00002.json"
    content = json.loads(camera.read_text())
    content["orientation"][1] = [0.0, 1.0]
    camera.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"0_00002\.json: is no camera \(orientation\.1: .*3 items"):
        open_sequence(folder)
    camera.unlink()
    with pytest.raises(DatasetError, match=r"0_00002\.json"):
        open_sequence(folder)
    (folder / "metadata.json").write_text("{}")
    with pytest.raises(DatasetError, match="no entry of picture"):
        open_sequence(folder)


def test_held_out_pictures_without_files_cost_nothing_else(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    for path in (folder / "rgb/1x").glob("1_*"):
        path.unlink()
    found = open_sequence(folder)
    assert found.num_frames == 6 and not any(len(found.cameras("test", frame)) for frame in range(6))
    assert any("3 of 3 held-out pictures without a file are left out" in note for note in found.notes)
    (folder / "rgb/1x/0_00002.png").unlink()
    with pytest.raises(DatasetError, match="0_00002: is missing"):
        open_sequence(folder)


def test_pictures_without_a_time_are_refused(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    metadata = json.loads((folder / "metadata.json").read_text())
    of_one_time = {name: own | {"warp_id": 3} for name, own in metadata.items()}
    (folder / "metadata.json").write_text(json.dumps(of_one_time))
    found = open_sequence(folder)
    assert found.num_frames == 1 and any("have one time: nothing moves" in note for note in found.notes)
    metadata["0_00004"] = {"appearance_id": 4, "camera_id": 0}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(DatasetError, match="'0_00004' has neither warp_id nor time_id"):
        open_sequence(folder)


def test_points_that_are_not_finite_are_left_out(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    points = np.load(folder / "points.npy")
    points[[3, 7], 1] = np.nan, np.inf
    np.save(folder / "points.npy", points)
    found = open_sequence(folder)
    assert found.initial_points is not None and len(found.initial_points.positions) == 48
    assert any("2 of 50 points in points.npy are not finite" in note for note in found.notes)
    np.save(folder / "points.npy", points[:2] * np.nan)
    with pytest.raises(DatasetError, match="holds 2 points, none of them finite"):
        open_sequence(folder)


def test_fields_may_be_null_and_files_that_lack_are_named(film: Path, tmp_path: Path) -> None:
    folder = write_nerfies(tmp_path / "nerfies", film)
    path = folder / "camera/0_00000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"radial_distortion": None, "tangential": None}))
    assert open_sequence(folder).num_frames == 6
    (folder / "metadata.json").unlink()
    with pytest.raises(DatasetError, match=r"metadata\.json: is missing"):
        open_sequence(folder)


@pytest.mark.parametrize("tangential", ["tangential_distortion", "tangential"])
def test_distortion_is_undone(film: Path, tmp_path: Path, tangential: str) -> None:
    """A point that Nerfies' formula puts somewhere is, in what is read, where the pinhole that is read puts it."""
    folder = write_nerfies(tmp_path / "nerfies", film)
    size, focal = 200, 200.0
    k1, k2, k3, p1, p2 = 0.12, -0.05, 0.02, 0.01, -0.02
    points = np.random.default_rng(1).uniform(-0.35, 0.35, (12, 2))
    x, y = points.T
    r = (points**2).sum(axis=1)
    bent = np.stack([x, y], axis=1) * (1 + k1 * r + k2 * r**2 + k3 * r**3)[:, None]
    bent += np.stack([2 * p1 * x * y + p2 * (r + 2 * x**2), 2 * p2 * x * y + p1 * (r + 2 * y**2)], axis=1)
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    for number, spot in enumerate(bent[:6]):
        away = np.linalg.norm(grid - (focal * spot + size / 2), axis=-1)
        shown = (255 * np.exp(-((away / 3) ** 2))).astype(np.uint8)
        Image.fromarray(shown).convert("RGB").save(folder / f"rgb/1x/0_{number:05d}.png")
    for path in (folder / "rgb/1x").glob("1_*"):
        path.unlink()
    for path in (folder / "camera").iterdir():
        own = {"focal_length": focal, "principal_point": [size / 2] * 2, "image_size": [size] * 2}
        lens = {"radial_distortion": [k1, k2, k3], tangential: [p1, p2]}
        path.write_text(json.dumps(json.loads(path.read_text()) | own | lens))
    found = open_sequence(folder)
    for frame in range(6):
        image, k = found.images("train", frame)[0, ..., 0].astype(np.float64), found.cameras("train", frame).intrinsics
        height, width = image.shape
        rows, columns = np.mgrid[:height, :width] + 0.5
        middle = np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum()
        np.testing.assert_allclose(middle, (k[0] @ [*points[frame], 1])[:2], atol=0.15)
