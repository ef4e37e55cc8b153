"""The `legs4d` command as a person or a program meets it: output, sentences, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import plyfile
import pytest
import typer

from legs4d.errors import DatasetError
from legs4d.gaussians.store.run import Run
from legs4d.terminal import SentenceGroup
from tests.synthetic import Scene, write_dataset, write_grounding, write_run

COMMANDS = ("train", "reconstruct", "extract", "lift", "query", "render", "eval", "export", "serve", "view")
SCENE = Scene(num_frames=6, width=48, height=32, num_train=4, num_test=1)
FLYING = "the ball is flying through the air"


def legs4d(*arguments: object, exit_code: int = 0, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "legs4d", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload]
    assert done.returncode == exit_code, done.stderr
    return done


def sentence(*arguments: object) -> str:
    """What a failing command says: exactly one line, on stderr, with exit code 1 and nothing on stdout."""
    done = legs4d(*arguments, exit_code=1)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith(".\n")
    return done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", SCENE).path


@pytest.fixture(scope="module")
def half_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "half", SCENE, language=False).path


# -- what works --------------------------------------------------------------------------------------------------------


def test_every_command_is_explained() -> None:
    overview = legs4d("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", overview)
        assert "Usage: " in legs4d(command, "--help").stdout


def test_query_prints_the_json_of_the_contract_and_nothing_else(run: Path) -> None:
    answer = json.loads(legs4d("query", run, FLYING, "--json").stdout)
    assert set(answer) == {"prompt", "intervals", "relevancy", "from", "warnings", "seconds"}
    assert answer["prompt"] == FLYING
    assert len(answer["relevancy"]) == 6
    assert [set(interval) for interval in answer["intervals"]] == [{"start", "end", "peak", "score"}]
    first, last = SCENE.flight or (0, 0)
    assert (answer["intervals"][0]["start"], answer["intervals"][0]["end"]) == (first, last)


def test_several_prompts_give_a_list(run: Path) -> None:
    answers = json.loads(legs4d("query", run, FLYING, "a wooden box", "--json").stdout)
    assert [answer["prompt"] for answer in answers] == [FLYING, "a wooden box"]


def test_query_tells_a_person_the_frames(run: Path) -> None:
    first, last = SCENE.flight or (0, 0)
    assert f"{FLYING}: frames {first} to {last}" in legs4d("query", run, FLYING).stdout


def test_export_ply_with_a_highlight(run: Path, tmp_path: Path) -> None:
    first, last = SCENE.flight or (0, 0)
    legs4d("export", run, "--out", tmp_path, "--frames", f"{first}:{last}", "--prompt", FLYING)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"frame_{f:06d}.ply" for f in range(first, last + 1)]
    vertex = plyfile.PlyData.read(tmp_path / f"frame_{first:06d}.ply")["vertex"]
    opened = Run.open(run)
    assert vertex.count == opened.num_gaussians
    ball = slice(opened.num_static, None)
    assert vertex["highlight"][ball].min() > vertex["highlight"][: opened.num_static].max()


def test_export_npz(run: Path, tmp_path: Path) -> None:
    legs4d("export", run, "--format", "npz", "--out", tmp_path / "new")
    assert np.load(tmp_path / "new" / "params.npz")["means3D"].shape == (6, Run.open(run).num_gaussians, 3)


def test_a_result_of_dynamic3dgs_comes_in_again(run: Path, tmp_path: Path) -> None:
    legs4d("export", run, "--format", "npz", "--out", tmp_path)
    said = json.loads(legs4d("import-d3dgs", tmp_path / "params.npz", "--out", tmp_path / "again", "--json").stdout)
    assert (said["frames"], said["gaussians"]) == (6, Run.open(run).num_gaussians)


def test_render_shows_the_run_as_a_video_or_as_pictures(run: Path, tmp_path: Path) -> None:
    legs4d("render", run, "--cameras", "orbit", "--prompt", FLYING, "--out", tmp_path / "orbit.mp4")
    assert len(imageio.mimread(tmp_path / "orbit.mp4")) == 6
    legs4d("render", run, "--out", tmp_path / "pictures", "--depth", "--segmentation")
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {
        *("pictures", "pictures_depth", "pictures_segmentation")
    }
    pictures = sorted((tmp_path / "pictures").glob("*.png"))
    assert len(pictures) == 6
    (truth,) = SCENE.photograph(SCENE.cameras("test"), 0)[0]
    assert np.abs(imageio.imread(pictures[0]) / 255 - truth).mean() < 0.15  # a few hundred round blobs: the same scene


def test_eval_prints_the_json_of_the_contract(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", SCENE)
    run = write_run(tmp_path / "run", SCENE, dataset=str(dataset)).path
    truth = write_grounding(tmp_path / "truth", SCENE)
    shown = ("--plot", tmp_path / "plot.png", "--pictures", tmp_path / "pages")
    done = legs4d("eval", run, "--grounding", truth, "--track", 2, *shown, "--json")
    assert "LPIPS was not measured" in done.stderr
    result = json.loads(done.stdout)
    assert {"psnr", "ssim", "lpips", "per_camera", "per_frame", "images", "grounding", "tracking"} <= set(result)
    assert result["lpips"] is None and len(result["images"]) == 6
    assert result["ssim"] == pytest.approx(np.mean([image["ssim"] for image in result["images"]]))
    assert result["tracking"]["object"] == 2 and len(result["tracking"]["per_frame"]) == 6
    assert imageio.imread(tmp_path / "plot.png").shape[1] > 500
    assert {"test_views.png", "contact_sheet.png", "timeline.png"} <= {p.name for p in (tmp_path / "pages").iterdir()}
    assert list(result["per_camera"]) == [str(camera) for camera in SCENE.cameras("test").ids]
    assert len(result["per_frame"]) == 6
    assert result["psnr"] == pytest.approx(np.mean(result["per_frame"]))
    (row,) = result["grounding"]["rows"]
    assert row["tiou"] == 1.0 and row["viou"] > 0.4


# -- what is refused, in one sentence ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["query", "export", "render", "eval", "lift"])
def test_a_folder_that_is_no_run(command: str, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "o")
    arguments: dict[str, tuple[object, ...]] = {"query": ("x",), "export": out, "render": out}
    assert "is not a run folder (no run.json)" in sentence(command, tmp_path, *arguments.get(command, ()))
    assert not (tmp_path / "o").exists()


def test_a_run_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"format": 9}')
    assert "is of run format 9, this legs4d reads formats 1 and 2" in sentence("query", tmp_path, "x")


def test_a_half_trained_run(half_trained: Path) -> None:
    said = sentence("query", half_trained, FLYING)
    assert str(half_trained) in said and "legs4d" in said


@pytest.mark.parametrize(("prompt", "says"), [("", "empty"), (" \n", "empty"), ("x" * 10_000, "10000 characters")])
def test_prompts_that_cannot_be_answered(run: Path, prompt: str, says: str) -> None:
    assert says in sentence("query", run, prompt)


def test_cameras_that_the_run_does_not_have(run: Path, tmp_path: Path) -> None:
    said = sentence("render", run, "--out", tmp_path / "x.mp4", "--cameras", "99")
    assert "'99' names no cameras of this run" in said
    assert not (tmp_path / "x.mp4").exists()


@pytest.mark.parametrize("frames", ["5", "4:3", "0:6", "a:b", "-1:2"])
def test_frames_that_the_run_does_not_have(run: Path, tmp_path: Path, frames: str) -> None:
    assert "write FIRST:LAST within 0:5" in sentence("export", run, "--out", tmp_path, f"--frames={frames}")


def test_npz_has_no_highlight(run: Path, tmp_path: Path) -> None:
    said = sentence("export", run, "--out", tmp_path, "--format", "npz", "--prompt", "x")
    assert "no place for a highlight" in said


def test_a_bad_dataset_stops_training_before_it_begins(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", SCENE)
    meta = json.loads((dataset / "train_meta.json").read_text())
    meta["w2c"][0][0][0][3] = float("nan")
    (dataset / "train_meta.json").write_text(json.dumps(meta))
    assert "the pose has a value that is not a finite number" in sentence("train", dataset, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "nowhere: is not a folder" in sentence("train", tmp_path / "nowhere", "--out", tmp_path / "run")


def test_unknown_options_and_values_are_usage_errors(run: Path) -> None:
    assert "--colour" in legs4d("query", run, "x", "--colour", exit_code=2).stderr
    assert "scale" in legs4d("train", run, "--out", "x", "--scale", "7", exit_code=2).stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_full_disk(run: Path, small_disk: Path) -> None:
    said = sentence("export", run, "--out", small_disk, "--format", "npz")
    assert "no space is left on this disk; free some" in said
    assert list(small_disk.iterdir()) == []


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "code"), [(KeyboardInterrupt, 130), (DatasetError, 1)])
def test_what_a_stopped_command_held_is_let_go_of(kind: type[BaseException], code: int) -> None:
    """An interpreter that ends while native objects are held tells of leaks, as if something had crashed."""
    app = typer.Typer(cls=SentenceGroup)
    let_go: list[str] = []

    class Rendering:
        frame: Any = None

    @app.callback()
    def every() -> None: ...

    @app.command()
    def work() -> None:
        rendering = Rendering()
        rendering.frame = sys._getframe()
        weakref.finalize(rendering, let_go.append, "rendering")
        raise kind("is no film")

    assert app(["work"], standalone_mode=False) == code
    assert let_go == ["rendering"]


def test_ctrl_c_stops_and_says_how_to_go_on(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", SCENE)
    command = [sys.executable, "-m", "legs4d", "train", str(dataset), "--out", str(tmp_path / "run")]
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert training.stderr
    first_line = training.stderr.readline()
    assert re.match(r"[a-z ]+ \d+/\d+", first_line), first_line + training.stderr.read()
    os.kill(training.pid, signal.SIGINT)
    out, error = training.communicate(timeout=60)
    assert training.returncode == 130
    assert (out, error.splitlines()[-1]) == ("", "Stopped; run the same command again to resume.")
    assert "Traceback" not in error
    with Run.open(tmp_path / "run").lock():
        pass  # it left nothing locked, and what it left can be opened
