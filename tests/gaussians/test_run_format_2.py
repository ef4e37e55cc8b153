"""What format 2 of the run folder adds: Gaussians without identity, what changes in time, view dependence, marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from legs4d.errors import RunError
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from tests.gaussians.test_store import equal

COUNTS = (3, 0, 5, 4)
RNG = np.random.default_rng(7)


def splats(count: int, sh: int = 0) -> Gaussians:
    """Any `count` Gaussians, with `sh` coefficients of view dependence."""

    def of(*shape: int) -> Any:
        return RNG.random((count, *shape)).astype(np.float32)

    quats = of(4) + 0.1
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    rest = of(sh, 3) if sh else None
    return Gaussians(of(3), quats, of(3), of(), of(3), np.arange(count) % 2 == 0, rest)


NOTHING = splats(0)


@pytest.fixture
def loose(tmp_path: Path) -> tuple[Run, Gaussians, list[Gaussians]]:
    """A run of 6 static Gaussians and four frames of others, with view dependence of degree 1."""
    run, still, frames = Run.create(tmp_path / "run"), splats(6, 3), [splats(count, 3) for count in COUNTS]
    run.begin_stage("import", "all of them")
    run.write_geometry(still, NOTHING, 4, max_loose=max(COUNTS), loose_sh=3)
    for frame, gaussians in enumerate(frames):
        run.write_loose(frame, gaussians, seen=np.full(len(gaussians), 0.5), objects=np.arange(len(gaussians)) - 1)
        run.frame_done("import", frame, 0.1)
    run.finish_stage("import")
    return run, still, frames


def test_frames_without_identity_come_back_with_the_count_that_each_has(
    loose: tuple[Run, Gaussians, list[Gaussians]],
) -> None:
    run, still, frames = Run.open(loose[0].path), *loose[1:]
    assert (run.format, run.has_loose, run.max_loose) == (2, True, 5)
    assert run.loose_counts.tolist() == list(COUNTS)
    assert (run.num_static, run.num_dynamic, run.num_gaussians) == (6, 0, 6)
    for frame, expected in enumerate(frames):
        assert equal(run.loose(frame), expected)
        assert equal(run.frame(frame), concatenate(still, expected))
        assert run.count(frame) == 6 + len(expected) == len(run.frame(frame))
        seen, objects = run.seen(frame), run.object_ids(frame)
        assert seen is not None and objects is not None
        assert seen.tolist() == [1.0] * 6 + [0.5] * len(expected)
        assert objects.tolist() == [-1] * 6 + [*range(-1, len(expected) - 1)]
    assert run.available_frames() == [0, 1, 2, 3] and run.require_geometry().finished


def test_the_zarr_package_reads_loose_frames(loose: tuple[Run, Gaussians, list[Gaussians]]) -> None:
    run, _, frames = loose
    root: Any = zarr.open_group(run.path / "run.zarr", mode="r", zarr_format=3)
    assert root["loose/count"][:].tolist() == list(COUNTS)
    assert root["loose/means"].chunks == (1, 5, 3)
    assert (root["loose/sh_rest"][3, :4] == frames[3].sh_rest).all()
    assert not root["loose/scales"][0, 3:].any()  # padding
    assert root["loose/object"].dtype == np.int16 and root["loose/seen"].dtype == np.float16


def test_what_a_killed_import_did_not_report_is_not_there(loose: tuple[Run, Gaussians, list[Gaussians]]) -> None:
    run = loose[0]
    state = json.loads((run.path / "run.json").read_text())
    state["stages"]["import"] |= {"finished": False, "done_frames": [0, 2]}
    (run.path / "run.json").write_text(json.dumps(state))
    run = Run.open(run.path)
    assert run.available_frames() == [0, 2]
    with run.lock():
        assert run.begin_stage("import", "all of them").done_frames == [0, 2]
        assert [run.has_frame(frame) for frame in range(4)] == [True, False, True, False]
        with pytest.raises(RunError, match="not reached frame 1"):
            run.frame(1)
        with pytest.raises(RunError, match="not reconstructed yet"):
            run.require_geometry()


def test_a_loose_frame_without_a_place_is_a_programming_error(
    loose: tuple[Run, Gaussians, list[Gaussians]],
) -> None:
    with pytest.raises(ValueError, match="6 loose Gaussians in frame 0, there is room for 5"):
        loose[0].write_loose(0, splats(6, 3))


def test_codes_of_loose_frames_follow_those_with_ids(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    moving = splats(2)
    run.write_geometry(splats(1), moving, 2, max_loose=3)
    run.write_frame(1, moving.means, moving.quats, moving.colors)
    for frame, count in enumerate((3, 1)):
        run.write_loose(frame, splats(count))
        assert not run.has_codes(frame)
        codes = np.arange((2 + count) * 4).reshape(-1, 4)
        run.write_codes(frame, codes, np.arange(2 + count))
        run.write_static_codes(np.ones((1, 4)), np.ones(1))
        assert run.has_codes(frame)
        for found in (Run.open(run.path).moving_codes(frame), Run.open(run.path).map_moving_codes(frame)):
            assert np.array_equal(found[0], codes) and found[1].tolist() == [*range(2 + count)]


def test_scales_opacities_and_view_dependence_may_change_in_time(tmp_path: Path) -> None:
    run, states = Run.create(tmp_path / "run"), [splats(4, 8) for _ in range(3)]
    first = states[0]
    born = np.array([0, 1, 0, 0], np.int32)
    run.write_geometry(NOTHING, first, 3, changing=("scales", "opacities", "sh_rest"), born=born)
    for frame, state in enumerate(states[1:], 1):
        changing = {"scales": state.scales, "opacities": state.opacities, "sh_rest": state.sh_rest}
        run.write_frame(frame, state.means, state.quats, state.colors, **changing)
    run = Run.open(run.path)
    assert run.changing == ("scales", "opacities", "sh_rest")
    assert run.dynamic(0).opacities[1] == 0  # not born yet
    assert set(run.moving(1)) == {"means", "quats", "colors", "scales", "opacities", "sh_rest"}
    for frame in (1, 2):
        found = run.dynamic(frame)
        assert equal(found, states[frame].replace(is_foreground=first.is_foreground))
    with pytest.raises(ValueError, match=r"given \[\], but"):
        run.write_frame(1, first.means, first.quats, first.colors)


def test_constant_view_dependence_of_parts_of_different_degree(tmp_path: Path) -> None:
    run, still, moving = Run.create(tmp_path / "run"), splats(2), splats(3, 8)
    run.write_geometry(still, moving, 1)
    everything = Run.open(run.path).frame(0)
    assert everything.sh_rest is not None and everything.sh_rest.shape == (5, 8, 3)
    assert not everything.sh_rest[:2].any() and (everything.sh_rest[2:] == moving.sh_rest).all()


def test_one_frame_means_static(tmp_path: Path) -> None:
    run, still = Run.create(tmp_path / "run"), splats(5, 15)
    run.write_geometry(still, NOTHING, 1)
    run = Run.open(run.path)
    assert run.available_frames() == [0] and run.loose_counts.tolist() == [0]
    assert equal(run.frame(0), concatenate(still, NOTHING))
    assert run.seen(0) is None and run.object_ids(0) is None
    run.write_marks("seen", np.linspace(0, 1, 5), np.empty(0))
    np.testing.assert_allclose(Run.open(run.path).seen(0), np.linspace(0, 1, 5), atol=1e-3)  # type: ignore[arg-type]


def test_a_run_goes_on_in_the_format_that_it_was_begun_in(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    state = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**state, "format": 1}))
    old = Run.open(run.path)
    old.write_geometry(splats(2), splats(2), 1)
    assert json.loads((run.path / "run.json").read_text())["format"] == 1
    with pytest.raises(RunError, match="begun in run format 1"):
        old.write_geometry(splats(2), splats(2), 1, max_loose=4)


def test_up_is_what_the_run_says_else_what_its_cameras_say(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run")
    assert run.up.tolist() == [0, -1, 0]
    run.set_info(down=[0.0, 0.6, 0.8])
    np.testing.assert_allclose(run.up, [0, -0.6, -0.8])
    run.set_info(up=[0.0, 0.0, 1.0])
    assert Run.open(run.path).up.tolist() == [0, 0, 1]
