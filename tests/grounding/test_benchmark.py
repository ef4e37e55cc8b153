"""The benchmark on a run that is the scene itself: what it finds is nearly the truth, in both layouts of the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.gaussians.store.run import Run
from legs4d.grounding.benchmark import evaluate
from legs4d.grounding.masks import render_views
from legs4d.grounding.query import query
from legs4d.grounding.truth import read_truth
from tests.synthetic import BALL, CAPTION_FLYING, Scene, write_grounding, write_run

SCENE = Scene(num_frames=9)
FIRST, LAST = SCENE.flight or (0, 0)
FRAMES = range(FIRST, LAST + 1)
LOOSE = 0.55
"""The ball of Gaussians is wider than the true one by a Gaussian's standard deviation: (0.25 / 0.31)² = 0.65."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("benchmark") / "run", SCENE)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_grounding(tmp_path / "truth", SCENE)


def write_pt(folder: Path) -> Path:
    cameras = SCENE.cameras("test")
    for which, camera in enumerate(cameras.ids):
        masks = {f: torch.as_tensor(SCENE.photograph(cameras, f)[1][which] == BALL) for f in FRAMES}
        path = folder / CAPTION_FLYING.replace(" ", "_") / f"cam{camera}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"masks": masks, "boxes": {f: [0, 0, 1, 1] for f in masks}}, path)
    return folder


def test_a_run_that_is_the_scene_is_nearly_right(run: Run, pictures: Path):
    result = evaluate(run, pictures)
    assert [row["camera"] for row in result["rows"]] == list(SCENE.cameras("test").ids)
    assert {row["prompt"] for row in result["rows"]} == {CAPTION_FLYING}
    assert all(row["tiou"] == 1 for row in result["rows"])
    assert result["mean"]["viou"] > LOOSE
    assert result["mean"]["viou@0.5"] == 1
    assert result["prompts"][CAPTION_FLYING]["intervals"][0]["start"] == FIRST


def test_both_layouts_are_the_same_truth(run: Run, pictures: Path, tmp_path: Path):
    tensors = read_truth(write_pt(tmp_path / "pt"))
    for ours, theirs in zip(read_truth(pictures), tensors, strict=True):
        assert (ours.prompt, ours.camera, ours.masks.keys()) == (theirs.prompt, theirs.camera, theirs.masks.keys())
        for frame in ours.masks:
            np.testing.assert_array_equal(ours.masks[frame], theirs.masks[frame])


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float32, np.int64])
def test_arrays_in_pt_files_are_read_too(pictures: Path, tmp_path: Path, kind: type):
    folder = write_pt(tmp_path / "pt")
    for path in folder.rglob("*.pt"):
        content = torch.load(path, weights_only=True)
        arrays = {np.int64(frame): mask.numpy().astype(kind) for frame, mask in content["masks"].items()}
        torch.save({"masks": arrays, "boxes": {f: np.array([0, 0, 1, 1]) for f in arrays}}, path)
    for ours, theirs in zip(read_truth(pictures), read_truth(folder), strict=True):
        for frame in ours.masks:
            np.testing.assert_array_equal(ours.masks[frame], theirs.masks[frame])


@pytest.mark.parametrize("of", [torch.Tensor.bfloat16, torch.Tensor.half, lambda mask: mask.float().requires_grad_()])
def test_tensors_of_any_kind_of_number_are_read(pictures: Path, tmp_path: Path, of: Callable[[Any], Any]):
    folder = write_pt(tmp_path / "pt")
    for path in folder.rglob("*.pt"):
        masks = torch.load(path, weights_only=True)["masks"]
        torch.save({"masks": {frame: of(mask) for frame, mask in masks.items()}}, path)
    for ours, theirs in zip(read_truth(pictures), read_truth(folder), strict=True):
        for frame in ours.masks:
            np.testing.assert_array_equal(ours.masks[frame], theirs.masks[frame])


def test_truth_of_another_size_is_compared_at_its_own(run: Run, tmp_path: Path):
    double = Scene(num_frames=9, width=2 * SCENE.width, height=2 * SCENE.height)
    result = evaluate(run, write_grounding(tmp_path / "double", double))
    assert result["mean"]["viou"] > LOOSE


def test_the_dataset_counts_frames_its_own_way(tmp_path: Path, pictures: Path):
    later = write_run(tmp_path / "later", SCENE)
    later.set_info(frame_numbers=[frame + 2 for frame in range(SCENE.num_frames)])
    # True frames FIRST..LAST of the dataset are now two frames earlier in the run, and found ones are not.
    common, union = len(FRAMES) - 2, len(FRAMES) + 2
    assert evaluate(later, pictures)["mean"]["tiou"] == pytest.approx(common / union)


def test_masks_are_empty_when_it_does_not_hold(run: Run):
    (found,) = query(run, [CAPTION_FLYING])
    cameras = SCENE.cameras("test")
    assert not render_views(run, found, 0, cameras, near=0.1).mask.any()
    ball = render_views(run, found, FIRST, cameras, near=0.1)
    assert ball.mask.any(axis=(1, 2)).all()
    # Relevancy of a pixel lies in 0..1 and is highest on the ball.
    assert ball.relevancy.min() >= 0 and ball.relevancy.max() <= 1 + 1e-5
    assert ball.relevancy[ball.mask].mean() > ball.relevancy[~ball.mask].mean() + 0.3


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: [f.unlink() for f in p.rglob("*.png")], "has no masks"),
        (lambda p: next(p.rglob("*.png")).write_bytes(b"not a picture"), "cannot be read"),
        (lambda p: Image.new("1", (5, 5)).save(next(p.rglob("*.png"))), "masks of sizes"),
        (lambda p: next(p.rglob("000003.png")).rename(next(p.rglob("cam*")) / "x.png"), "frame number"),
        (lambda p: next(p.rglob("cam*")).rename(next(p.rglob("cam*")).parent / "cam77"), "no camera 77"),
    ],
)
def test_bad_pictures_are_named(run: Run, pictures: Path, spoil, said: str):
    spoil(pictures)
    with pytest.raises(DatasetError, match=said):
        evaluate(run, pictures)


class Code:
    """What torch.load would run if it were let."""

    def __reduce__(self):
        return (Path.touch, (Path("/tmp/legs4d-was-executed"),))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"masks": {0: np.array([Path("/")], object)}}, "more than tensors"),
        ({"masks": {0: np.array(["a"])}}, "more than tensors"),
        ({"masks": {0: "a mask"}}, "no masks by frame"),
        ({"masks": {0: Code()}}, "more than tensors"),
        ({"boxes": {}}, "no masks by frame"),
        ([1, 2], "no masks by frame"),
        ({"masks": {}}, "has no masks"),
    ],
)
def test_pt_files_with_anything_else_are_refused_and_never_executed(tmp_path: Path, content, said: str):
    path = tmp_path / "a_prompt" / "cam0.pt"
    path.parent.mkdir()
    torch.save(content, path)
    with pytest.raises(DatasetError, match=said):
        read_truth(tmp_path)
    assert not Path("/tmp/legs4d-was-executed").exists()


def test_a_folder_without_truth_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match="no true masks"):
        read_truth(tmp_path)
    with pytest.raises(DatasetError, match="no true masks"):
        read_truth(tmp_path / "missing")


def test_truth_of_other_frames_is_named(tmp_path: Path, pictures: Path):
    other = write_run(tmp_path / "other", SCENE)
    other.set_info(frame_numbers=[100 + frame for frame in range(SCENE.num_frames)])
    with pytest.raises(DatasetError, match="frames 3 to 5, the run has 100 to 108"):
        evaluate(other, pictures)
