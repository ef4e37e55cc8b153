"""Large pictures: what is advised before minutes are spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from legs4d.config import DatasetSettings, TrainSettings
from legs4d.context import Context
from legs4d.gaussians.store.again import run_in
from legs4d.plan import PIXELS, Plan
from legs4d.scene.readers import open_sequence
from tests.synthetic import Scene, write_dataset, write_run


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """64×48 pixels, to a machine for which that is much."""
    monkeypatch.setitem(PIXELS, "cpu", (1000, 200))
    return write_dataset(tmp_path / "large", Scene(num_frames=1, width=64, height=48, num_train=2, num_test=1))


def advice(dataset: Path, out: Path, scale: float = 1.0, parts: tuple[str, ...] = ("reconstruct",)) -> str | None:
    settings = TrainSettings(dataset=DatasetSettings(scale=scale))
    return Plan(open_sequence(dataset, settings.dataset), settings, Context("cpu"), parts).advice(run_in(out))


def test_a_scale_is_advised_that_suits_the_machine(large: Path, tmp_path: Path) -> None:
    said = advice(large, tmp_path / "run")
    assert said is not None and "of 64×48 pixels, 9.2e-05 GiB a frame" in said
    assert "--scale 0.25 (16×12) takes about a 16th of the time." in said
    said = advice(large, tmp_path / "run", 0.75)
    assert said is not None and "--scale 0.1875 (12×9) takes about a 16th" in said


def test_nothing_is_advised_where_it_would_not_help(large: Path, tmp_path: Path) -> None:
    assert advice(large, tmp_path / "run", 0.5) is None, "small enough"
    assert advice(large, tmp_path / "run", parts=("lift",)) is None, "nothing is reconstructed"
    run = write_run(tmp_path / "begun", Scene(num_frames=2, width=16, height=12))
    assert advice(large, run.path) is None, "it is too late"
