"""Masks as files, and relevancy decoded per pixel as the paper does it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, compose, query
from legs4d.grounding.answers import describe, describe_boxes, folder_name, folder_names, write_masks
from legs4d.grounding.benchmark import evaluate
from legs4d.grounding.masks import PixelDecoder, box_of, render_views
from legs4d.grounding.metrics import mask_iou
from legs4d.grounding.truth import read_truth
from tests.synthetic import CAPTION_FLYING, NEAR, Scene, write_grounding, write_run

SCENE = Scene(num_frames=9)
FIRST, LAST = SCENE.flight or (0, 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("masks") / "run", SCENE)


@pytest.fixture(scope="module")
def flying(run: Run) -> Grounding:
    return query(run, [CAPTION_FLYING])[0]


def test_written_masks_are_read_as_truth(run: Run, flying: Grounding, tmp_path: Path):
    cameras = SCENE.cameras("test")
    folder = write_masks(run, flying, tmp_path, dict.fromkeys(range(SCENE.num_frames), cameras), near=NEAR)
    truths = read_truth(tmp_path)
    assert folder == tmp_path / CAPTION_FLYING.replace(" ", "_")
    assert [(t.prompt, t.camera) for t in truths] == [(CAPTION_FLYING, camera) for camera in cameras.ids]
    boxes = json.loads((folder / "boxes.json").read_text())
    for truth in truths:
        assert list(truth.masks) == list(range(FIRST, LAST + 1))
        assert boxes[f"cam{truth.camera}"] == {str(f): list(box_of(mask) or ()) for f, mask in truth.masks.items()}
    # What was found, taken for true, is found.
    assert evaluate(run, tmp_path)["mean"]["viou"] == 1


def test_a_camera_that_sees_nothing_of_it_has_empty_masks(run: Run, flying: Grounding, tmp_path: Path):
    cameras = SCENE.cameras("test")
    turned = cameras.world_to_camera * np.array([[-1], [1], [-1], [1]], np.float32)
    away = replace(cameras, world_to_camera=turned)
    folder = write_masks(run, flying, tmp_path, {FIRST: away}, near=NEAR)
    assert json.loads((folder / "boxes.json").read_text()) == {
        f"cam{camera}": {str(FIRST): None} for camera in away.ids
    }
    result = evaluate(run, tmp_path)
    assert 0 < result["mean"]["tiou"] < 1 and result["mean"]["viou"] == 0


def test_names_of_prompts_fit_folders():
    assert folder_name(" a ball flies ") == "a_ball_flies"
    assert folder_name("../../etc/passwd") == "_.._etc_passwd"
    assert folder_names(["a?", "A*", "a?", "b"]) == ["a_", "A__2", "a_", "b"]
    assert folder_name("...") == "_" and len(folder_name("ball " * 100)) <= 100


def test_decoding_per_pixel_finds_the_same_thing(run: Run, flying: Grounding):
    cameras, pixels = SCENE.cameras("test"), PixelDecoder(run)
    for frame in range(FIRST, LAST + 1):
        ours = render_views(run, flying, frame, cameras, near=NEAR)
        paper = render_views(run, flying, frame, cameras, near=NEAR, pixels=pixels)
        np.testing.assert_allclose(ours.color, paper.color, atol=1e-6)
        for one, other in zip(ours.mask, paper.mask, strict=True):
            assert mask_iou(one, other) > 0.7
        assert paper.relevancy.max() <= 1 and paper.relevancy.min() >= 0
    assert not render_views(run, flying, 0, cameras, near=NEAR, pixels=pixels).mask.any()


def test_a_pixel_of_one_thing_has_that_things_relevancy(run: Run):
    (box,) = query(run, ["a wooden box"])
    cameras, pixels = SCENE.cameras("test"), PixelDecoder(run)
    views = render_views(run, box, 0, cameras, near=NEAR, pixels=pixels)
    inside = views.mask & (SCENE.photograph(cameras, 0)[1] == 1)
    of_box = box.static[run.static().is_foreground]
    assert views.relevancy[inside].max() == pytest.approx(of_box.max(), abs=0.05)


def test_compositions_are_decoded_too(run: Run):
    (both,) = compose(run, [f"{CAPTION_FLYING} OR a wooden box"])
    cameras, pixels = SCENE.cameras("test"), PixelDecoder(run)
    views = render_views(run, both, FIRST, cameras, near=NEAR, pixels=pixels)
    ours = render_views(run, both, FIRST, cameras, near=NEAR)
    for one, other in zip(ours.mask, views.mask, strict=True):
        assert one.any() and mask_iou(one, other) > 0.6


def test_the_benchmark_can_compare_both_ways(run: Run, tmp_path: Path):
    truth = write_grounding(tmp_path, SCENE)
    ours, paper = evaluate(run, truth), evaluate(run, truth, per_pixel=True)
    assert ours["mean"]["tiou"] == paper["mean"]["tiou"] == 1
    assert paper["mean"]["viou"] > 0.5
    assert ours["per_prompt"][CAPTION_FLYING] == ours["mean"]


def test_answers_are_json(run: Run, flying: Grounding):
    answer = {**describe(flying), "boxes": describe_boxes(run, flying)}
    assert json.loads(json.dumps(answer)) == answer
    assert [entry["frame"] for entry in answer["boxes"]] == list(range(FIRST, LAST + 1))
    assert set(answer["boxes"][0]["boxes"][0]) == {"center", "axes", "size", "count"}
