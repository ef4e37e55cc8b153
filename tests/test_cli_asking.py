"""Commands that answer prompts, in this process: importing torch for each would take longer than what they do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from typer.testing import CliRunner, Result

from legs4d.cli import app
from legs4d.gaussians.store.run import Run
from legs4d.grounding.truth import read_truth
from legs4d.segment.segments import Segments, write_segments
from tests.gaussians import written
from tests.synthetic import Scene, write_dataset, write_grounding, write_run

SCENE = Scene(num_frames=6, width=48, height=32, num_train=4, num_test=1)
FIRST, LAST = SCENE.flight or (0, 0)
FLYING, LYING = "the ball is flying through the air", "the ball lies on the floor"
LEGACY = Path(__file__).resolve().parents[2] / "shared/reference/legacy_4legs"


def legs4d(*arguments: object, exit_code: int = 0) -> Result:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == exit_code, done.output
    return done


def answer(*arguments: object) -> dict:
    return json.loads(legs4d("query", *arguments, "--json").stdout)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("asking") / "run", SCENE).path


def frames(found: dict) -> list[tuple[int, int]]:
    return [(i["start"], i["end"]) for i in found["intervals"]]


def test_prompts_can_be_put_together(run: Path) -> None:
    assert frames(answer(run, f"{LYING} BEFORE {FLYING}", "--compose")) == [(0, FIRST - 1)]
    assert "no prompt after NOT" in legs4d("query", run, f"{LYING} AND NOT", "--compose", exit_code=1).stderr
    assert frames(answer(run, FLYING)) == [(FIRST, LAST)]


def test_what_a_prompt_is_compared_with_can_be_chosen(run: Path) -> None:
    plain = answer(run, "the ball")["relevancy"]
    assert answer(run, "the ball", "--canonical", "something")["relevancy"] == plain
    assert answer(run, "the ball", "--canonical", "a ball")["relevancy"] != plain
    assert answer(run, "the ball", "--negative", FLYING)["relevancy"] != plain
    assert frames(answer(run, FLYING, "--ensemble")) == [(FIRST, LAST)]
    assert "negative phrase is empty" in legs4d("query", run, "a", "--negative", "", exit_code=1).stderr


@pytest.mark.parametrize("axes", ["world", "own"])
def test_boxes_are_printed(run: Path, axes: str) -> None:
    boxes = answer(run, FLYING, "--boxes", axes)["boxes"]
    assert [entry["frame"] for entry in boxes] == list(range(FIRST, LAST + 1))
    assert f"  frame {FIRST}: a box of " in legs4d("query", run, FLYING, "--boxes", axes).stdout


def test_whole_segments_answer_and_the_scale_chooses_part_or_whole(run: Path) -> None:
    assert "has no segments yet" in legs4d("query", run, FLYING, "--segments", exit_code=1).stderr
    opened = Run.open(run)
    count, still = opened.num_gaussians, opened.num_static
    members = np.zeros((count, 3), np.float32)
    members[:still, 0] = opened.static().is_foreground
    members[still:, 1], members[still::2, 2] = 1, 1
    sizes = np.array([2, 1, 0.5], np.float32)
    ones = np.ones(count, np.float32)
    parents, names = np.array([-1, -1, 1], np.int32), ("box", "ball", "")
    with opened.lock():
        write_segments(opened, Segments(scipy.sparse.csc_array(members), parents, sizes, ones, names))

    for scale, number, gaussians in ((1, 1, count - still), (0, 2, (count - still + 1) // 2)):
        found = answer(run, FLYING, "--segments", "--scale", scale, "--boxes", "world")
        assert [one["number"] for one in found["segments"]] == [number] and frames(found) == [(FIRST, LAST)]
        assert [box["count"] for entry in found["boxes"] for box in entry["boxes"]] == [gaussians] * (LAST - FIRST + 1)
    told = legs4d("query", run, FLYING, "nobody at all", "--segments", "--scale", 1).stdout
    assert "\n  segment 1 'ball', score " in told and "nobody at all: not found in this run" in told
    assert (
        "--segments: answers whole things" in legs4d("query", run, "a", "--segments", "--compose", exit_code=1).stderr
    )
    assert "--scale: is of --segments" in legs4d("query", run, "a", "--scale", 1, exit_code=1).stderr


def test_masks_are_written(run: Path, tmp_path: Path) -> None:
    for more in ([], ["--per-pixel"]):
        folder = tmp_path / f"masks{len(more)}"
        found = answer(run, FLYING, "--masks", folder, "--cameras", "0,1", *more)
        assert Path(found["masks"]).parent == folder
        assert [(t.camera, sorted(t.masks)) for t in read_truth(folder)] == [
            (camera, list(range(FIRST, LAST + 1))) for camera in (0, 1)
        ]
    assert "give --masks FOLDER" in legs4d("query", run, FLYING, "--per-pixel", exit_code=1).stderr


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("highlight", []),
        ("desaturate", ["--cameras", "orbit"]),
        ("bullet-time", ["--seconds", "0.5", "--cameras", "0"]),
        ("zoom", ["--fill", "0.7"]),
        ("scenes", ["--prompt", LYING, "--handles", "0.1"]),
    ],
)
def test_effects_are_written(run: Path, tmp_path: Path, kind: str, more: list[str]) -> None:
    said = legs4d("effect", kind, run, "--prompt", FLYING, "--out", tmp_path / "x.mp4", *more).stderr
    assert f"wrote {tmp_path / 'x.mp4'}" in said and (tmp_path / "x.mp4").stat().st_size > 1000
    assert (tmp_path / "x.otio").exists() == (kind == "scenes")


def test_effects_take_compositions_and_say_what_is_wrong(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.mp4"
    legs4d("effect", "highlight", run, "--prompt", f"NOT {FLYING}", "--compose", "--out", out)
    failed = legs4d("effect", "zoom", run, "--prompt", "a surgeon washing his hands", "--out", out, exit_code=1)
    assert "was not found in this run" in failed.stderr
    failed = legs4d("effect", "zoom", run, "--prompt", f"NOT {FLYING}", "--compose", "--out", out, exit_code=1)
    assert "nothing takes part" in failed.stderr
    assert (
        "is no kind of video"
        in legs4d("effect", "zoom", run, "--prompt", FLYING, "--out", tmp_path / "x.gif", exit_code=1).stderr
    )


def test_eval_draws_what_was_found_against_what_is_true(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", SCENE)
    run = write_run(tmp_path / "run", SCENE, dataset=str(dataset)).path
    truth = write_grounding(tmp_path / "truth", SCENE)
    pictures = tmp_path / "pictures"
    table = legs4d("eval", run, "--grounding", truth, "--pictures", pictures, "--per-pixel").stdout
    assert "vIoU@0.3" in table and "mean" in table
    assert {"grounding.png", "masks_0.png", "timeline.png"} <= {path.name for path in pictures.iterdir()}
    assert "give --grounding too" in legs4d("eval", run, "--per-pixel", exit_code=1).stderr


@pytest.mark.skipif(not LEGACY.exists(), reason="the reference files are not beside this checkout")
def test_a_4legs_folder_is_imported(tmp_path: Path) -> None:
    said = legs4d("import-4legs", LEGACY, "--sequence", "toy", "--out", tmp_path / "run", "--json").stdout
    assert json.loads(said) == {"run": str(tmp_path / "run"), "frames": 3, "gaussians": 120}
    assert Run.open(tmp_path / "run").has_codes(2)
    failed = legs4d("import-4legs", LEGACY, "--sequence", "no", "--out", tmp_path / "no", exit_code=1)
    assert "name one of toy" in failed.stderr


def test_a_run_without_footage_is_told_what_its_language_sees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from legs4d.cli.making import _tell_choice

    written.write(tmp_path / "chair.ply", written.values())
    legs4d("import-splats", tmp_path / "chair.ply", "--out", tmp_path / "run")
    run = Run.open(tmp_path / "run")
    run.info["encoder"] = "tiny"
    _tell_choice(run, "auto")
    assert "There is no footage: its language is what the encoder `tiny` sees in pictures" in capsys.readouterr().err
