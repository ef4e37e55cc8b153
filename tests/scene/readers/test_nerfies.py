"""The layout of Nerfies, HyperNeRF and DyCheck: the same film as in D-NeRF's layout, written anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.readers import layout_of, open_sequence
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
