"""One ordinary video becomes a run: what of it is right, how it goes on, and what is wrong with input."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.commands import Video
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.footage import find_footage
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers, differences
from legs4d.progress import Progress, Stopped
from legs4d.raster import render
from legs4d.video import work
from legs4d.video.report import spans_of
from legs4d.video.work import make_video_run
from tests.video import drawn


def make(source: Path, out: Path, context: Context | None = None, **asked: Any) -> dict[str, Any]:
    """The command on the CPU, lite."""
    given: dict[str, Any] = {"lite": True, "camera": "still", **asked}
    return make_video_run(Video(source=str(source), out=str(out), **given), context or Context("cpu"))


@pytest.fixture(scope="module", autouse=True)
def few_steps() -> Iterator[None]:
    """A ball needs no more, and tests are many."""
    usual = work.LITE
    work.LITE = replace(usual, track_steps=24, track_looks=0, fit_steps=24, fit_looks=0, color_steps=12)
    yield
    work.LITE = usual


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With clip/, the drawn video, and run/, made of it."""
    folder = tmp_path_factory.mktemp("video")
    drawn.write(folder / "clip")
    (folder / "told.json").write_text(
        json.dumps({"ball": {"objects": {"007": [{"start": 4, "end": 5, "caption": "a ball rolls"}]}}})
    )
    make(folder / "clip", folder / "run", captions=str(folder / "told.json"), fps=10.0)
    return folder


def test_the_run_shows_what_was_filmed(place: Path) -> None:
    run = Run.open(place / "run")
    assert run.info["kind"] == "captured" and run.num_frames == drawn.FRAMES
    for frame in (0, 2, 4):
        with torch.no_grad():
            color = render(run.frame(frame).torch(), run.cameras("train", frame), near=run.info["near"]).color[0]
        off = (color.clamp(0, 1).numpy() - drawn.picture(frame) / 255.0) ** 2
        inside = drawn.inside(frame)
        assert -10 * np.log10(off[inside].mean()) > 19 and -10 * np.log10(off[~inside].mean()) > 24


def test_a_round_silhouette_is_as_deep_as_it_is_wide(place: Path) -> None:
    run = Run.open(place / "run")
    ids = run.object_ids(2)
    assert ids is not None
    places = run.frame(2).means[ids == 0]
    extent = places.max(axis=0) - places.min(axis=0)
    assert extent[2] == pytest.approx(extent[0], rel=0.15)
    seen = run.seen(2)
    assert seen is not None
    ball = seen[ids == 0]
    front = places[:, 2] < np.median(places[:, 2])
    assert ball[front].mean() > 0.6 and ball[~front].mean() < 0.3
    assert seen[ids < 0].mean() > 0.95  # all of the wall, as the ball passes on


def test_its_motion_is_its_pose(place: Path) -> None:
    objects = read_objects(Run.open(place / "run"))
    assert objects is not None and objects.ids == (7,) and objects.visible.all()
    x = objects.pose[:, 0, 0]
    assert np.diff(x) == pytest.approx(np.full(4, np.diff(x).mean()), rel=0.25) and x[4] > x[0]
    assert objects.pose[:, 0, 3] == pytest.approx(np.ones(5), abs=0.02)  # it is not turned


def test_the_footage_is_a_dataset_of_its_own(place: Path) -> None:
    run = Run.open(place / "run")
    footage = find_footage(run)
    assert footage.frame_numbers == (3, 4, 5, 6, 7) and footage.fps == 10
    assert footage.captions is not None and footage.captions[7][0].start == 1 and footage.captions[7][0].end == 2
    assert [(one.start, one.end, one.text) for one in footage.captions[0]] == [(0, 4, "the background")]
    ids = footage.objects("train", 2)
    assert ids is not None and (ids[0] == 7).sum() == drawn.inside(2).sum()


def test_it_says_what_it_did(place: Path) -> None:
    report = Run.open(place / "run").info["report"]
    assert report["camera"]["route"] == "still" and report["objects"][0]["id"] == 7
    assert len(report["objects"][0]["routes"]) == drawn.FRAMES and report["honest"] == 30
    page = (place / "run" / "report.html").read_text()
    assert "stands still" in page and "video/scene.png" in page
    assert spans_of(["size", "contact", "contact"]) == [("0", "size"), ("1–2", "contact")]
    assert f"0–{drawn.FRAMES - 1}: it rests on the floor" in page
    for stage in ("objects", "motion", "scene"):
        assert np.asarray(Image.open(place / "run" / "video" / f"{stage}.png")).std() > 10


def test_a_stopped_one_goes_on_to_the_same_result(place: Path, tmp_path: Path) -> None:
    class Stop:
        def __init__(self) -> None:
            self.asked = 0
            self.now = False

        def is_set(self) -> bool:
            return self.now

    stop = Stop()

    def progress(told: Progress) -> None:
        stop.now = stop.now or (told.stage == "motion" and told.done > 30)

    again: dict[str, Any] = {"captions": str(place / "told.json"), "fps": 10.0}
    with pytest.raises(Stopped):
        make(place / "clip", tmp_path / "run", Context("cpu", progress=progress, stop=stop), **again)
    assert list((tmp_path / "run" / "video").glob("fit-7.npz"))
    make(place / "clip", tmp_path / "run", **again)
    first, second = Run.open(place / "run"), Run.open(tmp_path / "run")
    for frame in (0, 4):
        assert np.array_equal(first.frame(frame).means, second.frame(frame).means)
        assert np.array_equal(first.frame(frame).colors, second.frame(frame).colors)


def test_stages_one_by_one(place: Path, tmp_path: Path) -> None:
    made = make(place / "clip", tmp_path / "run", stage="objects")
    assert made["stage"] == "objects" and (tmp_path / "run" / "video" / "objects.png").exists()
    assert not (tmp_path / "run" / "video" / "motion.png").exists()
    with pytest.raises(Legs4dError, match="needs all stages"):
        make(place / "clip", tmp_path / "run", stage="objects", again=True)


def test_other_settings_are_told(place: Path) -> None:
    with pytest.raises(RunDiffers, match="lite: True → False"):
        make(place / "clip", place / "run", captions=str(place / "told.json"), fps=10.0, lite=False)


def test_one_frame_is_a_scene_that_does_not_move(place: Path, tmp_path: Path) -> None:
    made = make(place / "clip", tmp_path / "run", frames=[2, 2])
    run = Run.open(tmp_path / "run")
    assert run.num_frames == 1 and run.num_dynamic == 0 and "single frame" in " ".join(made["warnings"])


def said(place: Path, tmp_path: Path, sentence: str, **asked: Any) -> None:
    with pytest.raises(Legs4dError, match=re.escape(sentence)):
        make(tmp_path / "clip" if (tmp_path / "clip").exists() else place / "clip", tmp_path / "run", **asked)


def test_masks_of_another_shape_are_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "clip", tmp_path / "clip")
    for path in (tmp_path / "clip" / "Annotations").rglob("*.png"):
        Image.open(path).resize((64, 64)).save(path)
    said(place, tmp_path, "is 64×64, and the video 96×64, which is another shape")


def test_empty_masks_are_told(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "clip", tmp_path / "clip")
    for path in (tmp_path / "clip" / "Annotations").rglob("*.png"):
        Image.new("L", (96, 64)).save(path)
    said(place, tmp_path, "all masks are empty")


def test_a_mask_that_fills_the_picture_is_no_object(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "clip", tmp_path / "clip")
    for path in (tmp_path / "clip" / "Annotations").rglob("*.png"):
        Image.new("L", (96, 64), 255).save(path)
    said(place, tmp_path, "it fills the picture")


def test_a_cut_is_told_with_its_place(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "clip", tmp_path / "clip")
    for number in (6, 7):
        path = tmp_path / "clip" / "JPEGImages" / "ball" / f"{number:05d}.png"
        Image.fromarray(255 - np.asarray(Image.open(path))[::-1] // 3).save(path)
    said(place, tmp_path, "there is a cut between frames 2 and 3")


def test_frames_and_files_that_are_not_there(place: Path, tmp_path: Path) -> None:
    said(place, tmp_path, "has no frames 2 to 9", frames=[2, 9])
    said(place, tmp_path, "there is no such file or folder", masks=str(tmp_path / "nowhere"))
    said(place, tmp_path, "3=2 is of no object", distance={"3": 2.0})


def test_a_run_that_was_moved_has_its_footage_with_it(place: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(place / "run", tmp_path / "Läufe & mehr #1" / "run")
    assert find_footage(Run.open(moved)).root == moved / "video" / "footage"
    assert (place / "run").resolve() not in find_footage(Run.open(moved)).root.parents
    # and one that was made anew, which grows in a folder that is there only until then
    left = [moved / "report.html", moved / "video" / "objects.png", moved / "video" / "footage" / "train_meta.json"]
    for path in left:
        path.write_text("of the old one")
    make(place / "clip", moved, fps=10.0, again=True)
    assert find_footage(Run.open(moved)).root == moved / "video" / "footage"
    assert not any(path.read_bytes() == b"of the old one" for path in left)


def test_what_is_there_is_not_made_again_whatever_its_source_is_called(place: Path, tmp_path: Path) -> None:
    clip = shutil.copytree(place / "clip", tmp_path / "renamed")
    (clip / "JPEGImages" / ".DS_Store").write_bytes(b"of a file manager")
    told = shutil.copy(place / "told.json", tmp_path / "other name.json")
    stages: list[str] = []
    said: list[str] = []
    context = Context("cpu", progress=lambda progress: stages.append(progress.stage), tell=said.append)
    make(clip, place / "run", context, captions=str(told), fps=10.0)
    assert not stages and "nothing is done again" in " ".join(said)


def test_masks_that_nobody_names_count_too(place: Path, tmp_path: Path) -> None:
    clip = shutil.copytree(place / "clip", tmp_path / "clip")
    source = clip / "JPEGImages" / "ball"
    stages: list[str] = []
    context = Context("cpu", progress=lambda progress: stages.append(progress.stage))
    make(source, tmp_path / "run", context, stage="objects")
    stages.clear()
    make(source, tmp_path / "run", context, stage="objects")
    assert "objects" not in stages
    mask = clip / "Annotations" / "ball" / "007" / "00004.png"
    Image.fromarray(np.roll(np.asarray(Image.open(mask)), 3, axis=0)).save(mask)
    make(source, tmp_path / "run", context, stage="objects")
    assert "objects" in stages


def test_what_was_not_given_before_is_another_thing(place: Path) -> None:
    with pytest.raises(RunDiffers, match="captions: given → none"):
        make(place / "clip", place / "run", fps=10.0)
    with pytest.raises(RunDiffers, match="masks: none → given"):
        given: dict[str, Any] = {
            "captions": str(place / "told.json"),
            "masks": str(place / "clip" / "Annotations" / "ball"),
        }
        make(place / "clip", place / "run", fps=10.0, **given)


def test_pictures_of_what_is_hidden_that_lie_beside_later_are_another_thing(place: Path, tmp_path: Path) -> None:
    clip = shutil.copytree(place / "clip", tmp_path / "clip")
    asked = Video(source=str(clip / "JPEGImages" / "ball"), out=str(tmp_path / "run"))
    before = work._made_from(asked, Context("cpu"))
    shutil.copytree(clip / "Annotations" / "ball", clip / "InpaintedMasks" / "ball")
    found = differences("video", before, work._made_from(asked, Context("cpu")))
    assert [one.text for one in found] == ["InpaintedMasks: none → given"]


def test_what_is_followed_is_not_followed_again_by_a_flow_that_is_gone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "clip", tmp_path / "run", fps=10.0, stage="motion")

    def gone(name: str, *_: object) -> None:
        raise AssertionError(f"{name} was opened")

    monkeypatch.setattr(work, "open_prior", gone)
    make(place / "clip", tmp_path / "run", fps=10.0)


def test_points_are_followed_by_the_flow_that_is_asked_for(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed:
        """Nothing moves in the crops that follow the ball."""

        calls = 0

        def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
            Fixed.calls += 1
            return np.zeros((*first.shape[:2], 2), np.float32)

    asked: list[str] = []

    def opened(name: str, *_: object) -> Fixed:
        asked.append(name)
        return Fixed()

    monkeypatch.setattr(work, "open_prior", opened)
    make(place / "clip", tmp_path / "run", fps=10.0, flow="gmflow")
    assert asked == ["gmflow"] and Fixed.calls == 2 * (drawn.FRAMES - 1)


def test_a_flow_without_weights_says_how_to_get_them(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    said(place, tmp_path, "the weights of gmflow are not there", flow="gmflow")
