"""`--refine`: what the package's own weights make of four frames becomes one set of Gaussians that follows a video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from legs4d.commands import Object
from legs4d.context import Context
from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.gaussians.nodes import read_nodes
from legs4d.gaussians.store.run import Run
from legs4d.generate import work
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from legs4d.generate.onepass.mirrored import mirrored, mirrored_pictures, mirrored_views
from legs4d.generate.onepass.refine import ASIDE, TRUE, Refinement, Refining, Shown
from legs4d.generate.onepass.views import SideViews
from legs4d.generate.onepass.work import IN_THE_MIRROR, WITHIN
from legs4d.progress import Progress, StageReporter, Stopped
from tests.generate.onepass.small import lopsided, pictures

SIDE, COUNT = 48, 4
QUICK = Refining(steps=80, nodes=48)
CPU = torch.device("cpu")


def thing(frame: int) -> Gaussians:
    found = lopsided()
    means = 0.8 * found.means + np.array([0.05 * frame, 0.02 * frame, 0], np.float32)
    return found.replace(means=means, scales=1.5 * found.scales)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    for frame in range(COUNT):
        shown = pictures(thing(frame), 0, (0,), 64)[0]
        shown[..., :3] = (shown[..., :3] / shown[..., 3:].clip(1) * 255.0).clip(0, 255)
        Image.fromarray(shown).save(folder / f"{frame}.png")
    return folder


@contextmanager
def quick() -> Iterator[None]:
    """Refinements of seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Refining, "of", classmethod(lambda cls, device: QUICK))
        yield


def made(clip: Path, out: Path, context: Context | None = None, **how: object) -> dict[str, object]:
    asked = {"source": str(clip), "out": str(out), "method": "onepass", "fps": 12, **how}
    with quick():
        return work.object_run(Object.model_validate(asked), context or Context("cpu"))


@pytest.fixture(scope="module")
def refined(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("made") / "run"
    told = made(clip, out, refine=True)
    assert told["frames"] == COUNT and told["method"] == "onepass" and "guess" in str(told["warnings"])
    return Run.open(out)


def test_a_refined_run_has_ids_nodes_and_marks_what_the_video_shows(refined: Run) -> None:
    assert refined.loose_counts.sum() == 0 and refined.available_frames() == list(range(COUNT))
    counts = {len(refined.frame(frame)) for frame in range(COUNT)}
    assert len(counts) == 1
    assert read_nodes(refined) is not None
    seen = refined.seen(0)
    assert seen is not None and 0 < (seen > 0).mean() < 1  # of the back there is something too
    assert refined.info["report"]["refined"] and refined.info["kind"] == "generated" and refined.info["fps"] == 12
    assert not any((refined.path / place).exists() for place in (WITHIN, IN_THE_MIRROR))
    assert not (refined.path / "fit.npz").exists()
    # What moves to the right in the video does so here; it does not get another colour instead.
    first, last = (refined.frame(frame) for frame in (0, COUNT - 1))
    solid = first.opacities > 0.5
    assert np.median((last.means - first.means)[solid, 0]) > 0.05


def test_a_stopped_refinement_goes_on_where_it_was(clip: Path, refined: Run, tmp_path: Path) -> None:
    stop = Event()

    def listen(progress: Progress) -> None:
        if progress.stage == "refining" and progress.done >= 40:
            stop.set()

    out = tmp_path / "run"
    with pytest.raises(Stopped):
        made(clip, out, Context("cpu", progress=listen, stop=stop), refine=True)
    assert (out / WITHIN / "run.json").exists() and (out / IN_THE_MIRROR / "run.json").exists()
    stages: list[str] = []
    made(clip, out, Context("cpu", progress=lambda progress: stages.append(progress.stage)), refine=True)
    assert "reconstructing" not in stages and "following" not in stages and "refining" in stages
    again = Run.open(out)
    for frame in range(COUNT):
        assert np.array_equal(again.frame(frame).means, refined.frame(frame).means)


def test_refinement_and_interpolation_are_not_both() -> None:
    asked = {"source": "x.mp4", "out": "run", "method": "onepass", "refine": True}
    with pytest.raises(ValidationError, match="leave --interpolate out"):
        Object.model_validate({**asked, "interpolate": True})
    with pytest.raises(ValidationError, match="--refine is for --method onepass"):
        Object.model_validate({**asked, "method": "roads"})


def blurred(frame: int) -> Gaussians:
    """What a network might make of it: right but for its colours."""
    found = thing(frame)
    return found.replace(colors=0.8 * found.colors)


def decibels(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(-10 * np.log10(np.square((one.astype(float) - other) / 255).mean()))


def refinement(sides: SideViews | None = None) -> Refinement:
    video = np.concatenate([pictures(thing(frame), 0, (0,), SIDE) for frame in range(COUNT)])
    shown = Shown.of(video, L4GM.cameras(0, AZIMUTHS, 512), sides, 0)
    return Refinement(shown, [blurred], Refining(steps=300, nodes=5, grown=1), CPU, StageReporter("looking"))


def seen_by(work: Refinement, frame: int, azimuth: float) -> NDArray[np.uint8]:
    return pictures(work.fit.gaussians_at(frame / (COUNT - 1)).numpy(), 0, (azimuth,), SIDE)[0]


def test_the_video_gains_and_other_sides_lose_nothing() -> None:
    work = refinement()
    work.follow(StageReporter("following"))
    while work.fit.done < work.fit.total:
        work.fit.advance()
    for frame in range(COUNT):
        for azimuth, gain in ((0.0, 1.5), (110.0, 0.0)):
            true = pictures(thing(frame), 0, (azimuth,), SIDE)[0]
            before = decibels(pictures(blurred(frame), 0, (azimuth,), SIDE)[0], true)
            assert decibels(seen_by(work, frame, azimuth), true) > before + gain


def test_views_of_a_user_are_true_and_those_of_a_helper_are_not() -> None:
    views = pictures(thing(0), 0, AZIMUTHS[1:], SIDE)
    for source, count in (("user", COUNT + 3), ("helper", COUNT)):
        work = refinement(SideViews(views, AZIMUTHS[1:], 0, source))
        drawn = work.fit.schedule.pictures
        assert drawn[:, :TRUE].max() == count - 1 and drawn[:, TRUE:].min() == count
        assert len(work.fit.pictures) == count + len(ASIDE) * COUNT
        assert work.fit.pictures.frames[COUNT:count].tolist() == [0] * (count - COUNT)


def test_several_passes_are_looked_at_as_their_mean() -> None:
    """Of the same thing in white and in black: grey, and as much of it."""
    video = pictures(thing(0), 0, (0,), SIDE)
    shown = Shown.of(video, L4GM.cameras(0, AZIMUTHS, 512), None, 0)
    white, black = (thing(0).replace(colors=np.full_like(thing(0).colors, c / SH_C0)) for c in (0.5, -0.5))
    work = Refinement(
        shown, [lambda _: white, lambda _: black], Refining(steps=1, nodes=5), CPU, StageReporter("looking")
    )
    seen = work.fit.pictures.images[1:].numpy().astype(int)
    assert (seen[..., 3] > 200).sum() > 500
    assert np.abs(2 * seen[..., :3] - seen[..., 3:]).max() <= 3


def test_the_mirror_image_of_views_is_what_cameras_see_of_the_mirror_image() -> None:
    views = SideViews(pictures(thing(0), 20, AZIMUTHS[1:], SIDE), AZIMUTHS[1:], 20, "user")
    seen = pictures(mirrored(thing(0)), 20, AZIMUTHS, SIDE).astype(int)
    found = np.concatenate([mirrored_pictures(pictures(thing(0), 20, (0,), SIDE)), mirrored_views(views).pictures])
    assert np.abs(found - seen).max() <= 2
    assert np.abs(views.pictures - seen[1:]).max() > 100  # it is lopsided
    turned = replace(thing(0), quats=np.tile(np.array([0.8, 0.36, 0, 0.48], np.float32), (len(thing(0)), 1)))
    seen = pictures(mirrored(turned), 20, (0,), SIDE).astype(int)
    assert np.abs(mirrored_pictures(pictures(turned, 20, (0,), SIDE)) - seen).max() <= 2


def test_many_frames_are_looked_at_in_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from legs4d.generate.onepass import refine

    monkeypatch.setattr(refine, "MOST_MOMENTS", 2)
    work = refinement()
    assert sorted({int(frame) for frame in work.fit.pictures.frames[COUNT:]}) == [0, COUNT - 1]


def test_a_picture_is_refined_too(clip: Path, tmp_path: Path) -> None:
    told = made(clip / "0.png", tmp_path / "run", refine=True)
    assert told["frames"] == 1 and Run.open(tmp_path / "run").loose_counts.sum() == 0
