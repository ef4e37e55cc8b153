"""Cameras with sizes and lenses of their own show one scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from tests.scene.as_filmed import SCENE, WRITERS, assert_is_the_scene, edit, found_cameras
from tests.scene.readers.layouts import all_cameras, save, to_bytes, write_colmap, write_plain_videos
from tests.synthetic import Scene


def with_cameras(folder: Path, lines: list[str]) -> None:
    """A COLMAP camera of its own for each picture of the model."""
    model = folder / "sparse/0"
    (model / "cameras.txt").write_text("\n".join(f"{i + 1} {line}" for i, line in enumerate(lines)) + "\n")
    rows = [row.split() for row in (model / "images.txt").read_text().splitlines() if row.strip()]
    text = "".join(" ".join([*row[:8], str(i + 1), row[9]]) + "\n\n" for i, row in enumerate(rows))
    (model / "images.txt").write_text(text)


def test_cameras_of_slightly_different_sizes_are_cut_alike(tmp_path: Path) -> None:
    folder, lines = write_colmap(tmp_path, SCENE), []
    fx, fy, cx, cy = all_cameras(SCENE).intrinsics[0][(0, 1, 0, 1), (0, 1, 2, 2)]
    for i in range(4):
        w, h = 48 - i % 3, 32 - i % 2
        lines.append(f"PINHOLE {w} {h} {fx} {fy} {cx} {cy}")
        for path in (folder / f"images/cam{i:02d}").glob("*.png"):
            Image.open(path).crop((0, 0, w, h)).save(path)
    with_cameras(folder, lines)
    sequence = open_sequence(folder)
    assert (sequence.cameras("train", 0).width, sequence.cameras("train", 0).height) == (46, 31)
    assert_is_the_scene(sequence, SCENE)


def test_cameras_of_quite_different_sizes_and_shapes_show_the_same_scene(tmp_path: Path) -> None:
    folder, lines = tmp_path, []
    scene = SCENE
    write_colmap(folder, scene)
    for i, (w, h) in enumerate([(96, 64), (48, 32), (32, 48), (60, 32)]):
        one = all_cameras(scene).take([i])
        k = one.intrinsics[0] * np.array([[max(w, h) / 48], [max(w, h) / 48], [1]], np.float32)
        k[:2, 2] = w / 2, h / 2
        filmed = Cameras(one.world_to_camera, k[None], w, h, (i,))
        lines.append(f"PINHOLE {w} {h} {k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}")
        for frame in range(scene.num_frames):
            save(folder / f"images/cam{i:02d}/{frame:04d}.png", to_bytes(scene.photograph(filmed, frame)[0][0]))
    with_cameras(folder, lines)
    sequence = open_sequence(folder)
    cameras = sequence.cameras("train", 0)
    assert (cameras.width, cameras.height) == (32, 21)
    assert_is_the_scene(sequence, scene, 0.02)  # scaled by area, not filmed anew
    assert any("pictures are of 32×48, 48×32, 60×32, 96×64 pixels" in note for note in sequence.notes)


def test_pictures_may_be_scaled_after_the_calibration(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE)
    for path in (folder / "images").rglob("*.png"):
        Image.open(path).resize((24, 16), Image.Resampling.BOX).save(path)
    sequence = open_sequence(folder)
    assert sequence.cameras("train", 0).width == 24
    assert_is_the_scene(sequence, SCENE, 0.01)


def distorted(scene: Scene, frame: int) -> list[NDArray[np.uint8]]:
    """Pictures through OpenCV's lens (k1, k2, p1, p2 of `LENS`), by rays of each of its pixels."""
    cameras, (k1, k2, p1, p2) = all_cameras(scene), LENS
    middle = np.array([2 * scene.width, 2 * scene.height])
    width, height = (2 * middle).tolist()
    wide = Cameras(cameras.world_to_camera, cameras.intrinsics.copy(), width, height, cameras.ids)
    wide.intrinsics[:, :2, 2] = middle
    focal, center = cameras.intrinsics[0][(0, 1), (0, 1)], cameras.intrinsics[0][:2, 2]
    pixels = np.stack(np.meshgrid(np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5), axis=-1)
    bent = (pixels - center) / focal
    rays = bent.copy()
    for _ in range(100):  # the rays that the lens bends there
        r2, xy = (rays**2).sum(axis=-1), rays.prod(axis=-1)
        shift = np.stack(
            [2 * p1 * xy + p2 * (r2 + 2 * rays[..., 0] ** 2), p1 * (r2 + 2 * rays[..., 1] ** 2) + 2 * p2 * xy], -1
        )
        rays = (bent - shift) / (1 + k1 * r2 + k2 * r2**2)[..., None]
    places = (rays * focal + middle - 0.5).astype(np.float32)
    pictures = to_bytes(scene.photograph(wide, frame)[0])
    return [np.asarray(cv2.remap(picture, places, np.empty(0), cv2.INTER_CUBIC)) for picture in pictures]


BENT = Scene(num_frames=1, width=48, height=32, num_train=3, num_test=1)
LENS = np.array([-0.25, 0.08, 0.003, -0.002])


def bend_nerf(folder: Path, k: NDArray[np.float32]) -> None:
    edit(
        folder / "transforms.json",
        lambda c: c.update(camera_model="OPENCV", k1=LENS[0], k2=LENS[1], p1=LENS[2], p2=LENS[3]),
    )


def bend_colmap(folder: Path, k: NDArray[np.float32]) -> None:
    numbers = " ".join(map(str, [k[0, 0], k[1, 1], k[0, 2], k[1, 2], *LENS]))
    (folder / "sparse/0/cameras.txt").write_text(f"1 OPENCV 48 32 {numbers}\n")


def bend_panoptic(folder: Path, k: NDArray[np.float32]) -> None:
    for meta in ("train_meta.json", "test_meta.json"):
        edit(folder / meta, lambda c: c.update(distortion=[LENS.tolist()] * len(c["cam_id"][0])))


@pytest.mark.parametrize(("name", "bend"), [("nerf", bend_nerf), ("colmap", bend_colmap), ("panoptic", bend_panoptic)])
def test_distortion_is_undone(tmp_path: Path, name: str, bend: Callable[[Path, NDArray[np.float32]], None]) -> None:
    folder = WRITERS[name](tmp_path, BENT)
    pattern = {
        "nerf": "images/{c:02d}_{f:03d}.png",
        "colmap": "images/cam{c:02d}/{f:04d}.png",
        "panoptic": "ims/{c}/{f:06d}.png",
    }
    for frame in range(BENT.num_frames):
        for camera, picture in enumerate(distorted(BENT, frame)):
            save(folder / pattern[name].format(c=camera, f=frame), picture)
    assert_is_bent = open_sequence(folder)
    cameras, pictures = found_cameras(assert_is_bent, 0)
    before = np.abs(pictures - BENT.photograph(cameras, 0)[0]).mean()
    bend(folder, all_cameras(BENT).intrinsics[0])
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, BENT, 0.5 * before)
    assert any("Lenses are distorted (OPENCV)" in note for note in sequence.notes)


def test_videos_may_have_lenses_and_sizes_of_their_own(tmp_path: Path) -> None:
    folder = write_plain_videos(tmp_path, SCENE)
    edit(folder / "cameras.json", lambda c: c["cameras"][1].update(camera_model="OPENCV_FISHEYE", distortion=[0.0] * 4))
    sequence = open_sequence(folder)
    assert any("OPENCV_FISHEYE" in note for note in sequence.notes)
    edit(folder / "cameras.json", lambda c: c["cameras"][1].update(distortion=[0.0] * 4 + [1.0]))
    with pytest.raises(DatasetError, match="5 coefficients of distortion, a lens of model OPENCV_FISHEYE 4"):
        open_sequence(folder)


def test_at_a_scale_that_leaves_a_remainder_a_picture_still_fills_its_camera() -> None:
    """432 pixels at 0.3 are 130, not 129.6: what is at the right border is there still."""
    k = np.array([[[1318.0, 0, 216], [0, 1318, 120], [0, 0, 1]]], np.float32)
    small = Cameras(np.eye(4, dtype=np.float32)[None], k, 432, 242, (0,)).scaled(0.3)
    assert (small.width, small.height) == (130, 73)
    corner = small.intrinsics[0] @ np.linalg.inv(k[0]) @ [432, 242, 1]
    np.testing.assert_allclose(corner, [130, 73, 1], rtol=1e-5)
