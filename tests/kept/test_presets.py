"""A preset that a run was made by, which is another one now, or beside which other settings were given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from legs4d.config import DeformSettings, NodeSettings, ReconstructSettings, TrackingSettings
from legs4d.gaussians.store.recorded import differences_of_settings, meant_by, recorded_reconstruction
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom, RunDiffers
from legs4d.progress import Stopped
from tests.kept.conftest import SETTINGS, content, train

QUICK = SETTINGS.model_copy(update={"preset": "quick"})
FEWER_SET = QUICK.model_copy(
    update={
        "reconstruct": SETTINGS.reconstruct.model_copy(
            update={"tracking": TrackingSettings(nodes=NodeSettings(steps=2, count=20), cameras_per_step=2)}
        )
    }
)
"""Without the number of tracking's steps, which is then the preset's."""


def as_if_the_preset_had_been(run: Path, **than: float) -> None:
    """Have a run that was made by `quick` say that it gave these settings of births other values then."""
    told = json.loads((run / "run.json").read_text())
    told["made_from"]["births"]["settings"] |= {f"reconstruct.births.fit.{name}": value for name, value in than.items()}
    (run / "run.json").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def by_preset(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("by_preset") / "run"
    train(footage, run, QUICK)
    return run


def test_what_a_preset_was_then_is_kept_and_told_and_made_anew_when_that_is_asked_for(
    footage: Path, by_preset: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(by_preset, tmp_path / "run"))
    assert not [one for one in train(footage, run, QUICK).sentences if "its preset" in one]
    as_if_the_preset_had_been(run, steps=7)
    now = QUICK.reconstruct.births.fit.steps
    before, again = content(run), train(footage, run, QUICK)
    told = f"its preset quick was another one than it is now (reconstruct.births.fit.steps: 7 → {now}), and is kept"
    assert not again.stages and any(told in one for one in again.sentences)
    assert content(run) == before
    assert not differences_of_settings(Run.open(run), QUICK, ("reconstruct",))  # what the server asks
    anew = train(footage, run, QUICK, again=True)
    assert "births" in anew.stages and not anew.stages & {"first_frame", "tracking"}
    assert recorded_reconstruction(Run.open(run))[1].births.fit.steps == now  # type: ignore[index]
    assert not [one for one in train(footage, run, QUICK).sentences if "its preset" in one]


def test_what_was_set_beside_a_preset_is_missed_where_it_is_set_no_more(
    footage: Path, by_preset: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(by_preset, tmp_path / "run"))
    as_if_the_preset_had_been(run, steps=7)
    with pytest.raises(RunDiffers) as differs:
        train(footage, run, FEWER_SET)
    assert [(one.key, one.was, one.now) for one in differs.value.differences] == [("reconstruct.tracking.steps", 2, 14)]
    # What goes on with what it was made with has the same set beside it.
    shutil.rmtree(run)
    with pytest.raises(Stopped):
        train(footage, run, QUICK, stop_in="tracking")
    train(footage, run, QUICK.model_copy(update={"preset": "auto", "reconstruct": ReconstructSettings()}))
    with pytest.raises(RunDiffers) as differs:
        train(footage, run, FEWER_SET)
    assert [one.key for one in differs.value.differences] == ["reconstruct.tracking.steps"]


def test_a_deformation_by_a_preset_means_what_the_preset_was_then(tmp_path: Path) -> None:
    run, full = Run.create(tmp_path / "run"), DeformSettings().with_preset("full")
    made = full.model_copy(update={"steps": 5, "num_points": 11, "growth": full.growth.model_copy(update={"every": 7})})
    means = {"engine": "cpu", "preset": "full", "set": "deform.num_points"}
    with run.lock():
        run.begin_stage("deform", MadeFrom.of({"deform": made}, 1, means=means))
        run.finish_stage("deform")
    given = DeformSettings(sh_degree=2)
    found = meant_by("full", given, run, None)
    assert (found.steps, found.growth.every, found.num_points, found.sh_degree) == (5, 7, full.num_points, 2)
    assert meant_by("full", given, run, None, again=True) == full.model_copy(update={"sh_degree": 2})
    assert meant_by("quick", given, run, None) == given


def test_a_run_of_before_it_was_noted_what_was_set_beside_a_preset_is_kept(
    footage: Path, by_preset: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(by_preset, tmp_path / "run"))
    state = json.loads((run / "run.json").read_text())
    for name in ("first_frame", "tracking", "births"):
        del state["made_from"][name]["means"]["set"]
    (run / "run.json").write_text(json.dumps(state))
    kept = train(footage, run, FEWER_SET)
    assert not kept.stages and any("(reconstruct.tracking.steps: 2 → 14)" in one for one in kept.sentences)
    with pytest.raises(RunDiffers, match=r"reconstruct\.tracking\.steps: 2 → 3"):
        asked = QUICK.reconstruct.model_copy(update={"tracking": TrackingSettings(steps=3)})
        train(footage, run, QUICK.model_copy(update={"reconstruct": asked}))
