"""Where Gaussians begin: what is given comes before what is matched, and that before chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d import pipeline
from legs4d.context import Context
from legs4d.deform.footage.pictures import Pictures, all_cameras, read_pictures
from legs4d.deform.footage.start import find_stage_of, find_start
from legs4d.deform.stage import VOLUME_HELD, begin_fit
from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.reconstruct import calibration
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import InitialPoints, Sequence
from legs4d.scene.stage import Stage
from tests.deform.conftest import SETTINGS, asked
from tests.deform.film import camera, write_film


def points(count: int, color: float) -> InitialPoints:
    places = np.random.default_rng(count).normal(0, 0.3, (count, 3)).astype(np.float32)
    return InitialPoints(places, np.full((count, 3), color, np.float32), np.zeros(count, np.bool_))


MATCHED, GIVEN = points(80, 0.25), points(30, 0.75)


@pytest.fixture(scope="module")
def opaque(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The film without alpha: a grey wall behind everything."""
    film = write_film(tmp_path_factory.mktemp("opaque") / "film", frames=8, size=24, tests=2)
    for path in film.rglob("*.png"):
        shown = Image.open(path)
        Image.alpha_composite(Image.new("RGBA", shown.size, (90, 90, 90, 255)), shown).convert("RGB").save(path)
    return film


@pytest.fixture(scope="module")
def read(opaque: Path) -> tuple[Sequence, Pictures, Stage]:
    sequence = open_sequence(opaque)
    pictures = read_pictures(sequence, torch.device("cpu"))
    return sequence, pictures, find_stage_of(all_cameras(sequence), "film")


def test_without_anything_it_is_a_volume_whose_opacities_are_held(read: tuple[Sequence, Pictures, Stage]) -> None:
    sequence, pictures, stage = read
    fit, start = begin_fit(pictures, sequence, stage, SETTINGS, StageReporter("start"))
    assert start.is_volume and fit.settings.opacities_held == VOLUME_HELD
    fit, start = begin_fit(pictures, sequence, stage, SETTINGS, StageReporter("start"), MATCHED)
    assert not start.is_volume and fit.settings.opacities_held == 0 and fit.canonical.count == 80


def test_matched_points_are_taken_as_they_are_and_given_ones_in_their_place(
    read: tuple[Sequence, Pictures, Stage],
) -> None:
    _, pictures, stage = read
    found = find_start(pictures, None, stage, 50, "film", most=200, found=MATCHED).points
    assert np.array_equal(found.positions, MATCHED.positions) and np.array_equal(found.colors, MATCHED.colors)
    some = find_start(pictures, None, stage, 50, "film", most=60, found=MATCHED).points
    assert len(some.positions) == 50
    given = find_start(pictures, GIVEN, stage, 50, "film", most=200, found=MATCHED).points
    assert np.array_equal(given.positions, GIVEN.positions)


def test_inside_masks_a_hull_stands_beside_what_was_matched_outside(
    read: tuple[Sequence, Pictures, Stage], tmp_path: Path
) -> None:
    _, pictures, stage = read
    film = read_pictures(open_sequence(write_film(tmp_path / "film", frames=8, size=24)), torch.device("cpu"))
    masked = replace(pictures, masks=film.images[..., 3])
    found = find_start(masked, None, stage, 400, "film", most=800, found=MATCHED).points
    assert np.array_equal(found.positions[:80], MATCHED.positions) and len(found.positions) > 120
    beside = found.positions[80:]
    assert np.linalg.norm(beside, axis=1).max() < 1.2 and not np.isclose(found.colors[80:], 0.25).all(axis=1).any()


def test_the_command_starts_from_what_lightglue_finds(
    opaque: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "look_at_cameras", lambda *_: calibration.Look([], MATCHED))
    run = pipeline.reconstruct(opaque, tmp_path / "run", asked(steps=1), Context(engine="cpu"))
    assert run.num_gaussians == 80 and run.info["matched_points"] == 80
    np.testing.assert_allclose(np.sort(run.frame(0).means, axis=0), np.sort(MATCHED.positions, axis=0), atol=0.02)


def test_nothing_is_matched_where_things_are_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_film(tmp_path / "film", frames=6, size=24, tests=2)
    monkeypatch.setattr(calibration, "look_at_cameras", lambda *_: pytest.fail("matched"))
    run = pipeline.reconstruct(film, tmp_path / "run", asked(steps=1), Context(engine="cpu"))
    assert run.info["matched_points"] == 0 and run.info["matches"] is None
    given = asked(steps=1).model_copy(update={"matches": "none"})
    pipeline.reconstruct(film, tmp_path / "run", given, Context(engine="cpu"))  # neither is it made anew


def test_silhouettes_without_an_outline_are_no_shape(read: tuple[Sequence, Pictures, Stage], tmp_path: Path) -> None:
    _, pictures, stage = read
    images = read_pictures(open_sequence(write_film(tmp_path / "film", frames=8, size=24)), torch.device("cpu")).images
    film = replace(pictures, images=images.clone(), see_through=True)
    film.images[..., 3] = 255
    film.images[0, :1, :1, 3] = 0
    with pytest.raises(DatasetError, match="8 of 8 silhouettes fill their whole picture"):
        find_start(film, None, stage, 300, "film", most=400)


def test_alpha_counts_though_the_first_picture_is_filled(tmp_path: Path) -> None:
    film = write_film(tmp_path / "film", frames=6, size=24)
    first = film / "train/r_000.png"
    shown = np.asarray(Image.open(first)).copy()
    shown[..., 3] = 255
    Image.fromarray(shown).save(first)
    assert open_sequence(film).see_through


def forward_facing(together: float, noise: float) -> Cameras:
    """A grid of cameras at z = -3 that look along z, towards each other (or apart), each turned a little by chance."""
    chance = np.random.default_rng(1)
    poses = []
    for x in np.linspace(-0.4, 0.4, 5):
        for y in np.linspace(-0.3, 0.3, 4):
            ahead = np.array([-together * x, -together * y, 1.0]) + noise * chance.normal(size=3)
            ahead /= np.linalg.norm(ahead)
            right = np.cross([0.0, 1, 0], ahead)
            right /= np.linalg.norm(right)
            turn = np.stack([right, np.cross(ahead, right), ahead])
            poses.append(np.vstack([np.column_stack([turn, -turn @ [x, y, -3]]), [0, 0, 0, 1]]))
    k = np.array([[60.0, 0, 20], [0, 60, 20], [0, 0, 1]], np.float32)
    return Cameras(np.array(poses, np.float32), np.repeat(k[None], 20, axis=0), 40, 40, tuple(range(20)))


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("together", [0.33, 0.1, 0.0, -0.05])
def test_cameras_that_look_one_way_see_what_lies_between_the_bounds(together: float, noise: float) -> None:
    """As LLFF's do: axes meet behind what is filmed, in front of it, behind the cameras or nowhere."""
    stage = find_stage_of(forward_facing(together, noise), "llff", bounds=(1.5, 5.0))
    assert -1.5 < stage.center[2] < 2 and np.abs(stage.center[:2]).max() < 0.3
    assert stage.near < 1.5 and 1.5 < stage.radius < 5


def test_where_poses_may_be_right_points_are_asked_for() -> None:
    for together in (0.0, -0.05):
        with pytest.raises(DatasetError, match=r"^room: .*give points to start from; else poses seem to be of another"):
            find_stage_of(forward_facing(together, 0.0), "room")


def test_bounds_do_not_hide_poses_of_another_convention() -> None:
    around = [np.linalg.inv(camera(0.7 * number, 0.4)) for number in range(9)]  # OpenGL's, not OpenCV's
    k = np.repeat(np.array([[[60.0, 0, 20], [0, 60, 20], [0, 0, 1]]], np.float32), 9, axis=0)
    with pytest.raises(DatasetError, match="9 of 9 cameras look away"):
        find_stage_of(Cameras(np.array(around, np.float32), k, 40, 40, tuple(range(9))), "llff", bounds=(1.5, 5.0))


def test_points_of_another_frame_are_told_from_wrong_poses(read: tuple[Sequence, Pictures, Stage]) -> None:
    cameras = all_cameras(read[0])
    elsewhere = MATCHED.positions + np.array([0, 0, 40], np.float32)
    with pytest.raises(DatasetError, match="if the points are of another frame, take them away; else poses seem"):
        find_stage_of(cameras, "film", elsewhere)


def test_a_few_given_points_are_not_all_that_is_started_from(
    read: tuple[Sequence, Pictures, Stage], tmp_path: Path
) -> None:
    """As in models whose poses came from elsewhere, with a point that means nothing."""
    _, pictures, stage = read
    one = InitialPoints(*(values[:1] for values in vars(GIVEN).values()))
    start = find_start(pictures, one, stage, 50, "film", most=200)
    assert start.is_volume and len(start.points.positions) == 51
    assert np.array_equal(start.points.positions[0], one.positions[0]) and start.radius > 0.5
    film = read_pictures(open_sequence(write_film(tmp_path / "film", frames=8, size=24)), torch.device("cpu"))
    start = find_start(film, one, stage, 400, "film", most=800)
    assert not start.is_volume and len(start.points.positions) > 120 and 0.2 < start.radius < 1.2
