"""Splat files of other programs as runs; plyfile writes the files, from columns that the right answers come from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from typer.testing import CliRunner

from legs4d.cli import app
from legs4d.context import Context
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.formats.usd_writer import usd_writer
from legs4d.gaussians.import_splats import import_splats, moved
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.grounding import query
from legs4d.portable.ply.file import read_ply
from legs4d.portable.turns import upright_turn
from legs4d.progress import Progress, Stopped
from tests.gaussians.crowd import crowd
from tests.gaussians.written import COUNT, apart, values, walk, write
from tests.synthetic import Scene, write_run

# -- what it becomes ---------------------------------------------------------------------------------------------------


def test_one_file_is_a_static_run_with_view_dependence(tmp_path: Path) -> None:
    columns = values(rest=45)
    run = import_splats([write(tmp_path / "scene.ply", columns)], tmp_path / "run")
    run = Run.open(run.path)
    assert (run.num_frames, run.num_static, run.num_dynamic, run.max_loose) == (1, COUNT, 0, 0)
    found = run.frame(0)
    np.testing.assert_array_equal(found.means, np.stack([columns[n] for n in "xyz"], axis=1))
    scales = np.stack([columns[f"scale_{i}"] for i in range(3)], axis=1)
    np.testing.assert_allclose(found.scales, np.exp(scales), rtol=1e-5)
    np.testing.assert_allclose(found.opacities, 1 / (1 + np.exp(-columns["opacity"])), rtol=1e-5)
    quats = np.stack([columns[f"rot_{i}"] for i in range(4)], axis=1)
    np.testing.assert_allclose(found.quats, quats / np.linalg.norm(quats, axis=1, keepdims=True), atol=1e-6)
    rest = np.stack([columns[f"f_rest_{i}"] for i in range(45)], axis=1).reshape(-1, 3, 15)  # channel by channel
    np.testing.assert_array_equal(found.sh_rest, rest.transpose(0, 2, 1))
    assert run.info["kind"] == "imported" and run.up.tolist() == [0, -1, 0]
    assert run.info["report"]["identity"] == "static"


def test_rows_that_move_little_keep_their_ids(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk")], tmp_path / "run")
    assert (run.num_dynamic, run.num_static, run.has_loose, run.changing) == (COUNT, 0, False, ())
    start = run.dynamic(0).means
    for frame in range(4):
        np.testing.assert_allclose(run.dynamic(frame).means - start, [[0.05 * frame, 0, 0]] * COUNT, atol=1e-5)
    assert "rows move 0.0" in run.info["report"]["why"]


def test_what_changes_beside_the_place_is_kept_too(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk", opacity=0.1, scale_1=-0.2)], tmp_path / "run")
    assert run.changing == ("scales", "opacities")
    first, last = run.dynamic(0), run.dynamic(3)
    np.testing.assert_allclose(last.scales / first.scales, [[1, np.exp(-0.6), 1]] * COUNT, rtol=1e-5)
    raised = np.log(last.opacities / (1 - last.opacities)) - np.log(first.opacities / (1 - first.opacities))
    np.testing.assert_allclose(raised, 0.3, atol=1e-4)


def test_a_change_in_a_frame_that_was_not_looked_at_before_is_not_lost(tmp_path: Path) -> None:
    folder = walk(tmp_path / "walk", frames=24)
    columns = values()
    columns["opacity"] = columns["opacity"] - 2
    write(folder / "frame_11.ply", columns)
    run = import_splats([folder], tmp_path / "run")
    assert run.changing == ("opacities",)
    np.testing.assert_allclose(run.dynamic(11).opacities, read_ply(folder / "frame_11.ply").opacities, rtol=1e-6)
    np.testing.assert_allclose(run.dynamic(12).opacities, run.dynamic(0).opacities, rtol=1e-6)


def test_frames_of_other_counts_have_no_identity(tmp_path: Path) -> None:
    run = import_splats([apart(tmp_path / "apart", (5, 9, 3))], tmp_path / "run")
    assert run.has_loose and run.loose_counts.tolist() == [5, 9, 3] and run.num_gaussians == 0
    for frame, count in enumerate((5, 9, 3)):
        columns = values(count, seed=frame)
        np.testing.assert_array_equal(run.frame(frame).means, np.stack([columns[n] for n in "xyz"], axis=1))
    assert run.info["report"]["why"] == "frame 0 has 5 Gaussians and frame 1 has 9"


def test_equal_counts_alone_are_no_identity(tmp_path: Path) -> None:
    run = import_splats([apart(tmp_path / "apart", (COUNT,) * 3)], tmp_path / "run")
    assert run.has_loose and run.info["report"]["identity"] == "none"
    kept = import_splats([tmp_path / "apart"], tmp_path / "kept", identity="keep")
    assert kept.num_dynamic == COUNT and kept.info["report"]["why"] == "as --identity says"
    loose = import_splats([walk(tmp_path / "walk")], tmp_path / "loose", identity="none")
    assert loose.has_loose


def test_a_frame_that_loses_gaussians_has_no_identity(tmp_path: Path) -> None:
    folder = walk(tmp_path / "walk", frames=12)
    columns = values()
    columns["opacity"][3] = np.nan
    write(folder / "frame_5.ply", columns)
    run = import_splats([folder], tmp_path / "run")
    assert run.loose_counts.tolist() == [COUNT] * 5 + [COUNT - 1] + [COUNT] * 6
    assert run.info["report"]["dropped"] == {"5": 1}
    with pytest.raises(DatasetError, match=r"frame 5 has 39 Gaussians.*--identity none"):
        import_splats([folder], tmp_path / "other", identity="keep")


def test_frames_of_more_view_dependence_than_the_first(tmp_path: Path) -> None:
    for frame, rest in enumerate((0, 9, 24)):
        write(tmp_path / f"apart/{frame}.ply", values(5 + frame, seed=frame, rest=rest))
    run = import_splats([tmp_path / "apart"], tmp_path / "run")
    found = [run.loose(frame).sh_rest for frame in range(3)]
    assert all(rest is not None and rest.shape[1] == 8 for rest in found)
    assert found[0] is not None and not found[0].any()
    assert found[1] is not None and found[1][:, :3].any() and not found[1][:, 3:].any()


def test_unrelated_rows_are_told_from_moving_ones() -> None:
    one, other = (np.random.default_rng(seed).normal(size=(2000, 3)).astype(np.float32) for seed in range(2))
    assert moved(one, one) == 0 and 0.9 < moved(one, other) < 1.1
    assert 0.9 < moved(one, np.random.default_rng(2).permutation(one)) < 1.1
    assert moved(one, one[1:]) == 1 and moved(one, one + np.full(3, 30, np.float32)) < 1e-5
    many = np.random.default_rng(3).normal(size=(50_000, 3)).astype(np.float32)
    assert moved(many, many) == 0 and 0.9 < moved(many, many[::-1]) < 1.1


def test_rows_of_another_order_in_a_frame_that_was_not_looked_at_before(tmp_path: Path) -> None:
    folder = walk(tmp_path / "walk", frames=12, step=0.0)
    order = np.random.default_rng(0).permutation(COUNT)
    write(folder / "frame_5.ply", {name: column[order] for name, column in values().items()})
    run = import_splats([folder], tmp_path / "run")
    assert run.has_loose and run.available_frames() == list(range(12))
    assert "from frame 4 to 5" in run.info["report"]["why"]
    kept = import_splats([folder], tmp_path / "kept", identity="keep")
    np.testing.assert_array_equal(kept.dynamic(5).means, kept.dynamic(4).means[order])


# -- what can be said --------------------------------------------------------------------------------------------------


def test_up_and_rate(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk")], tmp_path / "run", fps=24, up=(0, 0, 2))
    assert run.info["fps"] == 24 and run.up.tolist() == [0, 0, 1]
    np.testing.assert_allclose(run.info["times"], np.arange(4) / 24)
    assert run.info["report"]["axes"] == "as --up says"
    cameras = run.cameras("train").world_to_camera
    run = import_splats([tmp_path / "walk"], tmp_path / "run")
    assert run.info["fps"] == 30 and run.up.tolist() == [0, -1, 0]
    new = import_splats([tmp_path / "walk"], tmp_path / "new").cameras("train").world_to_camera
    np.testing.assert_array_equal(run.cameras("train").world_to_camera, new)  # the cameras turn back with it
    assert not np.array_equal(cameras, new)
    with pytest.raises(DatasetError, match="is no direction"):
        import_splats([tmp_path / "walk"], tmp_path / "other", up=(0, 0, 0))


@pytest.mark.parametrize(
    ("told", "right"), [((1e300, 1e300, 0), (0.5**0.5, 0.5**0.5, 0)), ((0, 0, -1e-320), (0, 0, -1))]
)
def test_a_direction_of_any_length(
    told: tuple[float, float, float], right: tuple[float, float, float], tmp_path: Path
) -> None:
    run = import_splats([write(tmp_path / "scene.ply", values())], tmp_path / "run", up=told)
    np.testing.assert_allclose(run.up, right)


@pytest.mark.parametrize("suffix", [".usdc", ".usda", ".usdz"])
def test_what_stands_still_in_usd_is_a_run_of_one_frame(suffix: str, tmp_path: Path) -> None:
    with usd_writer(tmp_path / f"scene{suffix}", fps=24, turn=upright_turn([0, 1, 0])) as writer:
        writer.add("Static", crowd(20))
    run = import_splats([tmp_path / f"scene{suffix}"], tmp_path / "run")
    assert (run.num_frames, run.num_static, run.static().sh_rest is None) == (1, 20, False)


def test_it_is_seen_from_a_circle_of_cameras_that_hold_it_in_view(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk")], tmp_path / "run", up=(0, 0, 1))
    cameras, means = run.cameras("train"), run.frame(0).means
    for pose, lens in zip(cameras.world_to_camera, cameras.intrinsics, strict=True):
        local = means @ pose[:3, :3].T + pose[:3, 3]
        pixels = (local @ lens.T)[:, :2] / local[:, 2:]
        inside = (local[:, 2] > run.info["near"]) & (pixels >= 0).all(axis=1) & (pixels < [640, 480]).all(axis=1)
        assert inside.mean() > 0.9
        assert pose[1, 2] < 0  # its downward axis points against up


def test_a_georeferenced_scene_keeps_its_precision(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    local, utm = chance.normal(size=(COUNT, 3)), np.array([500_000.0, 5_400_000.0, 300.0])
    rows = np.empty(
        COUNT, [(name, "<f8") for name in "xyz"] + [(name, "<f4") for name in values() if name not in "xyz"]
    )
    for name, column in values().items():
        rows[name] = column
    for axis, name in enumerate("xyz"):
        rows[name] = local[:, axis] + utm[axis]
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(tmp_path / "utm.ply"))
    run = import_splats([tmp_path / "utm.ply"], tmp_path / "run")
    world = run.frame(0).means.astype(np.float64) + np.asarray(run.info["origin"])
    np.testing.assert_allclose(world, local + utm, atol=1e-5)


# -- stopping, and again -----------------------------------------------------------------------------------------------


class StopAt:
    def __init__(self, frames: int) -> None:
        self.frames, self.reached = frames, False

    def progress(self, progress: Progress) -> None:
        self.reached |= progress.stage == "import" and progress.done >= self.frames

    def is_set(self) -> bool:
        return self.reached


@pytest.mark.parametrize("loose", [False, True])
def test_a_stopped_import_goes_on_to_the_same_run(tmp_path: Path, loose: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("legs4d.progress.StageReporter.INTERVAL", 0.0)
    folder = apart(tmp_path / "f", (5, 6, 7, 8)) if loose else walk(tmp_path / "f", opacity=0.1)
    at_once = import_splats([folder], tmp_path / "once")
    stop = StopAt(2)
    with pytest.raises(Stopped):
        import_splats([folder], tmp_path / "run", Context(progress=stop.progress, stop=stop))
    assert Run.open(tmp_path / "run").available_frames() in ([0, 1], [0, 1, 2])  # it may be about to write one
    with pytest.raises(RunError, match="frame 3 yet; run the same `legs4d import-splats` command again"):
        Run.open(tmp_path / "run").frame(3)
    resumed = import_splats([folder], tmp_path / "run")
    for frame in range(4):
        for name in ("means", "quats", "scales", "opacities", "colors"):
            assert np.array_equal(getattr(resumed.frame(frame), name), getattr(at_once.frame(frame), name))


def test_another_import_into_the_same_folder_is_told_and_refused(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk")], tmp_path / "run")
    before = run.frame(2)
    with pytest.raises(RunDiffers, match="files: another one than import was made from"):
        import_splats([apart(tmp_path / "apart", (4, 5))], tmp_path / "run")
    with pytest.raises(RunDiffers, match="identity: auto → none"):
        import_splats([tmp_path / "walk"], tmp_path / "run", identity="none")
    assert np.array_equal(Run.open(run.path).frame(2).means, before.means)
    again = import_splats([tmp_path / "walk"], tmp_path / "run", fps=12)  # the same files: nothing is done anew
    assert again.info["fps"] == 12
    anew = import_splats([tmp_path / "apart"], tmp_path / "run", again=True)
    assert anew.loose_counts.tolist() == [4, 5] and not anew.num_dynamic


def test_touched_and_moved_files_are_the_same(tmp_path: Path) -> None:
    run = import_splats([walk(tmp_path / "walk")], tmp_path / "run")
    made = (run.path / "run.zarr/dynamic/means/c.1.0.0").stat().st_mtime_ns
    (tmp_path / "walk").rename(tmp_path / "moved")
    for file in (tmp_path / "moved").iterdir():
        os.utime(file, (1, 1))
    again = import_splats([tmp_path / "moved"], tmp_path / "run")
    assert (again.path / "run.zarr/dynamic/means/c.1.0.0").stat().st_mtime_ns == made


def test_splats_do_not_take_the_place_of_a_training(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Scene(num_frames=2, width=16, height=16))
    with pytest.raises(RunDiffers, match="made by: tracking → import of splats"):
        import_splats([walk(tmp_path / "walk")], run.path)
    assert Run.open(run.path).num_frames == 2 and "first_frame" in Run.open(run.path).stages


def test_before_it_is_lifted_lift_is_what_is_advised(tmp_path: Path) -> None:
    run = import_splats([apart(tmp_path / "f", (5, 6))], tmp_path / "run")
    for ask in (lambda: query(run, ["a ball"]), run.codec):
        with pytest.raises(RunError, match=r"has no language yet[^;]*; run `legs4d lift`\.$"):
            ask()


def test_the_command_tells_what_it_assumed(tmp_path: Path) -> None:
    folder = walk(tmp_path / "walk")
    done = CliRunner().invoke(app, ["import-splats", str(folder), "--out", str(tmp_path / "run"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["frames"], told["gaussians"], told["identity"]) == (4, [COUNT] * 4, "kept")
    assert told["up"] == [0, -1, 0] and told["dropped"] == 0 and told["kind"] == "imported"
    plain = CliRunner().invoke(app, ["import-splats", str(folder), "--out", str(tmp_path / "other"), "--up", "0,0,1"])
    assert "4 frames of 40 Gaussians" in plain.output and "as --up says" in plain.output
    wrong = CliRunner().invoke(app, ["import-splats", str(folder), "--out", str(tmp_path / "x"), "--up", "z"])
    assert wrong.exit_code == 1 and "'z' is no direction" in wrong.output
