"""The run folder: what it keeps, what the zarr package reads of it, and what goes on after what."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.arrays import open_array
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom, RunDiffers, StageRecord
from legs4d.progress import Stopped
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=3, width=32, height=32, num_train=3, num_test=1)
FIELDS = ("means", "quats", "scales", "opacities", "colors", "is_foreground")


def equal(a: Gaussians, b: Gaussians) -> bool:
    same = all(np.array_equal(getattr(a, f), getattr(b, f)) for f in FIELDS)
    rest = [np.empty(0) if values is None else values for values in (a.sh_rest, b.sh_rest)]
    return same and np.array_equal(rest[0], rest[1])


@pytest.fixture
def finished(tmp_path: Path) -> Run:
    return write_run(tmp_path / "run", SCENE, language=False)


# -- what it keeps ---------------------------------------------------------------------------------------------------


def test_an_opened_run_gives_back_what_was_written(finished: Run) -> None:
    run = Run.open(finished.path)
    assert (run.num_frames, run.num_gaussians) == (3, run.num_static + run.num_dynamic)
    assert equal(run.static(), SCENE.static())
    for frame in range(3):
        assert equal(run.dynamic(frame), SCENE.dynamic(frame))
        assert equal(run.frame(frame).take(slice(run.num_static, None)), SCENE.dynamic(frame))
    assert run.info["frame_numbers"] == [0, 1, 2]
    for split in ("train", "test"):
        assert run.cameras(split).ids == SCENE.cameras(split).ids
        assert np.array_equal(run.cameras(split).world_to_camera, SCENE.cameras(split).world_to_camera)
    assert run.gain()[0].shape == (3, 3)


def test_what_is_handed_out_may_be_changed_without_changing_the_run(finished: Run) -> None:
    finished.static().means[:] = 0
    finished.dynamic(1).scales[:] = 0
    finished.born[:] = 9
    assert equal(finished.static(), SCENE.static())
    assert equal(finished.dynamic(1), SCENE.dynamic(1))


def test_opacity_is_zero_outside_a_life(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    ball = SCENE.dynamic(0)
    born, died = np.zeros(len(ball), np.int32), np.full(len(ball), 2, np.int32)
    born[0], died[1] = 1, 1
    run.write_geometry(SCENE.static(), ball, 3, born=born, died=died)
    for frame in (1, 2):
        run.write_frame(frame, ball.means, ball.quats, ball.colors)
    alive = np.stack([run.dynamic(frame).opacities > 0 for frame in range(3)])
    assert alive[:, :3].T.tolist() == [[False, True, True], [True, True, False], [True, True, True]]
    assert np.array_equal(run.dynamic_opacities, ball.opacities)


def test_a_run_may_have_nothing_static(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    run.write_geometry(SCENE.static().take(slice(0)), SCENE.dynamic(0), 1)
    run = Run.open(run.path)
    assert run.num_static == 0
    assert equal(run.frame(0), SCENE.dynamic(0))


def test_codes_and_codec_come_back(finished: Run) -> None:
    rng = np.random.default_rng(0)
    static, moving = rng.random((finished.num_static, 5)), rng.random((3, finished.num_dynamic, 5))
    finished.write_codec("linear", {"mean": np.ones(7, np.float32)}, {"energy": 0.5})
    finished.write_static_codes(static, np.ones(len(static)))
    for frame in range(3):
        finished.write_codes(frame, moving[frame], np.full(finished.num_dynamic, frame))
    run = Run.open(finished.path)
    assert np.array_equal(run.static_codes()[0], static.astype(np.float16))
    assert np.array_equal(run.moving_codes(2)[0], moving[2].astype(np.float16))
    assert run.moving_codes(2)[1].tolist() == [2.0] * run.num_dynamic
    arrays, attributes = run.codec()
    assert arrays["mean"].tolist() == [1.0] * 7
    assert attributes == {"name": "linear", "energy": 0.5}


def test_the_zarr_package_reads_the_same_numbers(finished: Run) -> None:
    finished.write_codec("linear", {"mean": np.ones(7, np.float32)}, {"energy": 0.5})
    finished.write_codes(1, np.full((finished.num_dynamic, 4), 0.5), np.ones(finished.num_dynamic))
    root: Any = zarr.open_group(finished.path / "run.zarr", mode="r", zarr_format=3)
    assert np.array_equal(root["static/means"][:], SCENE.static().means)
    assert np.array_equal(root["static/is_foreground"][:], SCENE.static().is_foreground)
    assert root["dynamic/means"].chunks == (1, finished.num_dynamic, 3)
    for frame in range(3):
        assert np.array_equal(root["dynamic/quats"][frame], SCENE.dynamic(frame).quats)
    assert root["dynamic/codes"].dtype == np.float16
    assert (root["dynamic/codes"][1] == 0.5).all()
    assert np.array_equal(root["cameras/test/viewmats"][:], SCENE.cameras("test").world_to_camera)
    assert root["codec"].attrs["name"] == "linear"
    assert root["dynamic/born"].dtype == np.int32


# -- what it refuses ---------------------------------------------------------------------------------------------------


def test_folders_that_are_no_runs_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nothing.*not a run folder"):
        Run.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path / "file")
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"format": 1, "stages', "cannot be read"),
        ("[]", "not a legs4d run"),
        ('{"format": 3}', "run format 3, this legs4d reads formats 1 and 2"),
        ('{"format": 1, "stages": {"lift": {"speed": 3}}}', "stages that cannot be read"),
    ],
)
def test_a_damaged_or_foreign_run_is_refused(finished: Run, content: str, says: str) -> None:
    (finished.path / "run.json").write_text(content)
    with pytest.raises(RunError, match=says):
        Run.open(finished.path)


def test_a_run_is_only_replaced_on_request(finished: Run) -> None:
    with pytest.raises(RunError, match="already holds a run"):
        Run.create(finished.path)
    fresh = Run.create(finished.path, force=True)
    assert not fresh.has_geometry
    assert not list((finished.path).glob("run.zarr/*"))


def test_a_half_trained_run_says_what_is_missing(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    with pytest.raises(RunError, match="not reconstructed yet"):
        run.static()
    run.write_geometry(SCENE.static(), SCENE.dynamic(0), 3)
    assert (run.has_frame(0), run.has_frame(1), run.has_codes(0)) == (True, False, False)
    with pytest.raises(RunError, match=r"not reached frame 1 yet.*legs4d train"):
        run.dynamic(1)
    with pytest.raises(RunError, match="no frame 3: it has 3"):
        run.dynamic(3)
    with pytest.raises(RunError, match="no language in frame 0"):
        run.moving_codes(0)
    with pytest.raises(RunError, match="no language yet"):
        run.codec()
    with pytest.raises(RunError, match="no test cameras"):
        run.cameras("test")


def test_a_chunk_cut_short_is_noticed(finished: Run) -> None:
    chunk = finished.path / "run.zarr/dynamic/means/c.1.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-4])
    with pytest.raises(RunError, match="damaged"):
        finished.dynamic(1)


def test_values_that_are_not_finite_never_become_durable(finished: Run) -> None:
    ball = SCENE.dynamic(1)
    ball.means[3, 1] = np.nan
    with pytest.raises(RunError, match="means, frame 1: has values that are not finite"):
        finished.write_frame(1, ball.means, ball.quats, ball.colors)
    assert equal(Run.open(finished.path).dynamic(1), SCENE.dynamic(1))


def test_a_wrong_shape_is_a_programming_error(finished: Run) -> None:
    with pytest.raises(ValueError, match="means: shape"):
        finished.write_frame(1, np.zeros((2, 3)), np.zeros((2, 4)), np.zeros((2, 3)))


# -- stages ------------------------------------------------------------------------------------------------------------


def test_the_same_fingerprint_goes_on_where_it_stopped(finished: Run) -> None:
    record = finished.begin_stage("tracking", "synthetic")
    assert (record.done_frames, record.finished) == ([0, 1, 2], True)
    assert finished.has_frame(2)


def test_what_was_made_from_something_else_is_not_touched(finished: Run) -> None:
    with pytest.raises(RunDiffers, match="fingerprint: synthetic → other") as told:
        finished.begin_stage("tracking", "other")
    assert [one.stage for one in told.value.differences] == ["tracking"]
    assert Run.open(finished.path).stages == finished.stages
    assert all(finished.has_frame(frame) for frame in range(3))


def test_a_stage_that_is_forgotten_takes_those_along_that_mean_nothing_without(finished: Run) -> None:
    finished.begin_stage("lift", "a")
    finished.write_static_codes(np.zeros((finished.num_static, 2)), np.ones(finished.num_static))
    finished.write_codes(0, np.zeros((finished.num_dynamic, 2)), np.ones(finished.num_dynamic))
    finished.frame_done("lift", 0, 1.5)
    finished.forget_stage("tracking")
    assert finished.begin_stage("tracking", "other") == StageRecord("other")
    run = Run.open(finished.path)
    assert set(run.stages) == {"first_frame", "tracking"}
    assert [run.has_frame(frame) for frame in range(3)] == [True, False, False]
    assert not run.has_codes(0)
    run.forget_stage("first_frame")
    assert not Run.open(finished.path).has_geometry


def test_frames_that_were_not_reported_are_made_again(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    ball = SCENE.dynamic(0)
    run.write_geometry(SCENE.static(), ball, 3)
    run.begin_stage("tracking", "a")
    for frame in (1, 2):
        run.write_frame(frame, ball.means, ball.quats, ball.colors)
    run.frame_done("tracking", 1, 0.5)
    run = Run.open(run.path)
    assert run.begin_stage("tracking", "a").done_frames == [1]
    assert [run.has_frame(frame) for frame in range(3)] == [True, True, False]


def test_seconds_add_up_over_interruptions(finished: Run) -> None:
    finished.begin_stage("lift", "a")
    finished.frame_done("lift", 0, 1.5)
    finished = Run.open(finished.path)
    finished.frame_done("lift", 1, 2.0)
    finished.finish_stage("lift")
    assert Run.open(finished.path).stages["lift"] == StageRecord("a", [0, 1], True, 3.5)


def test_time_counts_until_work_is_stopped_or_what_was_kept_of_it(
    finished: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pieces of work are kept, one after 4 and one after 3 seconds, and a second later it is stopped."""
    clock = iter([10.0, 14.0, 17.0, 18.0, 30.0, 35.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    finished.begin_stage("lift", "a")

    def told() -> float:
        return Run.open(finished.path).stages["lift"].seconds

    with pytest.raises(Stopped), finished.timed("lift"):
        finished.note_time()
        assert told() == 4.0
        finished.note_time()
        assert told() == 7.0
        raise Stopped("lift")
    assert told() == 8.0
    gone_on = Run.open(finished.path)
    gone_on.begin_stage("lift", "a")
    with gone_on.timed("lift"):
        gone_on.finish_stage("lift")
    assert told() == 13.0


def test_reading_a_run_loads_neither_torch_nor_zarr() -> None:
    code = "import sys, json; import legs4d.gaussians.store.run; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout))
    assert not loaded & {"torch", "zarr", "pydantic", "scipy"}


def laid_out_again(run: Run) -> None:
    """One ball Gaussian more, born in frame 1, and one static one less."""
    ball = SCENE.dynamic(0)
    more = concatenate(ball, ball.take(np.array([0])))
    run.begin_stage("births", "a")
    run.lay_out_again(
        SCENE.static().take(slice(1, None)),
        more,
        lambda frame: {name: getattr(more, name) + np.float32(frame) for name in ("means", "quats", "colors")},
        born=np.append(np.zeros(len(ball), np.int32), np.int32(1)),
        died=np.full(len(more), 2, np.int32),
        seen=(np.ones(len(SCENE.static()) - 1), np.linspace(0, 1, len(more))),
        finishes="births",
    )


def test_a_layout_replaces_another_and_is_undone_with_its_stage(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "run", Scene(num_frames=3), language=False)
    ball, still = len(SCENE.dynamic(0)), len(SCENE.static())
    frames, before = [whole.moving(frame) for frame in range(3)], whole.geometry_id
    with whole.lock():
        whole.write_attached("segments", {"start": np.zeros(1, np.int32)}, {})
        laid_out_again(whole)
        run = Run.open(whole.path)
        assert run.read_attached("segments") is None, "it speaks of Gaussians that are gone"
        assert (run.num_static, run.num_dynamic) == (still - 1, ball + 1) and run.geometry_id != before
        assert run.has_finished("births") and run.available_frames() == [0, 1, 2]
        np.testing.assert_array_equal(run.dynamic(2).means[-1], SCENE.dynamic(0).means[0] + 2)
        seen = run.seen(1)
        assert seen is not None and (seen[: still - 1] == 1).all() and seen[still - 1] == 0 and seen[-1] == 1
        assert [run.dynamic(frame).opacities[-1] > 0 for frame in range(3)] == [False, True, True]
    with run.lock():
        run.write_attached("segments", {"start": np.zeros(1, np.int32)}, {})
        run.forget_stage("births")
        assert run.read_attached("segments") is None, "it speaks of Gaussians that are gone"
        assert (run.num_static, run.num_dynamic) == (still, ball)
        assert run.has_finished("tracking") and Run.open(run.path).available_frames() == [0, 1, 2]
        assert run.seen(1) is None
        for frame, was in enumerate(frames):
            for name, values in run.moving(frame).items():
                np.testing.assert_array_equal(values, was[name])


def test_nothing_is_attached_to_gaussians_that_births_will_replace(finished: Run) -> None:
    assert finished.require_geometry().finished
    finished.begin_stage("births", "a")
    assert finished.available_frames() == [0, 1, 2], "tracked frames may be looked at"
    with pytest.raises(RunError, match="not reconstructed yet"):
        finished.require_geometry()


def test_births_that_were_a_part_of_tracking_are_known_as_a_stage_and_begin_with_tracking(tmp_path: Path) -> None:
    """As versions wrote it whose tracking ended with them, and kept of what it replaced the first frame alone."""
    run = write_run(tmp_path / "run", Scene(num_frames=3), language=False)
    ball = len(SCENE.dynamic(0))
    with run.lock():
        laid_out_again(run)
    for frame in (1, 2):
        for name in ("means", "quats", "colors"):
            open_array(run.path / "run.zarr/before/dynamic" / name).discard(frame)
    told = run.path / "run.zarr/before/zarr.json"
    told.write_text(told.read_text().replace('"births"', '"tracking"'))
    state = json.loads((run.path / "run.json").read_text())
    del state["knows"], state["stages"]["births"]
    settings = {"reconstruct.tracking.steps": 14, "reconstruct.births.frames": 10}
    state["made_from"] = {"tracking": {"settings": settings, "version": 5}}
    (run.path / "run.json").write_text(json.dumps(state))

    old = Run.open(run.path)
    births = old.stages["births"]
    assert births.finished and births.made_from == MadeFrom({"reconstruct.births.frames": 10}, 5)
    assert old.layout is births and births.fingerprint == old.stages["tracking"].fingerprint
    assert old.num_dynamic == ball + 1 and old.available_frames() == [0, 1, 2]
    old.set_info(fps=9.0)
    assert Run.open(run.path).stages == old.stages
    with old.lock():
        old.forget_stage("births")
    assert set(old.stages) == {"first_frame"} and old.num_dynamic == ball
    np.testing.assert_array_equal(old.moving(0)["means"], SCENE.dynamic(0).means)


def test_tracking_that_is_finished_now_has_no_births_until_they_are_found(tmp_path: Path) -> None:
    assert "births" not in Run.open(write_run(tmp_path / "run", Scene(num_frames=3), language=False).path).stages


def test_refining_keeps_what_cameras_saw(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Scene(num_frames=3), language=False)
    with run.lock():
        laid_out_again(run)
        run.write_marks("seen", np.linspace(0, 1, run.num_static), np.ones(run.num_dynamic))
        before, dynamic = run.seen(1), run.dynamic(0)
        assert before is not None and before.min() == 0
        run.amend(run.static(), dynamic.scales, run.dynamic_opacities)
        np.testing.assert_array_equal(Run.open(run.path).seen(1), before)
        run.restore()
    np.testing.assert_array_equal(Run.open(run.path).seen(1), before)
