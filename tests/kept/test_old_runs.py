"""Runs of the version before settings were kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from legs4d import pipeline
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.grounding import query
from tests.kept.conftest import SETTINGS, content, train
from tests.synthetic import CAPTION_FLYING

OLD = Path(__file__).parents[1] / "data" / "run_format_1"
"""Made by the version before runs kept their settings, of SCENE by SETTINGS."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_run_that_kept_no_settings_is_kept_and_that_is_said(footage: Path, old: Path) -> None:
    before = content(old)
    told = train(footage, old)
    assert not told.stages and content(old) == before
    assert "first frame, tracking, births, lift and kept no settings; what it made is kept" in told.sentences[0]
    assert query(Run.open(old), [CAPTION_FLYING])[0].relevancy.shape == (3,)
    assert pipeline.evaluate(old, Context("cpu"), dataset=footage)["psnr"] > 5


def test_of_a_run_that_kept_no_settings_the_scale_is_known(footage: Path, old: Path) -> None:
    with pytest.raises(RunDiffers, match=r"dataset\.scale: 1\.0 → 0\.99"):
        train(
            footage, old, SETTINGS.model_copy(update={"dataset": SETTINGS.dataset.model_copy(update={"scale": 0.99})})
        )


def test_a_run_begun_before_goes_on_in_its_format(footage: Path, old: Path) -> None:
    run = Run.open(old)
    run.forget_stage("lift")
    record = run.stages["tracking"]
    record.finished, record.done_frames = False, [1]
    run.set_info()
    before = run.moving(1)["means"]
    told = train(footage, old)
    assert told.stages == {"tracking", "lift"} and "began tracking" in told.sentences[1]
    assert '"format": 1' in (old / "run.json").read_text()
    np.testing.assert_array_equal(Run.open(old).moving(1)["means"], before)
    assert Run.open(old).has_codes(2)
