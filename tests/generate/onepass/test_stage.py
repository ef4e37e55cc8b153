"""Videos longer than a pass, stops in between, and moments between frames."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from legs4d.config.onepass import OnePassSettings
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.again import working_on
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.generate.onepass.network import Variant
from legs4d.generate.onepass.passes import Passes
from legs4d.generate.onepass.stage import STAGE, Footage, OnePassObject, cameras_of, chunks, taken
from legs4d.generate.onepass.views import SideViews
from legs4d.progress import Progress, StageReporter, Stopped
from tests.generate.onepass.small import FREE, RAYS, lopsided, networks, pictures

SIZE = 16
SIDES = SideViews(pictures(lopsided(), 0, (90, 180, 270), SIZE), (90, 180, 270), 0, "user")
TWICE = OnePassSettings(interpolate=True)


@cache
def video(count: int) -> NDArray[np.uint8]:
    thing = lopsided()
    moved = (thing.replace(means=thing.means + np.array([0.02 * t, 0, 0], np.float32)) for t in range(count))
    return np.stack([pictures(now, 0, (0,), SIZE)[0] for now in moved])


def work(
    out: Path,
    count: int,
    settings: OnePassSettings,
    variant: Variant = FREE,
    sides: SideViews | None = SIDES,
    context: Context | None = None,
    interp: bool = True,
    device: str = "cpu",
) -> Run:
    nets = networks(variant, interp=interp)
    for network in filter(None, (nets.recon, nets.interp)):
        network.to(device)
    footage = Footage(video(count), 15.0, sides)
    passes = Passes(nets, cameras_of(sides, settings.elevation), torch.device(device))
    wanted = MadeFrom({"frames": count}, 1)
    with working_on(out, lambda run: {STAGE: wanted}) as run:
        run.begin_stage(STAGE, wanted)
        OnePassObject(run, footage, passes, settings, context or Context()).finish()
        run.finish_stage(STAGE)
    return Run.open(out)


def same(one: Run, other: Run, frames: Sequence[tuple[int, int]]) -> bool:
    return all(
        np.array_equal(getattr(one.loose(a), name), getattr(other.loose(b), name))
        for a, b in frames
        for name in ("means", "quats", "scales", "opacities", "colors")
    )


def test_chunks_share_a_frame_and_cover_the_video() -> None:
    assert chunks(16, 16) == [range(16)]
    assert chunks(17, 16) == [range(16), range(15, 17)]
    assert chunks(31, 16) == [range(16), range(15, 31)]
    for count in range(1, 60):
        parts = chunks(count, 16)
        assert parts[0].start == 0 and parts[-1].stop == count
        assert all(a[-1] == b[0] and len(b) > 1 for a, b in pairwise(parts))


def test_what_is_more_than_15_a_second_is_left_out() -> None:
    assert taken(10, 30, 0).tolist() == [0, 2, 4, 6, 8]
    assert taken(4, 29.97, 0).tolist() == [0, 1, 2, 3]
    assert taken(4, 12, 0).tolist() == [0, 1, 2, 3]
    assert taken(7, 12, 3).tolist() == [0, 3, 6]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Seven frames: chunks 0–2, 2–4, 4–6."""
    return work(tmp_path_factory.mktemp("plain") / "run", 7, OnePassSettings())


def test_a_stopped_run_goes_on_where_it_was(plain: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StageReporter, "INTERVAL", 0.0)
    stop = threading.Event()
    told: list[Progress] = []

    def hear(progress: Progress) -> None:
        told.append(progress)
        if len(Run.open(out).available_frames()):
            stop.set()

    out = tmp_path / "run"
    context = replace(Context(), progress=hear, stop=stop)
    with pytest.raises(Stopped):
        work(out, 7, OnePassSettings(), context=context)
    half = Run.open(out)
    assert 0 < len(half.available_frames()) < 7
    kept = half.loose(1)
    whole = work(out, 7, OnePassSettings())
    assert whole.has_finished(STAGE) and whole.available_frames() == list(range(7))
    assert np.array_equal(whole.loose(1).means, kept.means)
    assert same(whole, plain, [(frame, frame) for frame in range(7)])
    assert told[0].stage == "reconstructing" and told[0].total == 3


def test_later_chunks_see_what_the_last_one_ended_with(plain: Run, tmp_path: Path) -> None:
    # The first frame of the second chunk is the first chunk's: no second copy, and none missing.
    first = work(tmp_path / "first", 3, OnePassSettings())
    assert same(plain, first, [(frame, frame) for frame in range(3)])
    assert plain.num_frames == 7 and plain.info["fps"] == 15
    # What the second chunk is given from the sides is how frame 2 looks, and not what the user gave.
    nets = networks(FREE)
    passes = Passes(nets, cameras_of(SIDES, 0), torch.device("cpu"))
    pictures_of_it = torch.from_numpy(video(7)[2:5]).float() / 255
    moments = passes.moments(pictures_of_it, passes.sides_of(plain.loose(2)))
    assert np.array_equal(moments[1].gaussians.means, plain.loose(3).means)
    given = torch.from_numpy(SIDES.pictures).float() / 255
    assert not np.allclose(passes.moments(pictures_of_it, given)[1].gaussians.scales[0], plain.loose(3).scales[0])


def test_interpolation_gives_exactly_3_n_minus_2_frames(plain: Run, tmp_path: Path) -> None:
    run = work(tmp_path / "run", 5, TWICE)  # two chunks: none is twice there at their border, and none is missing
    assert run.num_frames == 13 == len(run.available_frames())
    assert run.info["fps"] == 45 and run.info["times"][-1] == pytest.approx(4 / 15)
    # The video's own moments are as without.
    assert same(run, plain, [(3 * frame, frame) for frame in range(5)])
    assert not np.array_equal(run.loose(1).means, run.loose(2).means)


@pytest.mark.gpu
@pytest.mark.parametrize("variant", [FREE, RAYS])
def test_chunks_and_moments_between_are_made_on_a_gpu_too(variant: Variant, tmp_path: Path) -> None:
    """The video's pictures are on the host, and what the last chunk ended with is drawn on the device."""
    one, other = (work(tmp_path / where, 7, TWICE, variant, device=where) for where in ("cpu", "cuda"))
    for frame in range(one.num_frames):
        assert np.abs(one.loose(frame).means.mean(axis=0) - other.loose(frame).means.mean(axis=0)).max() < 1e-2


def test_interpolation_without_its_network_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(Legs4dError, match=r"no network for them; give interp\.safetensors after recon\.safetensors"):
        work(tmp_path / "run", 2, TWICE, interp=False)


def test_what_no_camera_saw_is_marked(plain: Run, tmp_path: Path) -> None:
    pixels = FREE.splat_side**2
    assert plain.loose_counts.tolist() == [4 * pixels] * 7
    first, later = plain.seen(0), plain.seen(1)
    assert first is not None and later is not None
    assert (first == 1).all()  # the user's views are of the first moment
    assert later.sum() == pixels
    front = work(tmp_path / "front", 2, OnePassSettings(), sides=None)
    assert front.loose_counts.tolist() == [pixels] * 2
    assert "Only the front is there" in front.info["report"]["warnings"][0]
    guessed = work(tmp_path / "guessed", 2, OnePassSettings(), RAYS, sides=None)
    assert "guess" in guessed.info["report"]["warnings"][0] and guessed.loose_counts.min() > RAYS.splat_side**2


@torch.no_grad()
def test_tiny4d_is_told_which_views_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = networks(RAYS)
    given: list[list[list[bool]]] = []
    nets.recon.register_forward_pre_hook(lambda _, told: given.append(told[0].given[0].tolist()))
    passes = Passes(nets, cameras_of(SIDES, 0), torch.device("cpu"))
    frames = torch.from_numpy(video(2)).float() / 255
    sides = torch.from_numpy(SIDES.pictures).float() / 255
    passes.moments(frames, None)
    passes.moments(frames, sides)
    assert given == [[[True, False, False, False]] * 2, [[True] * 4, [True, False, False, False]]]


def test_the_result_stands_as_the_cameras_do() -> None:
    """From a camera that is raised, the same pictures give the same object, tilted."""
    nets = networks(FREE)
    frames = torch.from_numpy(video(2)[:1]).float() / 255
    level, raised = (
        Passes(nets, cameras_of(None, elevation), torch.device("cpu")).moments(frames, None)[0].gaussians
        for elevation in (0, 30)
    )
    turn = np.array([[1, 0, 0], [0, 3**0.5 / 2, 0.5], [0, -0.5, 3**0.5 / 2]])  # +z goes up by 30°
    assert np.allclose(raised.means, level.means @ turn.T, atol=1e-5)
    one, other = (cameras_of(None, elevation).take([0]) for elevation in (0, 30))
    one_sees, other_sees = [g.means @ c.world_to_camera[0, :3, :3].T for g, c in ((level, one), (raised, other))]
    assert np.allclose(one_sees, other_sees, atol=1e-5)
