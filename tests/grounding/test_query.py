"""Prompts on a known scene: a ball lies, flies, and lies again; a box stands still; a room surrounds them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from legs4d.errors import PromptError, RunError
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, query
from tests.synthetic import Scene, write_run

SCENE = Scene(num_frames=12)
FIRST, LAST = SCENE.flight or (0, 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("query") / "run", SCENE)


def intervals(grounding: Grounding) -> list[tuple[int, int]]:
    return [(i.start, i.end) for i in grounding.intervals]


@pytest.mark.parametrize("prompt", ["the ball is flying", "a ball in mid-air", "something flies through the air"])
def test_an_action_is_found_in_its_frames_whatever_the_wording(run: Run, prompt: str):
    (found,) = query(run, [prompt])
    assert intervals(found) == [(FIRST, LAST)]
    assert FIRST <= found.intervals[0].peak <= LAST
    assert found.relevancy.shape == (SCENE.num_frames,) and found.relevancy.max() == pytest.approx(1)


def test_before_and_after_are_two_intervals(run: Run):
    (found,) = query(run, ["the ball is resting on the floor"])
    assert intervals(found) == [(0, FIRST - 1), (LAST + 1, SCENE.num_frames - 1)]


def test_what_stands_still_holds_throughout(run: Run):
    (found,) = query(run, ["a wooden box"])
    assert intervals(found) == [(0, SCENE.num_frames - 1)]


def test_a_thing_is_there_whatever_happens_to_it(run: Run):
    (found,) = query(run, ["the ball"])
    assert intervals(found) == [(0, SCENE.num_frames - 1)]


def test_the_room_may_be_meant(run: Run):
    (found,) = query(run, ["an empty room"])
    assert intervals(found) == [(0, SCENE.num_frames - 1)]
    background = ~run.static().is_foreground
    assert (found.static[background] > found.threshold).all()


def test_what_does_not_happen_is_not_found(run: Run):
    (found,) = query(run, ["a surgeon washing his hands"])
    assert found.intervals == [] and not any(found.holds(frame) for frame in range(SCENE.num_frames))


def test_gaussians_that_take_part_are_the_ones_meant(run: Run):
    flying, box = query(run, ["the ball is flying", "a wooden box"])
    is_box = run.static().is_foreground
    assert (flying.dynamic(FIRST) >= flying.threshold).all()
    assert (flying.static < flying.threshold).all()
    assert (box.static[is_box] >= box.threshold).all() and (box.dynamic(0) < box.threshold).all()
    assert flying.frame(FIRST).shape == (run.num_gaussians,)
    assert flying.static.min() >= 0 and flying.frame(FIRST).max() <= 1


def test_several_prompts_are_answered_as_one_by_one(run: Run):
    prompts = ["the ball is flying", "a wooden box"]
    for prompt, together in zip(prompts, query(run, prompts), strict=True):
        (alone,) = query(run, [prompt])
        assert alone.prompt == together.prompt and intervals(alone) == intervals(together)
        np.testing.assert_allclose(alone.relevancy, together.relevancy, atol=1e-5)
    assert query(run, []) == []


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("ball " * 2000, "10000 characters"),
        ("a ball \udc80", "no text, at character 8"),  # as a terminal hands over bytes that are not UTF-8
    ],
)
def test_prompts_that_cannot_be_answered_say_why(run: Run, prompt: str, said: str):
    with pytest.raises(PromptError, match=said):
        query(run, ["a ball", prompt])


@pytest.mark.parametrize("prompt", ["球が空を飛ぶ", "🏀🏀🏀", "x", "a\x00b", "\u200b."])
def test_any_other_text_is_answered(run: Run, prompt: str):
    (found,) = query(run, [prompt])
    assert np.isfinite(found.relevancy).all()


def test_a_half_lifted_run_is_refused(tmp_path: Path):
    half = write_run(tmp_path / "half", SCENE, language=False)
    with pytest.raises(RunError, match=r"no language yet \(0 of 12 frames"):
        query(half, ["a ball"])
    half.begin_stage("lift", "x")
    half.frame_done("lift", 0, 0.0)
    with pytest.raises(RunError, match=r"1 of 12 frames are lifted\); run the same `legs4d train`"):
        query(half, ["a ball"])


def test_the_whole_way_imports_no_torch(run: Run):
    code = (
        "import sys; from legs4d.gaussians.store.run import Run; from legs4d.grounding import query;"
        f"query(Run.open({str(run.path)!r}), ['a ball']);"
        "print({'torch', 'sentence_transformers', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
