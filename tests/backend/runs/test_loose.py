"""Runs with Gaussians of single frames, over the wire and on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.runs.answers import frame_arrays
from backend.runs.library import OpenRun, _state_of, describe
from backend.viewer.page import Page
from legs4d.gaussians.gaussians import concatenate
from legs4d.gaussians.objects import Objects, write_objects
from legs4d.gaussians.selections import Selection, write_selection
from legs4d.gaussians.store.run import Run
from legs4d.grounding.query import Grounding
from legs4d.scene.camera import Cameras
from legs4d.scene.track import Track
from tests.deform.wheel import viewed_from, write_wheel
from tests.gaussians.test_run_format_2 import COUNTS, NOTHING, splats


@pytest.fixture
def loose(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run")
    run.set_info(up=[0.0, 1.0, 0.0])
    run.begin_stage("import", "all")
    run.write_geometry(splats(6, 3), NOTHING, 4, max_loose=max(COUNTS), loose_sh=3)
    for frame, count in enumerate(COUNTS):
        run.write_loose(frame, splats(count, 3), seen=np.linspace(0, 1, count))
        run.frame_done("import", frame, 0.1)
    run.finish_stage("import")
    return Run.open(run.path)


@pytest.mark.parametrize("precision", ["float32", "float16", "uint16"])
def test_a_frame_travels_with_its_own_gaussians(loose: Run, precision: str) -> None:
    opened = OpenRun("run", loose, "r", _state_of(loose.path))
    for frame, count in enumerate(COUNTS):
        body, arrays = opened.geometry(frame, precision)  # type: ignore[arg-type]
        expected = loose.loose(frame)
        for name in ("means", "quats", "scales", "opacities", "colors", "sh_rest"):
            values = arrays[f"loose_{name}"].astype(np.float64)
            if precision == "uint16":
                values = values * body["step"][f"loose_{name}"] + body["low"][f"loose_{name}"]
                values = np.exp(values) if f"loose_{name}" in body["logarithms"] else values
            assert len(values) == count
            np.testing.assert_allclose(values, getattr(expected, name), atol=1e-3 if precision != "float32" else 0)
        assert arrays["loose_is_foreground"].tolist() == expected.is_foreground.tolist()
        np.testing.assert_allclose(arrays["loose_seen"], np.linspace(0, 1, count), atol=1e-3)


def test_open_tells_what_frames_hold(loose: Run) -> None:
    body, arrays = describe(OpenRun("run", loose, "r", _state_of(loose.path)))
    assert (body["loose"], body["counts"], body["sh"]) == (max(COUNTS), list(COUNTS), 3)
    assert (body["up"], body["changing"], body["has_seen"]) == ([0.0, 1.0, 0.0], [], True)
    np.testing.assert_array_equal(arrays["static_sh_rest"], loose.static().sh_rest)
    np.testing.assert_array_equal(arrays["static_seen"], np.ones(6))


def test_open_names_objects_and_selections(loose: Run) -> None:
    pose = np.zeros((4, 2, 7), np.float32)
    pose[..., 3] = 1.0
    with loose.lock():
        write_objects(loose, Objects(("ball", ""), pose, np.ones((4, 2), np.float32), np.ones((4, 2), np.bool_)))
        write_selection(loose, Selection("the ball/left", np.ones(6, np.float32), None, {}))
    body, arrays = describe(OpenRun("run", loose, "r", _state_of(loose.path)))
    assert (body["objects"], body["selections"]) == (["ball", ""], ["the ball/left"])
    assert arrays["objects_pose"].shape == (4, 2, 7) and arrays["objects_visible"].all()


def test_open_tells_where_moving_cameras_were_and_the_nodes(tmp_path: Path) -> None:
    run, nothing = write_wheel(tmp_path / "wheel"), np.zeros((1, 3))
    track = Track(Cameras.together([viewed_from(0), viewed_from(9)]), np.array([0, 2], np.int32), np.array([0, 1.7]))
    run.write_cameras(track, None, nothing, nothing)
    run = Run.open(run.path)
    body, arrays = describe(OpenRun("run", run, "r", _state_of(run.path)))
    assert body["cameras"] == {"train": {"width": 32, "height": 32, "ids": [0, 0]}, "test": None}
    np.testing.assert_array_equal(arrays["train_viewmats"], track.cameras.world_to_camera)
    assert (arrays["train_frame"].tolist(), arrays["train_moment"].tolist()) == ([0, 2], [0, 1.7])
    assert arrays["nodes_pose"].shape == (3, 1, 7) and arrays["nodes_weight"].tolist() == [[1.0]] * 3


def test_the_page_shows_as_many_as_a_frame_has(loose: Run) -> None:
    page = Page(loose)
    try:
        for frame in (0, 1, 2, 3, 0):
            page.show(frame)
            handle = page._moving
            assert handle is not None and handle.visible == (COUNTS[frame] > 0)
            if COUNTS[frame]:
                np.testing.assert_allclose(page.shown.moving(frame).centers, loose.loose(frame).means)
    finally:
        page.close()


def test_pictures_show_the_colours_that_the_camera_sees(loose: Run) -> None:
    """Turned and stretched into the camera's axes, view dependence stays what it was in the run's own."""
    import torch

    from backend.compute.placement import Part, as_seen, place
    from legs4d.gaussians.sh import evaluate

    everything = concatenate(loose.static(), loose.loose(2))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    to_camera = np.eye(4)
    to_camera[:3, :3] = turn * np.linalg.det(turn) @ np.diag([1.0, 2.0, 0.5])
    to_camera[:3, 3] = 0.3, -0.2, 4.0
    eye = -np.linalg.inv(to_camera[:3, :3]) @ to_camera[:3, 3]
    rays = everything.means - eye
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    expected = np.maximum(evaluate(everything.colors, everything.sh_rest, rays), 0)
    part = Part(everything.torch(), torch.zeros((len(everything), 0)), torch.tensor(to_camera))
    placed = place([as_seen(part)])
    np.testing.assert_allclose(placed.gaussians.rgb.numpy(), expected, atol=1e-5)
    assert placed.gaussians.sh_rest is None


def test_answers_carry_the_relevancy_of_each_frames_own_gaussians(loose: Run) -> None:
    strengths: Any = [np.linspace(0, 1, count).astype(np.float16) for count in COUNTS]
    curve = np.ones(len(COUNTS), np.float32)
    grounding = Grounding("it", [], curve, 0.5, np.zeros(6, np.float32), 0.0, 1.0, (), 0, {}, strengths)
    opened = OpenRun("run", loose, "r", _state_of(loose.path))
    for frame, expected in enumerate(strengths):
        _, arrays = frame_arrays(opened, grounding, frame)
        assert arrays["relevancy"].tolist() == []
        np.testing.assert_allclose(arrays["loose"] / 255, expected, atol=0.003)
