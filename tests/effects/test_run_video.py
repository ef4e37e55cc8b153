"""Films of a run: the pictures of a camera path, and depth, alpha and segmentation as the scene has them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d.context import Context
from legs4d.effects.backdrop import backdrop_of
from legs4d.effects.pages.views_page import write_test_views
from legs4d.effects.run_video import choose_cameras, write_run_video
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.progress import Stopped
from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
from legs4d.scene.readers import open_sequence
from legs4d.scene.track import track_of
from tests.scene.readers.layouts import write_d_nerf
from tests.synthetic import BALL_RADIUS, NEAR, Scene, write_run

SCENE = Scene(num_frames=6, width=64, height=48, num_train=4, num_test=1)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"), SCENE, language=False)


def pictures(folder: Path) -> NDArray:
    return np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_a_camera_path_shows_its_frames_from_where_it_says(run: Run, tmp_path: Path) -> None:
    # Two scene units before the flying ball, which stands still in the middle of every picture.
    assert SCENE.flight is not None
    frame = SCENE.flight[0]
    ball = SCENE.ball_center(frame)
    key = {"at": 0, "frame": frame, "position": (ball - [0, 0, 2]).tolist(), "target": ball.tolist()}
    last = {"at": 2, "frame": frame, "position": (ball - [2, 0, 0]).tolist(), "target": ball.tolist()}
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"w": 40, "h": 30, "fov": 30, "keyframes": [key, last]}))
    wanted = write_run_video(run, tmp_path / "film", str(path), None, CPU, layers=("depth", "alpha", "segmentation"))
    assert [p.name for p in wanted] == ["film", "film_depth", "film_alpha", "film_segmentation"]
    color, depth, alpha, segmentation = map(pictures, wanted)
    assert color.shape == (3, 30, 40, 3) and depth.dtype.itemsize > 1
    for i in (0, 2):
        red, green, _ = color[i, 15, 20]
        assert red > green > 0  # the ball is red or yellow
        shown = NEAR / (depth[i, 15, 20] / 65535)
        assert shown == pytest.approx(2 - BALL_RADIUS, abs=0.1)
    assert (alpha[:, 15, 20] > 200).all()
    rows, columns = np.nonzero(segmentation[0] > 127)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == (pytest.approx(20, abs=0.5), pytest.approx(15, abs=0.5))
    radius = (BALL_RADIUS + 0.03) / 2 * 15 / np.tan(np.radians(15))  # its Gaussians are soft, and 0.06 wide
    assert len(rows) == pytest.approx(np.pi * radius**2, rel=0.35)
    assert segmentation[0, 0, 0] == 0


def test_test_cameras_are_the_scene(run: Run, tmp_path: Path) -> None:
    write_run_video(run, tmp_path / "film", "test", None, CPU, layers=("segmentation",))
    truth, ids = SCENE.photograph(SCENE.cameras("test"), 3)
    assert np.abs(pictures(tmp_path / "film")[3] / 255 - truth[0]).mean() < 0.15
    found = pictures(tmp_path / "film_segmentation")[3] > 127
    assert (found & (ids[0] > 0)).sum() / (found | (ids[0] > 0)).sum() > 0.5  # soft Gaussians reach over the edges


@pytest.mark.parametrize("is_old", [False, True])
def test_cameras_that_move_are_where_the_footage_says(tmp_path: Path, is_old: bool) -> None:
    """An old run says that they move, and keeps those of its first frame alone."""
    dataset = write_d_nerf(tmp_path / "d_nerf", SCENE)
    run = write_run(tmp_path / "run", SCENE, language=False, dataset=str(dataset))
    with run.lock():
        run.set_info(cameras_move=True)
        if not is_old:
            sequence, nothing = open_sequence(dataset), np.zeros((1, 3))
            run.write_cameras(track_of(sequence, "train"), track_of(sequence, "test"), nothing, nothing)
            run.set_info(dataset="is not needed")
    train = choose_cameras(run, "train").shots
    for shot in train:
        truth = SCENE.cameras("train").take([shot.frame % SCENE.num_train])
        np.testing.assert_allclose(shot.cameras.world_to_camera, truth.world_to_camera, atol=1e-5)
    assert [shot.frame for shot in train] == list(range(6))
    assert [shot.frame for shot in choose_cameras(run, "test").shots] == [2]
    assert [shot.frame for shot in choose_cameras(run, "0").shots] == list(range(6))
    assert [shot.frame for shot in choose_cameras(run, "1").shots] == [2]
    scores = evaluate_pictures(run, open_sequence(dataset), CPU)
    assert [value is not None for value in scores["per_frame"]] == [False, False, True, False, False, False]
    write_test_views(run, open_sequence(dataset), tmp_path / "views.png", CPU)
    assert Image.open(tmp_path / "views.png").height < 2 * SCENE.height + 60  # one row: that frame's


def test_a_turn_has_as_many_pictures_as_are_asked_for(run: Run) -> None:
    turn = choose_cameras(run, "orbit", pictures=11).shots
    np.testing.assert_allclose([shot.moment for shot in turn], np.linspace(0, run.num_frames - 1, 11))
    center = np.array(run.info["center"])
    spokes = np.concatenate([shot.cameras.centers for shot in turn]) - center
    around = [float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other))) for one, other in pairwise(spokes)]
    np.testing.assert_allclose(around, around[0], atol=1e-5)  # equal steps
    last = float(spokes[-1] @ spokes[0] / (np.linalg.norm(spokes[-1]) * np.linalg.norm(spokes[0])))
    assert last == pytest.approx(around[0], abs=1e-5)  # once around, not twice there
    with pytest.raises(Legs4dError, match="are of an orbit or an arc without --fps"):
        choose_cameras(run, "0", pictures=11)


def test_a_film_that_is_stopped_leaves_no_video(run: Run, tmp_path: Path) -> None:
    class Now:
        def is_set(self) -> bool:
            return True

    with pytest.raises(Stopped):
        write_run_video(run, tmp_path / "x.mov", "orbit", None, CPU, Context(stop=Now()), layers=("depth",))
    assert list(tmp_path.iterdir()) == []


def test_behind_everything_is_what_is_asked_for(run: Run, tmp_path: Path) -> None:
    """White is what is left of a pixel; transparent PNGs hold colours as they are, and come out the same on white."""
    far = {"at": 0, "frame": 2, "position": [0, 0, -20], "target": [0, 0, 0]}
    path = tmp_path / "path.json"
    path.write_text(json.dumps({"w": 40, "h": 30, "fov": 30, "keyframes": [far, {**far, "at": 1}]}))
    films = {}
    for name in ("black", "white", "#0000ff", "transparent"):
        files = write_run_video(run, tmp_path / name, str(path), None, CPU, layers=("alpha",), background=name)
        films[name] = pictures(files[0]).astype(float) / 255
    alpha = pictures(files[1])[..., None] / 255
    assert 0.01 < (alpha < 0.5).mean() < 0.99
    np.testing.assert_allclose(films["white"], films["black"] + 1 - alpha, atol=0.02)
    np.testing.assert_allclose(films["#0000ff"][..., :2], films["black"][..., :2], atol=0.02)
    seen = films["transparent"]
    assert seen.shape[-1] == 4
    np.testing.assert_allclose(seen[..., :3] * seen[..., 3:] + 1 - seen[..., 3:], films["white"], atol=0.02)


def test_what_was_filmed_on_white_is_shown_on_white(run: Run, tmp_path: Path) -> None:
    assert (black := backdrop_of(run)) is not None and not black.any()
    run.set_info(background=[1.0, 1.0, 1.0])
    try:
        assert (white := backdrop_of(run)) is not None and white.tolist() == [1, 1, 1]
    finally:
        run.set_info(background=[0.0, 0.0, 0.0])
    with pytest.raises(Legs4dError, match=r"mauve.*names no colour.*#rrggbb"):
        backdrop_of(run, "mauve")
    with pytest.raises(Legs4dError, match=r"\.mp4 holds no transparency.*folder"):
        write_run_video(run, tmp_path / "x.mp4", "0", None, CPU, background="transparent")


def test_what_is_wrong_is_said_before_anything_is_rendered(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Legs4dError, match=r"\.avi is no kind of video"):
        write_run_video(run, tmp_path / "x.avi", "test", None, CPU)
    with pytest.raises(Legs4dError, match="names no cameras"):
        write_run_video(run, tmp_path / "x.mp4", "99", None, CPU)
    with pytest.raises(Legs4dError, match="cannot be read"):
        write_run_video(run, tmp_path / "x.mp4", str(tmp_path / "none.json"), None, CPU)
