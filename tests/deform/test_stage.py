"""From a small film by one moving camera to a run, through the pipeline that the command line calls."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from legs4d import pipeline
from legs4d.config import DeformSettings, TrainSettings
from legs4d.context import Context
from legs4d.deform.fit import Fit
from legs4d.deform.footage.start import find_stage_of
from legs4d.deform.result import _apart
from legs4d.errors import DatasetError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.nodes import frame_between, read_nodes
from legs4d.gaussians.store.run import Run
from legs4d.plan import Plan
from legs4d.progress import Progress, Stopped
from legs4d.raster import render
from legs4d.reconstruct.evaluation.evaluate import evaluate_pictures
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.deform.conftest import asked
from tests.deform.film import RADII, balls, camera, picture, write_film, write_still


def score(run: Run, film: Path) -> float:
    found = evaluate_pictures(run, open_sequence(film), torch.device("cpu"))
    return float(found["psnr"])


def test_one_moving_camera_becomes_a_run(run: Run, film: Path) -> None:
    assert run.geometry_stages == ("deform",) and run.has_finished("deform") and run.num_frames == 16
    assert run.available_frames() == list(range(16)) and not (run.path / "fit.npz").exists()
    assert run.num_dynamic > 50 and run.num_gaussians <= 700
    assert len(run.info["times"]) == 16 and run.info["cameras_move"]
    seen = run.seen(0)
    assert seen is not None and float(np.median(seen)) > 0.3
    assert score(run, film) > 24


def test_it_follows_what_moves(run: Run) -> None:
    """Gaussians that lie on a ball in the first frame lie on it in the last."""
    first, last = run.frame(0), run.frame(15)
    for which, radius in enumerate(RADII):
        on = np.linalg.norm(first.means - balls(0.0)[which], axis=1) < 1.15 * radius
        on &= first.opacities > 0.3
        assert on.sum() > 10
        away = np.linalg.norm(last.means[on] - balls(1.0)[which], axis=1)
        assert np.median(away) < 1.15 * radius, which


def test_what_stands_is_kept_apart_from_what_moves() -> None:
    """One that wobbles by less than half a pixel about where it is, one that goes two pixels, one that turns."""
    moments, pixel = np.linspace(0, 1, 9), 2.0 / 100
    quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(3, 1)
    start = Gaussians(
        means=torch.rand(3, 3),
        quats=quats,
        scales=torch.ones(3, 3),
        opacities=torch.ones(3),
        colors=torch.zeros(3, 3),
        is_foreground=torch.ones(3, dtype=torch.bool),
    )

    def at(time: float) -> Gaussians:
        moved, turned = start.means.clone(), quats.clone()
        moved[0, 0] += pixel * (0.8 if round(8 * time) % 2 else 0.0)
        moved[1, 0] += 2 * pixel * time
        turned[2] = torch.tensor([np.cos(time), np.sin(time), 0, 0])
        return start.replace(means=moved, quats=turned)

    table = SimpleNamespace(intrinsics=torch.eye(3)[None] * 100)
    fit = SimpleNamespace(gaussians_at=at, radius=2.0, pictures=SimpleNamespace(table=table), settings=DeformSettings())
    parts = _apart(cast(Fit, fit), moments)
    assert parts.still.tolist() == [True, False, False]
    np.testing.assert_allclose(parts.middle.means[0, 0], float(start.means[0, 0]) + 0.8 * 4 / 9 * pixel, atol=1e-5)


def test_between_frames_it_follows_its_nodes(run: Run) -> None:
    nodes = read_nodes(run)
    assert nodes is not None and nodes.pose.shape == (16, 48, 7)
    bound = nodes.weight[run.num_static :]
    np.testing.assert_allclose(bound.sum(axis=1), 1, atol=1e-5)
    assert not nodes.weight[: run.num_static].any()
    half = frame_between(run, 7.5).means[run.num_static :]
    straight = (run.frame(7).means + run.frame(8).means)[run.num_static :] / 2
    assert 0 < np.abs(half - straight).max() < 0.05


def test_a_static_model_of_the_same_film_is_worse(run: Run, film: Path, tmp_path: Path) -> None:
    still = pipeline.reconstruct(
        film, tmp_path / "run", asked(deformation_start=0.999, steps=120), Context(engine="cpu")
    )
    assert score(still, film) < score(run, film) - 2


def test_stopped_and_gone_on_with_it_is_the_same(film: Path, run: Run, tmp_path: Path) -> None:
    stop = threading.Event()

    told: list[Progress] = []

    def until(progress: Progress) -> None:
        if progress.stage == "deform":
            told.append(progress)
            if progress.done >= 100:
                stop.set()

    with pytest.raises(Stopped):
        pipeline.reconstruct(film, tmp_path / "run", asked(), Context(engine="cpu", progress=until, stop=stop))
    assert (tmp_path / "run/fit.npz").exists()
    before, again = Run.open(tmp_path / "run").stages["deform"].seconds, len(told)
    gone_on = pipeline.reconstruct(film, tmp_path / "run", asked(), Context(engine="cpu", progress=told.append))
    assert 0 < before < gone_on.stages["deform"].seconds
    # before a step, and where it goes on, there is no loss to be told
    for own in (told[:again], [one for one in told[again:] if one.stage == "deform"]):
        assert own[0].loss is None and len(own) > 1
        assert all(one.loss is not None and one.loss > 0 for one in own[1:])
    for frame in (0, 9, 15):
        assert np.array_equal(gone_on.frame(frame).means, run.frame(frame).means)
        assert np.array_equal(gone_on.frame(frame).quats, run.frame(frame).quats)
    assert np.array_equal(gone_on.frame(0).colors, run.frame(0).colors)


def test_planes_bend_too(film: Path, tmp_path: Path) -> None:
    made = pipeline.reconstruct(film, tmp_path / "run", asked(field="planes", steps=60), Context(engine="cpu"))
    assert made.num_dynamic > 20 and read_nodes(made) is None


def test_scales_and_opacities_change_where_asked(film: Path, tmp_path: Path) -> None:
    made = pipeline.reconstruct(
        film, tmp_path / "run", asked(changing=("scales", "opacities"), steps=60), Context(engine="cpu")
    )
    assert set(made.changing) == {"scales", "opacities"}
    assert np.abs(made.frame(0).opacities - made.frame(15).opacities).max() > 1e-4


def test_a_static_capture_is_a_run_of_one_frame(tmp_path: Path) -> None:
    film = write_still(tmp_path / "film")
    made = pipeline.reconstruct(film, tmp_path / "run", asked(steps=150), Context(engine="cpu"))
    assert made.num_frames == 1 and made.num_dynamic == 0 and made.num_static > 50
    assert score(made, film) > 24
    view = render(made.frame(0).torch(), open_sequence(film).cameras("train", 0), near=made.info["near"])
    assert float(view.alpha.max()) > 0.9


def test_what_masks_leave_out_of_a_static_capture_is_nothing(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=12, size=32)
    for split in ("train", "test"):
        path = film / f"transforms_{split}.json"
        content = json.loads(path.read_text())
        for number, frame in enumerate(content["frames"]):
            del frame["time"]
            shown = picture(np.array(frame["transform_matrix"]), 0.0, 32)
            name = f"{split}/r_{number:03d}"
            if split == "train":
                frame["mask_path"] = f"{name}_mask.png"
            (film / "masks/test").mkdir(parents=True, exist_ok=True)  # of held-out pictures masks are looked for
            Image.fromarray(shown[..., 3]).save(film / frame.get("mask_path", f"masks/{name}.png"))
            shown[shown[..., 3] == 0] = (0, 200, 0, 255)  # a green room, which does not turn with the object
            Image.fromarray(shown[..., :3]).save(film / f"{name}.png")
        path.write_text(json.dumps(content))
    made = pipeline.reconstruct(film, tmp_path / "run", asked(steps=150), Context(engine="cpu"))
    cameras = open_sequence(film).cameras("train", 0)
    alpha = render(made.frame(0).torch(), cameras, near=made.info["near"]).alpha.numpy()
    masks = open_sequence(film).masks("train", 0)
    assert masks is not None and np.abs(alpha - masks).mean() < 0.05
    assert any("left out" in note for note in made.info["notes"])
    assert score(made, film) > 20
    shutil.rmtree(film / "masks")
    assert score(made, film) < 15  # with the room


# -- which road -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cameras", "frames", "road"),
    [(1, 9, "deform"), (3, 9, "deform"), (4, 9, "tracking"), (27, 9, "tracking"), (27, 1, "deform")],
)
def test_few_cameras_and_one_moment_are_fitted_together(cameras: int, frames: int, road: str) -> None:
    seen = SimpleNamespace(num_frames=frames, cameras=lambda split, frame: range(cameras))
    plan = Plan(cast(Sequence, seen), TrainSettings(), Context(engine="cpu"), ("reconstruct",))
    assert plan.method(None) == road


def test_tracking_of_one_camera_is_refused_with_the_other_road(film: Path, tmp_path: Path) -> None:
    settings = asked().model_copy(update={"method": "tracking"})
    with pytest.raises(DatasetError, match=r"1 training camera.*--method deform"):
        pipeline.reconstruct(film, tmp_path / "run", settings, Context(engine="cpu"))


# -- bad input --------------------------------------------------------------------------------------------------------


def refused(film: Path, out: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        pipeline.reconstruct(film, out, asked(steps=2), Context(engine="cpu"))
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_pictures_that_are_all_alike(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=4, size=32)
    alike = picture(camera(0.3, 0.0), 0.0, 32)
    for number in range(4):
        Image.fromarray(alike).save(film / f"train/r_{number:03d}.png")
    assert "alike" in refused(film, tmp_path / "run")


def test_pictures_that_are_all_transparent(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=4, size=32)
    chance = np.random.default_rng(0)
    for number in range(4):
        empty = chance.integers(0, 255, (32, 32, 4), np.uint8)
        empty[..., 3] = 0
        Image.fromarray(empty).save(film / f"train/r_{number:03d}.png")
    assert "transparent" in refused(film, tmp_path / "run")


def test_two_pictures_with_silhouettes(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=2, size=32)
    text = refused(film, tmp_path / "run")
    assert text.startswith(str(film)) and "2 pictures' silhouettes determine no shape" in text
    assert "add pictures from other sides" in text and "--method" not in text


def test_a_few_empty_pictures_are_no_matter(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=8, size=32)
    for number in (2, 5):
        Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(film / f"train/r_{number:03d}.png")
    made = pipeline.reconstruct(film, tmp_path / "run", asked(steps=10), Context(engine="cpu"))
    assert any("show nothing (r_002, r_005: 2 of 8)" in note for note in made.info["notes"])


def rewrite(film: Path, change: Callable[[int, dict[str, Any]], object], split: str = "train") -> None:
    """Change the entry of every picture, given its number."""
    path = film / f"transforms_{split}.json"
    content = json.loads(path.read_text())
    for number, frame in enumerate(content["frames"]):
        change(number, frame)
    path.write_text(json.dumps(content))


def transposed(pose: np.ndarray) -> np.ndarray:
    turned = pose.copy()
    turned[:3, :3] = pose[:3, :3].T
    return turned


@pytest.mark.parametrize(
    ("convention", "says"),
    [
        (lambda pose: pose @ np.diag([1, -1, -1, 1]), "look away from the point"),  # OpenCV's
        (np.linalg.inv, "stand in one place"),  # world to camera
        (transposed, "have in their pictures what they stand around"),
    ],
)
def test_poses_of_another_convention(tmp_path: Path, convention: Callable[[np.ndarray], np.ndarray], says: str) -> None:
    film = write_film(tmp_path / "film", frames=6, size=32)
    rewrite(
        film,
        lambda _, frame: frame.update(transform_matrix=convention(np.array(frame["transform_matrix"])).tolist()),
    )
    text = refused(film, tmp_path / "run")
    assert says in text and "OpenGL" in text


def looking(degrees: list[float], places: NDArray[np.float64]) -> Cameras:
    """Cameras on the ground at these places [C, 2] (x, z), turned about the vertical; 0 looks along z."""
    poses = np.tile(np.eye(4, dtype=np.float32), (len(degrees), 1, 1))
    for pose, angle, (x, z) in zip(poses, np.radians(degrees), places, strict=True):
        right, forward = (np.cos(angle), 0, -np.sin(angle)), (np.sin(angle), 0, np.cos(angle))
        pose[:3, :3] = [right, (0, 1, 0), forward]
        pose[:3, 3] = -pose[:3, :3] @ np.array([x, 0, z])
    k = np.array([[40, 0, 32], [0, 40, 24], [0, 0, 1]], np.float32)
    return Cameras(poses, np.tile(k, (len(degrees), 1, 1)), 64, 48, tuple(range(len(degrees))))


def test_points_tell_where_the_scene_is_where_axes_do_not() -> None:
    chance = np.random.default_rng(0)
    slide = looking([0.0] * 5, np.stack([np.arange(5) / 4, np.zeros(5)], axis=1))
    ahead = chance.normal([0.5, 0, 4], 0.3, (200, 3)).astype(np.float32)
    with pytest.raises(DatasetError, match="axes are parallel"):
        find_stage_of(slide, "here")
    found = find_stage_of(slide, "here", ahead)
    np.testing.assert_allclose(found.center, [0.5, 0, 4], atol=0.1)
    assert 3.5 < found.radius < 4.5
    # One who turns about in a room films its walls; poses are right, as walls are in the pictures.
    angles = np.arange(0.0, 360, 30)
    places = 0.3 * np.stack([np.sin(np.radians(angles)), np.cos(np.radians(angles))], axis=1)
    room = looking(angles.tolist(), places)
    turn = chance.uniform(0, 2 * np.pi, 500)
    walls = np.stack([3 * np.sin(turn), chance.uniform(-1, 1, 500), 3 * np.cos(turn)], axis=1).astype(np.float32)
    with pytest.raises(DatasetError, match="look away"):
        find_stage_of(room, "here")
    assert find_stage_of(room, "here", walls).radius == pytest.approx(0.3, abs=0.3)
    with pytest.raises(DatasetError, match="do not have the points to start from"):
        find_stage_of(slide, "here", ahead * np.array([1, 1, -1], np.float32))


def test_times_that_are_not_as_they_are_usually_written_are_said(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=6, size=32)
    plain = open_sequence(film)
    assert not any("ime" in note for note in plain.notes)
    content = json.loads((film / "transforms_train.json").read_text())
    content["frames"].reverse()
    (film / "transforms_train.json").write_text(json.dumps(content))
    for split in ("train", "test"):
        rewrite(film, lambda _, frame: frame.update(time=20 * frame["time"] - 10), split)
    other = open_sequence(film)
    assert [note.split(",")[0] for note in other.notes[:2]] == [
        "Pictures are not listed in the order of their times: they are taken in that of the times.",
        "Times go from -10 to 10",
    ]
    for frame in range(6):
        assert np.array_equal(other.images("train", frame), plain.images("train", frame))
        assert other.taken_at("test", frame).tolist() == plain.taken_at("test", frame).tolist()
    np.testing.assert_allclose(other.times, plain.times)
    rewrite(film, lambda number, frame: frame.update(time=[10, 10, 4, 2, 2, -10][number]))
    repeated = open_sequence(film)
    assert repeated.num_frames == 4 and [len(repeated.cameras("train", frame)) for frame in range(4)] == [1, 2, 1, 2]
    assert any("2 training pictures have a time that another one has" in note for note in repeated.notes)
    np.testing.assert_allclose(np.array(repeated.times) * 30, np.array([0, 12, 14, 20]) / 6)


def test_one_time_of_all_pictures_is_a_static_capture_and_said(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=4, size=32)
    rewrite(film, lambda _, frame: frame.update(time=0.5))
    found = open_sequence(film)
    assert found.num_frames == 1
    assert any("All 4 training pictures have one time" in note for note in found.notes)


def test_times_of_some_pictures_alone(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=4, size=32)
    rewrite(film, lambda number, frame: frame.pop("time") if number == 2 else None)
    with pytest.raises(DatasetError, match=r"r_002: has no time, as 1 of 8 pictures"):
        open_sequence(film)


def test_many_pictures_from_one_place(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=4, size=32)
    rewrite(film, lambda _, frame: frame.update(transform_matrix=camera(0.3, 0.2).tolist()))
    assert "4 training pictures, all from one place" in refused(film, tmp_path / "run")


def test_one_picture(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=1, size=32)
    assert "1 training" in refused(film, tmp_path / "run")


def test_a_camera_inside_the_object(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=12, size=32)
    path = film / "transforms_train.json"
    content = json.loads(path.read_text())
    pose = np.array(content["frames"][5]["transform_matrix"])
    pose[:3, 3] = 0.02
    content["frames"][5]["transform_matrix"] = pose.tolist()
    path.write_text(json.dumps(content))
    assert "picture r_005 stands inside" in refused(film, tmp_path / "run")
