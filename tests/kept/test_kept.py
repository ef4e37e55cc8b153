"""What is finished is kept: runs whose settings are others, whose maker was killed."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from legs4d import imports, pipeline
from legs4d.config import (
    BirthSettings,
    CodecSettings,
    ExtractSettings,
    LiftSettings,
    ReconstructSettings,
    TrackingSettings,
)
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.objects import name_object, read_objects
from legs4d.gaussians.selections import Selection, selection_names, write_selection
from legs4d.gaussians.store import swap
from legs4d.gaussians.store.recorded import differences_of_settings
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.grounding import query
from legs4d.progress import Stopped
from legs4d.reconstruct import calibration
from tests.kept.conftest import SETTINGS, content, train
from tests.synthetic import CAPTION_FLYING

BIRTHS = "comparing_frames", "births", "writing_frames"
"""What progress tells while births are found."""
OTHER_CODEC = SETTINGS.model_copy(update={"lift": LiftSettings(encoder="captions", codec=CodecSettings(dim=3))})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"dataset": SETTINGS.dataset.model_copy(update={"scale": 0.99})}, [("dataset.scale", 1.0, 0.99)]),
        ({"lift": OTHER_CODEC.lift}, [("lift.codec.dim", 4, 3)]),
        ({"lift": LiftSettings(encoder="tiny", codec=CodecSettings(dim=4))}, [("lift.encoder", "captions", "tiny")]),
        (
            {"preset": "quick", "reconstruct": ReconstructSettings()},
            [("reconstruct.first_frame.steps", 20, 420), ("reconstruct.tracking.steps", 2, 14)],
        ),
    ],
)
def test_what_differs_is_told_setting_by_setting_and_nothing_is_changed(
    footage: Path, run: Path, asked: dict[str, object], told: list[tuple[str, object, object]]
) -> None:
    before, state = content(run), (run / "run.json").read_text()
    with pytest.raises(RunDiffers, match=r"--again .* or another --out") as differs:
        train(footage, run, SETTINGS.model_copy(update=asked))
    found = [(one.key, one.was, one.now) for one in differs.value.differences]
    assert set(told) <= set(found)
    assert f"{told[0][0]}: {told[0][1]} → {told[0][2]}" in str(differs.value)
    assert (content(run), (run / "run.json").read_text()) == (before, state)


def test_what_the_machine_would_choose_is_what_the_run_has(footage: Path, run: Path) -> None:
    asked = SETTINGS.model_copy(update={"preset": "auto", "lift": SETTINGS.lift.model_copy(update={"encoder": "auto"})})
    assert not train(footage, run, asked).stages


def test_newer_defaults_and_settings_that_are_gone_redo_nothing(footage: Path, run: Path) -> None:
    told = json.loads((run / "run.json").read_text())
    births = told["made_from"]["births"]["settings"]
    births["reconstruct.births.fit.rates.means"] /= 2
    births |= {"reconstruct.births.fit.a_setting_of_then": 12, "reconstruct.births.some_of_then.steps": 3}
    (run / "run.json").write_text(json.dumps(told))
    assert not train(footage, run, SETTINGS.model_copy(update={"preset": "auto"})).stages


def test_matches_to_start_from_are_compared_where_they_are_asked_for(
    footage: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    with_them = SETTINGS.model_copy(update={"matches": "lightglue"})
    with pytest.raises(Legs4dError, match=r"the weights of lightglue are not there; fetch them by"):
        train(footage, run, with_them)
    monkeypatch.setattr(calibration, "check_matcher", lambda: None)
    asked = [(with_them, "none"), (SETTINGS.model_copy(update={"matches": "none"}), "lightglue")]
    for settings, was in asked:
        Run.open(run).set_info(matches=was)
        with pytest.raises(RunDiffers, match=f"was made otherwise .matches: {was} → {settings.matches}.*--again"):
            train(footage, run, settings)
        assert differences_of_settings(Run.open(run), settings, ("reconstruct",))[0].key == "matches"
        assert train(footage, run).stages == set()  # nobody asks: the run has what it has
    state = json.loads((run / "run.json").read_text())
    del state["info"]["matches"]
    for points, differ in ((0, False), (80, True)):  # as the version before noted it
        state["info"]["matched_points"] = points
        (run / "run.json").write_text(json.dumps(state))
        assert bool(differences_of_settings(Run.open(run), asked[1][0], ("reconstruct",))) == differ
    assert not train(footage, Path(run), SETTINGS).stages


def test_that_lightglue_came_or_went_since_is_said(
    footage: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "has_matcher", lambda: True)
    assert Run.open(run).info["matches"] == "none"
    told = train(footage, run)
    assert not told.stages and any("was begun without matches of LightGlue" in one for one in told.sentences)
    Run.open(run).set_info(matches="lightglue")
    assert not any("LightGlue" in one for one in train(footage, run).sentences)
    monkeypatch.setattr(calibration, "has_matcher", lambda: False)
    told = train(footage, run, again=True)
    assert any("which is not here: anew it begins without them" in one for one in told.sentences)
    assert Run.open(run).info["matches"] == "none"


def test_a_changed_lift_alone_is_made_anew_beside_the_old(footage: Path, run: Path) -> None:
    before = content(run)
    with pytest.raises(Stopped):
        train(footage, run, OTHER_CODEC, again=True, stop_in="lift")
    assert content(run) == before
    assert query(Run.open(run), [CAPTION_FLYING])[0].relevancy.shape == (3,)
    made = train(footage, run, OTHER_CODEC, again=True)
    assert made.stages == {"lift"} and "goes on making lift anew" in made.sentences[0]
    after = content(run)
    assert Run.open(run).moving_codes(1)[0].shape[1] == 3
    same = [name for name in before if "codes" not in name and "codec" not in name and "confidence" not in name]
    assert all(after[name] == before[name] for name in same)
    assert not (run / swap.REMADE).exists()
    assert not train(footage, run, OTHER_CODEC).stages


def test_a_command_without_another_out_does_not_advise_one(run: Path) -> None:
    with pytest.raises(RunDiffers, match=r"codec\.dim: 4 → 3.*--again .*copy of the run") as differs:
        pipeline.lift(run, OTHER_CODEC.lift, Context("cpu"))
    assert "--out" not in str(differs.value)


def test_an_option_that_changes_nothing_is_told(footage: Path, run: Path) -> None:
    told = train(footage, run, SETTINGS.model_copy(update={"extract": ExtractSettings(every=2)}))
    assert not told.stages and "(--every) changes nothing: captions do not look" in " ".join(told.sentences)
    assert not any("--every" in sentence for sentence in train(footage, run).sentences)
    for call in (partial(imports.import_params, "x.npz"), partial(imports.import_4legs, "x", "ball")):
        with pytest.raises(Legs4dError, match="--scale: is of footage, and none is given"):
            call(run.parent / "other", scale=0.5)
    assert not (run.parent / "other").exists()


def test_other_settings_of_births_keep_what_was_tracked(footage: Path, run: Path) -> None:
    before = content(run)
    reconstruct = SETTINGS.reconstruct.model_copy(update={"births": BirthSettings(frames=2)})
    fewer = SETTINGS.model_copy(update={"reconstruct": reconstruct})
    with pytest.raises(RunDiffers, match=r"reconstruct\.births\.frames: 10 → 2"):
        train(footage, run, fewer)
    assert content(run) == before
    told = train(footage, run, fewer, again=True)
    assert (
        told.stages == {*BIRTHS, "objects", "lift"} and "births, objects, lift will be made anew" in told.sentences[0]
    )
    assert train(footage, run, again=True).stages == {*BIRTHS, "objects", "lift"}
    assert content(run) == before


def test_what_objects_are_called_outlives_their_gaussians_and_what_goes_is_said(footage: Path, run: Path) -> None:
    opened = Run.open(run)
    with opened.lock():
        number = (read_objects(opened) or pytest.fail()).ids[0]
        name_object(opened, number, "the ball №1")
        write_selection(opened, Selection("what I chose", np.ones(opened.num_gaussians, np.float32)))
    fewer = SETTINGS.reconstruct.model_copy(update={"births": BirthSettings(frames=2)})
    for reconstruct in (fewer, fewer.model_copy(update={"tracking": TrackingSettings(steps=1)})):
        told = train(footage, run, SETTINGS.model_copy(update={"reconstruct": reconstruct}), again=True)
        assert told.sentences[-1].endswith(": what I chose") is (reconstruct is fewer)
        assert (read_objects(Run.open(run)) or pytest.fail()).names[0] == "the ball №1"
    assert selection_names(Run.open(run)) == []


def test_asked_for_again_without_a_difference_all_is_made_anew(footage: Path, run: Path) -> None:
    before = content(run)
    mark = Run.open(run).geometry_id
    assert train(footage, run, again=True).stages == {"first_frame", "tracking", *BIRTHS, "objects", "lift"}
    assert content(run) == before  # the same settings on the same processor
    assert Run.open(run).geometry_id != mark


@pytest.mark.parametrize("renames", range(7))
def test_a_kill_while_the_new_takes_the_olds_place_loses_neither(
    footage: Path, run: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0

    class Killed(BaseException):
        pass

    def counted(rename: Callable[..., Path]) -> Callable[..., Path]:
        def renamed(*what: Path) -> Path:
            nonlocal done
            if done == renames:
                raise Killed
            done += 1
            return rename(*what)

        return renamed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        real = swap._rename

        def rename(folder: Path) -> None:
            patched.setattr(Path, "rename", counted(Path.rename))
            patched.setattr(Path, "replace", counted(Path.replace))
            real(folder)
            raise Killed

        patched.setattr(swap, "_rename", rename)
        train(footage, run, OTHER_CODEC, again=True)
    opened = Run.open(run)
    assert opened.moving_codes(1)[0].shape[1] == 3 and opened.stages["lift"].finished
    assert not train(footage, run, OTHER_CODEC).stages
