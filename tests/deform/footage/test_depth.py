"""DyCheck's LiDAR: what is measured is where things are drawn, and where nothing is measured nothing is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d import pipeline
from legs4d.context import Context
from legs4d.deform.fitting.canonical import Canonical
from legs4d.deform.footage.measured import measured_points, nearer
from legs4d.deform.footage.pictures import read_pictures
from legs4d.errors import DatasetError
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.reconstruct.fitting.losses import depth_loss
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage
from tests.deform.conftest import asked
from tests.deform.film import ANGLE, camera, traced

SIZE, FRAMES = 32, 6
CENTIMETRES = 100.0
"""Of the poses: depths are in their unit."""


def write_dycheck(folder: Path, *, alpha: bool = True) -> Path:
    """A phone that hardly moves, so that pictures tell little of depth; no points to start from."""
    for name in ("camera", "rgb/1x", "depth/1x"):
        (folder / name).mkdir(parents=True)
    ids = [f"0_{frame:05d}" for frame in range(FRAMES)]
    for frame, name in enumerate(ids):
        pose = camera(0.5 + 0.02 * frame, 0.3 + 0.01 * (frame % 2))
        shown, _, depth = traced(pose, frame / (FRAMES - 1), SIZE)
        # DyCheck's alpha is where LiDAR said something; colours are black elsewhere.
        colors = np.where(depth[..., None] > 0, shown[..., :3], 0)
        known = (depth > 0).astype(np.uint8)[..., None] * 255
        Image.fromarray(np.concatenate([colors, known], axis=-1) if alpha else colors).save(
            folder / f"rgb/1x/{name}.png"
        )
        np.save(folder / f"depth/1x/{name}.npy", CENTIMETRES * depth[..., None])
        pose = pose @ np.diag([1, -1, -1, 1])
        content = {
            "orientation": pose[:3, :3].T.tolist(),
            "position": (CENTIMETRES * pose[:3, 3]).tolist(),
            "focal_length": SIZE / 2 / np.tan(ANGLE / 2),
            "principal_point": [SIZE / 2, SIZE / 2],
            "image_size": [SIZE, SIZE],
        }
        (folder / f"camera/{name}.json").write_text(json.dumps(content))
    times = {name: {"warp_id": frame, "camera_id": 0} for frame, name in enumerate(ids)}
    (folder / "metadata.json").write_text(json.dumps(times))
    (folder / "dataset.json").write_text(json.dumps({"ids": ids, "train_ids": ids, "val_ids": []}))
    (folder / "scene.json").write_text(json.dumps({"scale": 0.1, "center": [0, 0, 0], "near": 0.1, "far": 4}))
    return folder


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dycheck(tmp_path_factory.mktemp("dycheck") / "phone")


def test_depths_are_read_in_units_of_the_scene_and_alpha_is_no_silhouette(phone: Path) -> None:
    sequence = open_sequence(phone)
    depths, known = sequence.depths("train", 2), sequence.known("train", 2)
    truth = traced(camera(0.54, 0.3), 2 / (FRAMES - 1), SIZE)[2]
    assert depths is not None and known is not None and not sequence.see_through
    np.testing.assert_allclose(depths[0], CENTIMETRES * truth, rtol=1e-5)
    assert np.array_equal(known[0], truth > 0)
    assert any("6 of 6 training pictures have measured depths" in note for note in sequence.notes)
    half = open_sequence(phone, 0.5).depths("train", 2)
    assert half is not None and half.shape == (1, 16, 16) and set(half[half > 0]) <= set(depths[depths > 0])


def test_near_things_are_before_the_near_plane(phone: Path) -> None:
    pictures = read_pictures(open_sequence(phone), torch.device("cpu"), measured=True)
    stage = Stage(np.zeros(3, np.float32), 1000.0, np.array([0, 0, -1], np.float32), near=350.0)
    assert pictures.has_holes and 100 < nearer(stage, pictures).near < 0.8 * 300


def off(run: Run, phone: Path) -> float:
    """Median distance between what is drawn and what is there, seen from the side; of the camera's distance."""
    pose = camera(1.3, 0.5)
    truth = traced(pose, 0.0, SIZE)[2]
    pose[:3, 3] *= CENTIMETRES
    viewmat = np.linalg.inv(pose @ np.diag([1, -1, -1, 1])).astype(np.float32)[None]
    view = Cameras(viewmat, open_sequence(phone).cameras("train", 0).intrinsics, SIZE, SIZE, (0,))
    seen = render(run.frame(0).torch(), view, near=run.info["near"], depth=True)
    assert seen.depth is not None
    drawn = (seen.depth[0] / seen.alpha[0].clamp(min=1e-6)).numpy()
    both = (truth > 0) & (seen.alpha[0].numpy() > 0.5)
    assert both.sum() > 0.2 * (truth > 0).sum()
    return float(np.median(np.abs(drawn[both] / CENTIMETRES - truth[both]))) / 3


def test_what_is_measured_is_obeyed(phone: Path, tmp_path: Path) -> None:
    """Without depths the same fit is off by 55 % of the distance."""
    run = pipeline.reconstruct(phone, tmp_path / "run", asked(steps=80, num_points=150), Context(engine="cpu"))
    assert off(run, phone) < 0.02


def test_the_loss_is_of_inverse_depths_where_both_are_known() -> None:
    drawn = torch.tensor([[[1.0, 4.0, 0.1, 3.0]]], requires_grad=True)
    alpha = torch.tensor([[[0.5, 1.0, 0.1, 1.0]]]) + 0.01
    measured = torch.tensor([[[2.0, 5.0, 3.0, 0.0]]])
    loss = depth_loss(drawn, alpha, measured, 2.0)
    assert loss.item() == pytest.approx((2 * abs(0.51 - 0.5) + 2 * abs(1.01 / 4 - 0.2)) / 2, rel=1e-4)
    loss.backward()
    assert drawn.grad is not None and (drawn.grad[0, 0, 2:] == 0).all() and drawn.grad[0, 0, 1] < 0


def test_a_cut_sensor_says_nothing_beyond_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder = write_dycheck(tmp_path / "phone", alpha=False)
    path = folder / "depth/1x/0_00001.npy"
    depth = np.load(path)
    np.save(path, np.minimum(np.where(depth > 0, depth, np.nan), 290.0))
    found = open_sequence(folder).depths("train", 1)
    assert found is not None and 0 < found.max() < 290 and np.isfinite(found).all()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"0_00001\.npy: cannot be read as depths .*depth/ away"):
        open_sequence(folder).depths("train", 1)
    np.save(path, np.zeros((7, 5, 1)))
    with pytest.raises(DatasetError, match=r"0_00001\.npy: is 5×7 pixels, its picture 32×32"):
        open_sequence(folder).depths("train", 1)
    path.unlink()
    lost = open_sequence(folder).depths("train", 1)
    assert lost is not None and not lost.any()


def test_depths_of_few_places_or_of_several_units(phone: Path, tmp_path: Path) -> None:
    """What is measured in one picture is enough to start from, a few places are not; what one picture has in another
    unit is told."""
    folder, cpu = shutil.copytree(phone, tmp_path / "phone"), torch.device("cpu")
    first, *others = sorted((folder / "depth/1x").iterdir())
    known = np.load(first)
    for path in others:
        np.save(path, 0 * known)
    points = measured_points(read_pictures(open_sequence(folder), cpu, measured=True), 40)
    assert points is not None and len(points.positions) == 40
    pictures = read_pictures(open_sequence(folder), cpu, measured=True)
    assert pictures.depths is not None
    few = torch.zeros_like(pictures.depths)
    few[3, 5, 5] = 1.0
    assert measured_points(dataclasses.replace(pictures, depths=few), 40) is None
    np.save(others[1], known * 1e6)
    with pytest.raises(DatasetError, match=r"depths of frame 2 are about .*e\+06 times those before; give all depths"):
        read_pictures(open_sequence(folder), cpu, measured=True)


def test_one_point_is_a_start() -> None:
    canonical = Canonical(4, 0, torch.device("cpu"))
    one = np.zeros((1, 3), np.float32)
    canonical.start(InitialPoints(one, one, np.zeros(1, np.bool_)), 0.1, 2.0)
    np.testing.assert_allclose(np.exp(canonical.used("log_scales").detach().numpy()), 0.2, rtol=1e-5)
