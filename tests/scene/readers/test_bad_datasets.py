"""Each way a dataset can be wrong is one clear sentence, before anything is trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.readers import open_sequence
from tests.scene.as_filmed import edit
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=2, width=32, height=24, num_train=3, num_test=1)
CAMERAS = SCENE.cameras("train").ids


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("good"), SCENE)


@pytest.fixture
def dataset(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "dataset")


def set_pose(meta: dict, row: int, column: int, value: float) -> None:
    meta["w2c"][1][2][row][column] = value


def one_camera(meta: dict) -> None:
    for name in ("k", "w2c", "fn", "cam_id"):
        meta[name] = [frame[:1] for frame in meta[name]]


def singular(meta: dict) -> None:
    meta["w2c"][0][1] = np.diag([1, 1, 0, 1]).tolist()


META: dict[str, tuple[Callable[[dict], object], str]] = {
    "a field is missing": (lambda m: m.pop("k"), "has no 'k'"),
    "not finite": (
        lambda m: set_pose(m, 0, 3, float("nan")),
        f"camera {CAMERAS[2]}, frame 1: the pose has a value that is",
    ),
    "focal length 0": (
        lambda m: m["k"][0][1][0].__setitem__(0, 0.0),
        f"camera {CAMERAS[1]}, frame 0: the focal lengths are 0 and",
    ),
    "singular pose": (singular, f"camera {CAMERAS[1]}, frame 0: the pose is not a rotation.*is 0, and must be 1"),
    "scaled pose": (lambda m: set_pose(m, 0, 0, 3.0), f"camera {CAMERAS[2]}, frame 1: the pose is not a rotation"),
    "a frame lacks a camera": (
        lambda m: [m[name][1].pop() for name in ("k", "w2c", "fn", "cam_id")],
        f"frame 1 lacks camera {CAMERAS[2]}",
    ),
    "a frame lacks a file name": (lambda m: m["fn"][1].pop(), "frame 1 has 2 entries in fn, but 3 cameras"),
    "a list lacks a frame": (lambda m: m["w2c"].pop(), "frames do not agree: fn 2, cam_id 2, k 2, w2c 1"),
    "no frames": (lambda m: [m[name].clear() for name in ("k", "w2c", "fn", "cam_id")], "frames do not agree"),
    "no list": (lambda m: m.update(fn="all of them"), "not all lists of lists"),
    "a matrix of text": (lambda m: m["k"][0][0][0].__setitem__(0, "wide"), "k: is not 3×3 numbers"),
    "a matrix too small": (lambda m: m["w2c"][0][0].pop(), "w2c: is not 4×4 numbers"),
    "a camera twice": (lambda m: [ids.__setitem__(1, ids[0]) for ids in m["cam_id"]], "names a camera twice"),
    "no time": (lambda m: m.update(fps=0), "says 0 frames per second"),
    "no size": (lambda m: m.update(w=0), "says images of 0×24"),
    "files elsewhere": (lambda m: m["fn"][0].__setitem__(0, "../../secret.jpg"), "names the file '../../secret.jpg'"),
}


@pytest.mark.parametrize("case", META)
def test_camera_files(dataset: Path, case: str) -> None:
    change, says = META[case]
    edit(dataset / "train_meta.json", change)
    with pytest.raises(DatasetError, match=rf"train_meta\.json.*{says}") as caught:
        open_sequence(dataset)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_one_camera_that_stands_still(dataset: Path) -> None:
    edit(dataset / "train_meta.json", one_camera)
    with pytest.raises(DatasetError, match="there are 2 training pictures, all from one place"):
        open_sequence(dataset)


def test_no_folder_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: is not a folder"):
        open_sequence(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is empty"):
        open_sequence(tmp_path)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"has none of train_meta\.json"):
        open_sequence(tmp_path)


@pytest.mark.parametrize("name", ["train_meta.json", "test_meta.json", "captions.json"])
def test_json_cut_short(dataset: Path, name: str) -> None:
    content = (dataset / name).read_bytes()
    (dataset / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=rf"{name}: is not valid JSON"):
        open_sequence(dataset)


def test_the_test_cameras_are_of_other_footage(dataset: Path) -> None:
    edit(dataset / "test_meta.json", lambda m: m.update(w=40))
    with pytest.raises(DatasetError, match=r"test_meta\.json: its width is 40, but 32 in train_meta\.json"):
        open_sequence(dataset)


@pytest.mark.parametrize(("folder", "suffix"), [("ims", "jpg"), ("seg", "png"), ("objects", "png")])
def test_pictures_missing_damaged_or_of_another_size(dataset: Path, folder: str, suffix: str) -> None:
    picture = dataset / folder / str(CAMERAS[1]) / f"000001.{suffix}"
    Image.new("L", (31, 24)).save(picture)
    with pytest.raises(
        DatasetError, match=rf"{picture.name}: is 31×24 pixels, (the camera file says|its picture) 32×24"
    ):
        open_sequence(dataset)
    picture.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=rf"{picture.name}: cannot be read as a picture"):
        open_sequence(dataset)
    picture.unlink()
    with pytest.raises(DatasetError, match=rf"{folder}/{CAMERAS[1]}/{picture.name}: is missing"):
        open_sequence(dataset)


def test_a_picture_cut_short_says_so_when_it_is_read(dataset: Path) -> None:
    picture = dataset / "ims" / str(CAMERAS[0]) / "000001.jpg"
    picture.write_bytes(picture.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"000001\.jpg: cannot be read as a picture"):
        open_sequence(dataset).images("train", 1)


def test_no_foreground_at_all(dataset: Path) -> None:
    for mask in (dataset / "seg").glob("*/*.png"):
        Image.new("1", (32, 24)).save(mask)
    with pytest.raises(DatasetError, match="seg: no mask of the first frame has any foreground"):
        open_sequence(dataset)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ([{"start": 0, "end": 2, "caption": "falls"}], "object 1 has 'falls' in frames 0 to 2.*from 0 to 1"),
        ([{"start": 1, "end": 0, "caption": "falls"}], "frames 1 to 0"),
        ([{"start": 0, "end": 1, "caption": " "}], "captions need words"),
        ([{"start": 0, "end": 1}], "cannot be understood"),
    ],
)
def test_captions(dataset: Path, said: list, says: str) -> None:
    (dataset / "captions.json").write_text(json.dumps({"objects": {"1": said}}))
    with pytest.raises(DatasetError, match=rf"captions\.json: .*{says}"):
        open_sequence(dataset)


def test_initial_points(dataset: Path) -> None:
    points = dataset / "init_pt_cld.npz"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"points": np.zeros((3, 7))}, "cannot be read"),
        ({"data": np.zeros((3, 6))}, r"`data` is \(3, 6\)"),
        ({"data": np.full((3, 7), np.nan)}, "not finite"),
        ({"data": np.full((3, 7), 255.0)}, "colours go from 255"),
        ({"data": np.array([{"pickled": 1}])}, "cannot be read"),
    ]
    for arrays, says in wrong:
        np.savez(points, **arrays)
        with pytest.raises(DatasetError, match=rf"init_pt_cld\.npz: .*{says}"):
            open_sequence(dataset)
    points.write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"init_pt_cld\.npz: cannot be read"):
        open_sequence(dataset)
    points.write_bytes(b"no archive")
    with pytest.raises(DatasetError, match=r"init_pt_cld\.npz: cannot be read") as error:
        open_sequence(dataset)
    assert "pickle" not in str(error.value)  # NumPy advises to load without safety what it does not know


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5, 0.1, float("nan")])
def test_scales_that_leave_no_image(dataset: Path, scale: float) -> None:
    with pytest.raises(DatasetError, match="scale: scale") as error:
        open_sequence(dataset, scale)
    least = re.search(r"choose one from ([\d.]+) to 1", str(error.value))
    assert (least is not None) == (scale == 0.1)
    if least:
        open_sequence(dataset, float(least[1]))
