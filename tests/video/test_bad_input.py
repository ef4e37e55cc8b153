"""Videos as people have them: of each comes a result without gaps that says what is missing, or one sentence."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.gaussians.objects import read_objects
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from legs4d.video import work
from tests.video import drawn
from tests.video.test_video import few_steps, make

__all__ = ["few_steps"]

Mask = NDArray[np.bool_]


def disc(x: float, y: float, radius: float = drawn.RADIUS) -> Mask:
    """[H, W]."""
    rows, columns = np.mgrid[0 : drawn.HEIGHT, 0 : drawn.WIDTH] + 0.5
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 < radius**2)


def write(
    root: Path,
    things: dict[str, list[Mask]],
    numbers: list[int] | None = None,
    seen: Callable[[int, NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Path:
    """Reddish objects before the wall, by folder of their masks; `seen` is what a camera makes of a frame's picture."""
    count = len(next(iter(things.values())))
    for frame, number in enumerate(numbers or range(count)):
        picture = drawn.wall().copy()
        for shade, masks in enumerate(things.values()):
            picture[masks[frame]] = [220 - 9 * shade, 40 + 12 * shade, 40]
        for name, masks in things.items():
            mask = np.repeat(masks[frame][..., None], 3, axis=-1).astype(np.uint8) * 255
            path = root / "Annotations" / "clip" / name / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((mask if seen is None else seen(frame, mask))[..., 0]).save(path)
        path = root / "JPEGImages" / "clip" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture if seen is None else seen(frame, picture)).save(path)
    return root


def whole(path: Path) -> Run:
    """The run, of which every number is one."""
    run = Run.open(path)
    for frame in range(run.num_frames):
        now = run.frame(frame)
        for values in (now.means, now.quats, now.scales, now.opacities, now.colors):
            assert np.isfinite(values).all()
    known = read_objects(run)
    assert known is not None and np.isfinite(known.pose).all() and (known.scale > 0).all()
    return run


@pytest.mark.parametrize("hidden", [3, 10])
def test_what_leaves_and_comes_back_is_told_as_hidden(tmp_path: Path, hidden: int) -> None:
    count = hidden + 4
    gone = range(2, 2 + hidden)
    masks = [disc(25 + 3 * frame, 40) & (frame not in gone) for frame in range(count)]
    made = make(write(tmp_path / "clip", {"001": masks}), tmp_path / "run", fps=10.0)
    whole(tmp_path / "run")
    assert made["objects"][0]["hidden"] == list(gone)
    known = read_objects(Run.open(tmp_path / "run"))
    assert known is not None and known.visible[:, 0].tolist() == [frame not in gone for frame in range(count)]


@pytest.mark.parametrize("first", [False, True])
def test_one_of_two_whose_masks_are_empty_is_told(tmp_path: Path, first: bool) -> None:
    nothing = np.zeros((drawn.HEIGHT, drawn.WIDTH), bool)
    masks = {"001": [disc(25 + 3 * frame, 40) for frame in range(3)], "002": [nothing] * 3}
    made = make(write(tmp_path / "clip", masks), tmp_path / "run", fps=10.0, first=first)
    whole(tmp_path / "run")
    assert [one["id"] for one in made["objects"]] == [1]
    assert made["failed"] == [{"id": 2, "name": "", "why": "its masks are empty"}]


def test_what_the_border_cuts_is_told(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip", {"001": [disc(3 + frame, 40) for frame in range(3)]})
    made = make(clip, tmp_path / "run", fps=10.0)
    whole(tmp_path / "run")
    assert made["objects"][0]["cut"] and "border cuts it" in " ".join(made["warnings"])


def test_a_hand_that_shakes_is_a_camera_that_turns(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    fine = chance.integers(0, 255, (drawn.HEIGHT // 2, drawn.WIDTH // 2, 3)).astype(np.uint8)
    texture = np.asarray(Image.fromarray(fine).resize((drawn.WIDTH, drawn.HEIGHT), Image.Resampling.BICUBIC))

    def seen(frame: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        wall = picture == drawn.wall()
        return np.roll(np.where(wall, texture, picture), [(0, 3), (2, -2), (-3, 1), (1, -4)][frame], axis=(0, 1))

    def write_both(frame: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        is_mask = set(np.unique(picture)) <= {0, 255}
        return np.roll(picture, [(0, 3), (2, -2), (-3, 1), (1, -4)][frame], (0, 1)) if is_mask else seen(frame, picture)

    clip = write(tmp_path / "clip", {"001": [disc(40, 40)] * 4}, seen=write_both)
    made = make(clip, tmp_path / "run", fps=10.0, camera=None)
    run = whole(tmp_path / "run")
    assert made["camera"]["route"] == "turning" and run.info["cameras_move"]
    # what stands still before the wall does so in the scene, too
    known = read_objects(run)
    assert known is not None
    moved = np.linalg.norm(np.diff(known.pose[:, 0, :3], axis=0), axis=1) / made["objects"][0]["distance"][0]
    assert moved.max() < 0.02


def test_a_rolling_shutter_is_no_scene_without_numbers(tmp_path: Path) -> None:
    def seen(frame: int, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        lean = [0.0, 8.0, -8.0, 4.0][frame]
        return np.stack([np.roll(row, round(lean * y / len(picture)), axis=0) for y, row in enumerate(picture)])

    clip = write(tmp_path / "clip", {"001": [disc(40 + 3 * frame, 40) for frame in range(4)]}, seen=seen)
    made = make(clip, tmp_path / "run", fps=10.0, camera=None)
    whole(tmp_path / "run")
    assert made["camera"]["route"] in ("still", "turning") and made["camera"]["why"]


def test_numbers_with_gaps_stay_what_they_are(tmp_path: Path) -> None:
    masks = {"003": [disc(30 + 4 * n, 20, 7) for n in range(3)], "010": [disc(30 + 4 * n, 45, 7) for n in range(3)]}
    made = make(write(tmp_path / "clip", masks, [5, 9, 40]), tmp_path / "run", fps=10.0)
    run = whole(tmp_path / "run")
    known = read_objects(run)
    assert known is not None and known.ids == (3, 10) and [one["id"] for one in made["objects"]] == [3, 10]
    assert run.info["frame_numbers"] == [5, 9, 40]


def test_twelve_objects_are_twelve(tmp_path: Path) -> None:
    places = [(10 + 15 * column, 12 + 20 * row) for row in range(2) for column in range(6)]
    masks = {f"{n + 1:03d}": [disc(x + 2 * frame, y, 5) for frame in range(2)] for n, (x, y) in enumerate(places)}
    made = make(write(tmp_path / "clip", masks), tmp_path / "run", fps=10.0)
    whole(tmp_path / "run")
    assert [one["id"] for one in made["objects"]] == list(range(1, 13)) and not made["failed"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_thousand_frames_stop_go_on_and_fit_into_memory(tmp_path: Path) -> None:
    count = 2000
    clip = write(tmp_path / "clip", {"001": [disc(48 + 20 * np.sin(frame / 30), 40) for frame in range(count)]})
    told: list[Progress] = []
    stop = Event()

    def progress(now: Progress) -> None:
        told.append(now)
        if now.stage == "motion" and now.done > 10:
            stop.set()

    with pytest.raises(Stopped):
        make(clip, tmp_path / "run", Context("cpu", progress=progress, stop=stop), fps=10.0)
    assert any(one.stage == "following_points" and 0 < one.done < one.total for one in told)
    made = make(clip, tmp_path / "run", fps=10.0)
    assert made["frames"] == count and len(made["objects"][0]["routes"]) == count
    run = Run.open(tmp_path / "run")
    assert all(np.isfinite(run.frame(frame).means).all() for frame in (0, 1000, 1999))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20  # KiB


def test_more_frames_than_memory_holds_are_told_before_they_are_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "clip", {"001": [disc(25 + 3 * frame, 40) for frame in range(5)]})
    monkeypatch.setattr(work, "MOST_BYTES", 40_000)
    with pytest.raises(DatasetError, match=r"5 frames of \d+ Gaussians .*--frames 0:"):
        make(clip, tmp_path / "run", fps=10.0)
