"""The native reader, on footage whose every pixel is known, and on the real clip where it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from tests.synthetic import BALL, BOX, CAPTION_FLYING, Scene, write_dataset

REAL = Path(__file__).resolve().parents[4] / "shared/data/basketball"
SCENE = Scene(num_frames=3, width=48, height=32, num_train=3, num_test=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset"), SCENE, image_suffix=".png")


def test_pictures_are_those_that_were_filmed(dataset: Path) -> None:
    sequence = open_sequence(dataset)
    assert (sequence.num_frames, sequence.frame_numbers, sequence.fps) == (3, (0, 1, 2), 10.0)
    for split in ("train", "test"):
        cameras = sequence.cameras(split, 1)
        assert cameras.ids == SCENE.cameras(split).ids
        assert np.allclose(cameras.world_to_camera, SCENE.cameras(split).world_to_camera)
        images = sequence.images(split, 1)
        assert (images.shape, images.dtype) == ((len(cameras), 32, 48, 3), np.float32)
        assert np.abs(images - SCENE.photograph(SCENE.cameras(split), 1)[0]).max() <= 0.5 / 255 + 1e-6


def test_some_cameras_can_be_asked_for_in_any_order(dataset: Path) -> None:
    sequence = open_sequence(dataset)
    assert np.array_equal(sequence.images("train", 0, [2, 0]), sequence.images("train", 0)[[2, 0]])


def test_masks_and_objects_are_true_and_only_for_training_cameras(dataset: Path) -> None:
    sequence = open_sequence(dataset)
    truth = SCENE.photograph(SCENE.cameras("train"), 2)[1]
    masks, objects = sequence.masks("train", 2), sequence.objects("train", 2)
    assert masks is not None and np.array_equal(masks, truth > 0)
    assert objects is not None and np.array_equal(objects, truth)
    assert set(np.unique(objects)) == {0, BOX, BALL}
    assert sequence.masks("test", 2) is None and sequence.objects("test", 2) is None


def test_half_size_averages_masks_and_halves_the_camera(dataset: Path) -> None:
    whole, half = open_sequence(dataset), open_sequence(dataset, 0.5)
    expected = np.array([[19.2, 0.0, 12.0], [0.0, 19.2, 8.0], [0.0, 0.0, 1.0]])
    assert np.allclose(half.cameras("train", 0).intrinsics[0], expected)
    masks, big = half.masks("train", 0), whole.masks("train", 0)
    assert masks is not None and big is not None
    assert np.allclose(masks, big.reshape(3, 16, 2, 24, 2).mean(axis=(2, 4)))
    assert 0.5 in masks
    assert np.allclose(half.images("train", 0), whole.images("train", 0).reshape(3, 16, 2, 24, 2, 3).mean(axis=(2, 4)))


def test_captions_come_by_object(dataset: Path) -> None:
    captions = open_sequence(dataset).captions
    assert captions is not None
    assert [(c.start, c.end) for c in captions[BALL] if c.text == CAPTION_FLYING] == [SCENE.flight]


def test_what_is_optional_may_be_missing(tmp_path: Path) -> None:
    write_dataset(tmp_path, SCENE)
    (tmp_path / "captions.json").unlink()
    (tmp_path / "test_meta.json").unlink()
    for folder in ("seg", "objects"):
        (tmp_path / folder).rename(tmp_path / f"no {folder}")
    sequence = open_sequence(tmp_path)
    assert sequence.captions is None and sequence.initial_points is None
    assert isinstance(sequence, MotionMasks) and sequence.objects("train", 0) is None
    assert len(sequence.cameras("test", 0)) == 0
    assert sequence.images("train", 0).shape == (3, 32, 48, 3)


def test_initial_points_are_read(tmp_path: Path) -> None:
    write_dataset(tmp_path, SCENE)
    data = np.array([[1, 2, 3, 0.1, 0.2, 0.3, 1], [4, 5, 6, 0.4, 0.5, 0.6, 0]])
    np.savez(tmp_path / "init_pt_cld.npz", data=data)
    points = open_sequence(tmp_path).initial_points
    assert points is not None
    assert points.positions.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.allclose(points.colors, data[:, 3:6])
    assert points.is_foreground.tolist() == [True, False]


def test_one_frame_is_legal(tmp_path: Path) -> None:
    write_dataset(tmp_path, Scene(num_frames=1, width=32, height=32, num_train=2, num_test=1))
    assert open_sequence(tmp_path).num_frames == 1


def test_the_fingerprint_follows_what_training_sees(tmp_path: Path) -> None:
    write_dataset(tmp_path, SCENE)
    before, with_language = open_sequence(tmp_path).fingerprint(), open_sequence(tmp_path).fingerprint(language=True)
    assert open_sequence(tmp_path).fingerprint() == before
    assert open_sequence(tmp_path, 0.5).fingerprint() == before  # scale is a setting

    captions = json.loads((tmp_path / "captions.json").read_text())
    captions["objects"][str(BOX)][0]["caption"] = "a crate"
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    assert open_sequence(tmp_path).fingerprint() == before
    assert open_sequence(tmp_path).fingerprint(language=True) != with_language

    image = next((tmp_path / "ims").glob("*/*.jpg"))
    Image.new("RGB", (48, 32)).save(image)
    assert open_sequence(tmp_path).fingerprint() != before


@pytest.mark.skipif(not REAL.is_dir(), reason="the basketball clip is not beside this checkout")
def test_the_real_clip() -> None:
    sequence = open_sequence(REAL, 0.25)
    assert (sequence.num_frames, len(sequence.cameras("train", 0)), sequence.fps) == (30, 27, 30.0)
    cameras = sequence.cameras("test", 0)
    assert (cameras.ids, cameras.width, cameras.height) == ((0, 10, 15, 30), 160, 90)
    meta = json.loads((REAL / "test_meta.json").read_text())
    assert np.allclose(cameras.intrinsics[0, :2], np.array(meta["k"][0][0])[:2] / 4)
    with Image.open(REAL / "ims" / meta["fn"][7][2]) as file:
        truth = np.asarray(file).reshape(90, 4, 160, 4, 3).mean(axis=(1, 3)) / 255
    assert np.allclose(sequence.images("test", 7, [2])[0], truth, atol=1e-6)
    masks, objects = sequence.masks("train", 0), sequence.objects("train", 0)
    assert masks is not None and objects is not None
    assert ((masks > 0.5) == (objects > 0)).mean() > 0.99
    assert sequence.captions is not None and set(sequence.captions) == {0, 1, 2}
