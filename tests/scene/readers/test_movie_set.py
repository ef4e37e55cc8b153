"""Videos of several cameras: which pictures belong together, and what is said when they do not begin or end at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from legs4d.cli.options import asked
from legs4d.commands import Train
from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError, Legs4dError
from legs4d.scene.movies.movie import Movie
from legs4d.scene.movies.movie_set import MovieSet, nearest, resolve_offsets
from legs4d.scene.readers import open_sequence
from tests.scene.readers.layouts import encode, photograph, write_neu3d, write_plain_videos
from tests.scene.readers.movies import film, film_at, number_of
from tests.synthetic import FPS, Scene, write_dataset

H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "8", "-crf", "10"]


def numbers(videos: MovieSet, position: int) -> list[int]:
    return [number_of(videos.read(position, frame)) for frame in range(videos.num_frames)]


def videos(folder: Path, *filmed: dict) -> list[Movie]:
    return [Movie(film(folder / f"cam{i}.mp4", H264, **how)) for i, how in enumerate(filmed)]


def test_videos_alike_are_read_picture_by_picture(tmp_path: Path) -> None:
    found = MovieSet(videos(tmp_path, {"count": 9}, {"count": 9}))
    assert found.num_frames == 9 and found.fps == 30 and not found.notes
    assert numbers(found, 0) == numbers(found, 1) == list(range(9))


def test_a_few_frames_more_are_left_out_and_said(tmp_path: Path) -> None:
    found = MovieSet(videos(tmp_path, {"count": 33}, {"count": 30}))
    assert found.num_frames == 30
    assert [note for note in found.notes if "the 30 frames that all of them show are used, up to 0.1 s" in note]


@pytest.mark.parametrize("counts", [(8, 5), (60, 50), (30, 24)])
def test_a_greater_difference_is_refused(tmp_path: Path, counts: tuple[int, int]) -> None:
    movies = videos(tmp_path, *({"count": count} for count in counts))
    with pytest.raises(
        DatasetError, match=rf"cam1\.mp4: lasts {counts[1]} frames .* cam0\.mp4 .*--offset cam1=SECONDS"
    ):
        MovieSet(movies)
    assert MovieSet(movies, [0, 0]).num_frames == counts[1], "told that they begin at once"


def test_offsets_put_videos_on_one_clock(tmp_path: Path) -> None:
    # All film the same: the second was begun 4 pictures later and stopped first, the third 2.4 pictures later.
    movies = videos(tmp_path, {"count": 20}, {"count": 12, "first": 4}, {"count": 20, "first": 2})
    found = MovieSet(movies, [0, 4 / 30, 2.4 / 30])
    assert numbers(found, 0) == numbers(found, 1) == list(range(4, 16))
    assert numbers(found, 2) == list(range(4, 16))
    assert any("do not begin and end together" in note for note in found.notes)
    with pytest.raises(DatasetError, match=r"cam0\.mp4: ends .* before cam1\.mp4 begins; check the offsets"):
        MovieSet(movies[:2], [0, 5])


def test_other_rates_take_the_picture_nearest_in_time(tmp_path: Path) -> None:
    movies = videos(tmp_path, {"count": 25, "fps": 25}, {"count": 30, "fps": 30}, {"count": 60, "fps": 60})
    found = MovieSet(movies)
    assert found.fps == 25 and found.num_frames == 25
    for position, fps in ((1, 30), (2, 60)):
        moments = np.arange(25) / 25
        assert np.abs(np.array(numbers(found, position)) / fps - moments).max() <= 0.5 / fps + 1e-6
    (note,) = found.notes
    assert "have 25 and 30 and 60 frames a second" in note and "16.0 ms off" not in note and "ms off" in note


def test_rates_that_drift_apart_stay_together(tmp_path: Path) -> None:
    # 30 and 29.97 are half a picture apart after 500; four times that difference shows within a short video.
    movies = videos(tmp_path, {"count": 60, "fps": 30}, {"count": 60, "fps": 29.5})
    found = MovieSet(movies)
    apart = np.array(numbers(found, 0)) / 30 - np.array(numbers(found, 1)) / 29.5
    assert found.fps == 29.5 and np.abs(apart).max() <= 0.5 / 30 + 1e-6
    assert numbers(found, 0)[-1] > numbers(found, 1)[-1]


def test_a_varying_rate_is_put_in_step_with_a_steady_one(tmp_path: Path) -> None:
    seconds = [0, 0.03, 0.06, 0.09, 0.12, 0.15, 0.31, 0.35, 0.4, 0.47]
    movies = [Movie(film(tmp_path / "cam0.mp4", H264, count=15)), Movie(film_at(tmp_path / "cam1.mkv", seconds))]
    found = MovieSet(movies, [0, 0])
    shown = np.array(seconds)[numbers(found, 1)]
    clock = np.arange(found.num_frames) / found.fps
    best = np.abs(np.array(seconds)[None] - clock[:, None]).min(axis=1)
    np.testing.assert_allclose(np.abs(shown - clock), best, atol=1.1e-3)
    assert any("which vary" in note for note in found.notes)


def test_a_varying_rate_alike_in_all_gives_each_picture_once(tmp_path: Path) -> None:
    seconds = [0, 0.03, 0.06, 0.09, 0.12, 0.21, 0.3]
    found = MovieSet([Movie(film_at(tmp_path / f"cam{i}.mkv", seconds)) for i in range(2)])
    assert numbers(found, 0) == numbers(found, 1) == list(range(7)) and found.fps == pytest.approx(20)
    assert any("do not come at a steady rate, but alike in all" in note for note in found.notes)


def test_the_nearest_moment() -> None:
    times = np.array([0.0, 1.0, 3.0])
    assert nearest(times, np.array([-1, 0.4, 0.5, 0.6, 2.1, 9])).tolist() == [0, 0, 0, 1, 2, 2]
    assert nearest(times[:1], np.array([-1, 5.0])).tolist() == [0, 0]


def test_offsets_name_cameras() -> None:
    names = [("0", "left.mp4", "left"), ("1", "right.mp4", "right")]
    assert resolve_offsets({}, names, "x") == {}
    assert resolve_offsets({"right": 0.5}, names, "x") == {1: 0.5}
    assert resolve_offsets({"00": -1, "RIGHT.mp4": 2}, names, "x") == {0: -1, 1: 2}
    with pytest.raises(DatasetError, match=r"the offset of 'top' names no camera; name each once, of left, right"):
        resolve_offsets({"top": 1}, names, "x")
    with pytest.raises(DatasetError, match="named already"):
        resolve_offsets({"0": 1, "left": 1}, names, "x")


# -- in datasets -------------------------------------------------------------------------------------------------------

SCENE = Scene(num_frames=8, width=48, height=32, num_train=3, num_test=1)
WRITERS: dict[str, Callable[[Path, Scene], Path]] = {"view": write_plain_videos, "cam0": write_neu3d}


@pytest.mark.parametrize("name", WRITERS)
def test_a_camera_begun_later_is_put_right_by_its_offset(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    together = open_sequence(folder)
    true = together.images("train", 3)
    pictures = [photograph(SCENE, frame)[2] for frame in range(3, 8)]
    encode(folder / f"{name}2.mp4", pictures)
    with pytest.raises(DatasetError, match=rf"{name}2\.mp4: lasts 5 frames \(0\.5 s\), \S+ 8 frames \(0\.8 s\)"):
        open_sequence(folder)
    late = open_sequence(folder, DatasetSettings(offsets={f"{name}2": 3 / FPS}))
    assert late.num_frames == 5
    np.testing.assert_allclose(late.images("train", 0), true, atol=0.06)
    assert np.abs(late.images("train", 1) - true).max() > 0.2
    assert any("the 5 frames that all of them show are used" in note for note in late.notes)


def test_offsets_of_what_has_none_are_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, SCENE)
    for settings in (DatasetSettings(offsets={"1": 1}), DatasetSettings(align="sound")):
        with pytest.raises(DatasetError, match="has no videos, whose offsets could be given or found"):
            open_sequence(folder, settings)


def test_commands_take_offsets() -> None:
    told = (
        asked(Train, {"dataset": "d", "out": "o", "offset": ["cam03=0.5", "a=b=-1"], "align": "motion"})
        .geometry()
        .dataset
    )
    assert told.offsets == {"cam03": 0.5, "a=b": -1} and told.align == "motion"
    assert Train(dataset="d", out="o", offset={"cam03": 0.5}).geometry().dataset.offsets == {"cam03": 0.5}
    for wrong, says in ((["cam03"], "no CAM=SECONDS"), (["a=1", "a=2"], "given twice"), (["a=nan"], "no CAM=SECONDS")):
        with pytest.raises(Legs4dError, match=says):
            asked(Train, {"dataset": "d", "out": "o", "offset": wrong})
