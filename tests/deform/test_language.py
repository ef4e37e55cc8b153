"""Language on the run of one moving camera: what lights up, where and when, against what is true."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d import pipeline
from legs4d.config import LiftSettings
from legs4d.context import Context
from legs4d.effects.run_video import write_run_video
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from tests.deform.film import FLYING, RADII, balls, write_truth

CPU = Context(engine="cpu")


@pytest.fixture(scope="module")
def lifted(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("lifted") / "run"
    shutil.copytree(run.path, folder)
    return pipeline.lift(folder, LiftSettings(encoder="captions"), CPU)


def test_the_ball_that_a_prompt_names_lights_up_while_it_flies(lifted: Run) -> None:
    prompt, ball, first, last = FLYING
    found = query(lifted, [prompt])[0]
    assert [(interval.start, interval.end) for interval in found.intervals] == [(first, last)]
    for frame in (first, last):
        lit = found.part(frame)
        away = np.linalg.norm(lifted.frame(frame).means[:, None] - balls(frame / 15), axis=-1) / RADII
        right, shows = away.argmin(axis=1) == ball - 1, lifted.frame(frame).opacities
        assert shows[lit & right].sum() > 0.95 * shows[lit].sum()
        on = (away.argmin(axis=1) == ball - 1) & (lifted.frame(frame).opacities > 0.3)
        assert lit[on].mean() > 0.9


def test_its_masks_are_those_of_the_moving_camera_and_of_the_one_that_stands(
    lifted: Run, film: Path, tmp_path: Path
) -> None:
    truth = write_truth(tmp_path / "truth", film)
    found = pipeline.evaluate(lifted.path, CPU, grounding=truth, pictures=tmp_path / "pages")
    rows = {row["camera"]: row for row in found["grounding"]["rows"]}
    assert rows[0]["tiou"] == rows[1]["tiou"] == 1
    assert rows[0]["viou"] > 0.6 and rows[1]["viou"] > 0.6
    assert {path.name for path in (tmp_path / "pages").iterdir()} >= {"contact_sheet.png", "masks_0.png"}


def test_it_is_shown_through_the_moving_camera_without_the_footage(lifted: Run, film: Path, tmp_path: Path) -> None:
    prompt, ball, first, last = FLYING
    run = Run.open(shutil.copytree(lifted.path, tmp_path / "run"))
    with run.lock():
        run.set_info(dataset=str(tmp_path / "gone"))
    write_run_video(run, tmp_path / "shown", "train", query(run, [prompt])[0], torch.device("cpu"))
    files = sorted((tmp_path / "shown").iterdir())
    assert len(files) == 16
    for frame in (first, last):
        shown = np.asarray(Image.open(files[frame]).convert("RGB")).astype(int)
        ids = np.asarray(Image.open(film / f"objects/0/{frame:06d}.png"))
        colored = np.ptp(shown, axis=-1)
        assert colored[ids == ball].mean() > 3 * colored[(ids > 0) & (ids != ball)].mean()
