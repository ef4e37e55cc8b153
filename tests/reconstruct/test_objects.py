"""Objects reach a run: which Gaussians are which, where each is in every frame, and what it is called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from legs4d.cli import app
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.priors.objects.folder import FoundObject, write_table
from legs4d.reconstruct.objects.place import place_objects
from legs4d.scene.readers import open_sequence
from tests.synthetic import BALL, BALL_RADIUS, BALL_TURN, BOX, Scene, write_dataset, write_run

SCENE = Scene(num_frames=6, num_train=6, num_test=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("footage") / "clip", SCENE)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "run", SCENE, language=False)


def test_the_ball_is_followed_and_the_box_stands(dataset: Path, run: Run) -> None:
    with run.lock():
        place_objects(run, open_sequence(dataset))
    run = Run.open(run.path)
    objects = read_objects(run)
    assert objects is not None and objects.ids == (BOX, BALL) and objects.names == ("", "")
    marks = run.object_ids(3)
    assert marks is not None
    # the ball's Gaussians are the dynamic ones, the box's the foreground of the static ones
    assert (marks[run.num_static :] == 1).mean() > 0.9
    is_box = run.static().is_foreground
    assert (marks[: run.num_static][is_box] == 0).mean() > 0.7  # those on its floor nobody sees
    assert (marks[: run.num_static][~is_box] == -1).all()
    rest = int(np.abs(objects.pose[:, 1, 4:]).sum(axis=1).argmin())
    for frame in range(SCENE.num_frames):
        np.testing.assert_allclose(objects.pose[frame, 1, :3], SCENE.ball_center(frame), atol=0.1 * BALL_RADIUS)
        np.testing.assert_allclose(objects.pose[frame, 0, 3:], [1, 0, 0, 0], atol=1e-6)
        half = BALL_TURN * (frame - rest) / 2
        np.testing.assert_allclose(objects.pose[frame, 1, 3:], [np.cos(half), 0, np.sin(half), 0], atol=1e-3)
    assert objects.visible.all() and (objects.scale == 1).all()
    assert objects.table()[1] == {"id": BALL, "name": "", "frames": [0, 5]}


def test_names_that_were_found_are_the_runs_and_those_of_the_user_stay(dataset: Path, run: Run, tmp_path: Path) -> None:
    found = tmp_path / "found"
    shutil.copytree(dataset / "objects", found / "objects")
    where = {frame: tuple(SCENE.ball_center(frame).tolist()) for frame in (0, 5)}
    ball = FoundObject(BALL, "sports ball", 0.9, (0, 5), 6.0, (0.3, 0.3), where)
    write_table(found, [ball], {})
    sequence = open_sequence(dataset, found=found)
    with run.lock():
        place_objects(run, sequence)
        assert [row["name"] for row in (read_objects(run) or pytest.fail()).table()] == ["", "sports ball"]
    said = CliRunner().invoke(app, ["name", str(run.path), str(BALL), "basketball", "--json"])
    assert json.loads(said.stdout)["objects"][1] == {"id": BALL, "name": "basketball", "frames": [0, 5]}
    said = CliRunner().invoke(app, ["name", str(run.path), "9", "x"])
    assert said.exit_code == 1 and f"has no object 9: it has objects {BOX}, {BALL}; see" in " ".join(
        said.output.split()
    )
    with Run.open(run.path).lock() as again:
        place_objects(again, sequence)  # done already
        again.forget_stage("objects")
        place_objects(again, sequence)
        assert (read_objects(again) or pytest.fail()).names == ("", "basketball")
        with pytest.raises(RunDiffers, match="objects"):
            place_objects(again, open_sequence(_without_box(dataset, tmp_path / "other")))


def test_check_says_how_footage_is_read(dataset: Path) -> None:
    told = json.loads(CliRunner().invoke(app, ["check", str(dataset), "--json"]).stdout)
    assert (told["layout"], told["frames"], told["cameras"]) == ("panoptic", 6, {"train": 6, "test": 1})
    assert (told["masks"], told["objects"], told["matcher"]) == ("footage", True, "sift")
    assert told["misfits"] == []
    said = CliRunner().invoke(app, ["check", str(dataset)]).stdout
    assert "6 training and 1 test cameras, 96×64" in said
    # smooth pictures this small share too few points: nobody is acquitted either
    assert told["unknown"] == [0, 1, 2, 3, 5, 6] and "No camera misses" not in said
    assert "sift matches too little to say how these cameras stand: 0, 1, 2, 3, 5, 6." in said


def _without_box(dataset: Path, folder: Path) -> Path:
    shutil.copytree(dataset, folder)
    mask = next((folder / "objects").rglob("*.png"))
    shutil.copyfile(sorted((folder / "objects").rglob("*.png"))[-1], mask)
    return folder
