"""Objects cut out of pictures and put into the middle; what is no picture of one object is told in one sentence."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.generate.subject import background
from legs4d.generate.subject.source import MOST_FRAMES, Subject, read_subject
from legs4d.progress import StageReporter

SIDE = 64


def picture(*boxes: tuple[int, int, int, int], color: tuple[int, int, int] = (200, 30, 30)) -> np.ndarray:
    """White, with boxes (left, top, right, bottom) on it."""
    found = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for left, top, right, bottom in boxes:
        found[top:bottom, left:right] = color
    return found


def read(path: Path, **how: object) -> Subject:
    return read_subject(path, SIDE, torch.device("cpu"), StageReporter("reading"), **how)  # type: ignore[arg-type]


def save(folder: Path, *pictures: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for number, one in enumerate(pictures):
        Image.fromarray(one).save(folder / f"{number}.png")
    return folder


def test_a_plain_background_goes_with_its_holes_and_what_is_like_it_inside_stays(tmp_path: Path) -> None:
    shown = picture((10, 10, 50, 50))
    shown[20:40, 20:40] = 255  # a window, of exactly the background's colour
    shown[44:48, 12:16] = 235  # an eye, which is only nearly
    found = read(save(tmp_path / "a", shown), centred=False)
    alpha = found.alphas[0]
    assert found.by == "plain" and found.crop == (0, 0, SIDE)
    assert alpha[30, 30] == 0 and alpha[5, 5] == 0 and alpha[46, 14] == 1 and alpha[15, 30] == 1


def test_the_object_is_put_into_the_middle_by_all_frames_together(tmp_path: Path) -> None:
    found = read(save(tmp_path / "a", picture((4, 20, 12, 28)), picture((28, 20, 36, 28))))
    left, top, side = found.crop
    assert side == pytest.approx(32 / 0.8) and (left + side / 2, top + side / 2) == (20, 24)
    columns = [np.flatnonzero(alpha.max(axis=0) > 0.5) for alpha in found.alphas]
    assert columns[0][0] == pytest.approx(0.1 * SIDE, abs=1) and columns[1][-1] == pytest.approx(0.9 * SIDE, abs=1)


def test_alpha_counts_where_there_is_some(tmp_path: Path) -> None:
    shown = np.dstack([picture((10, 10, 50, 50)), np.zeros((SIDE, SIDE), np.uint8)])
    shown[15:30, 15:30, 3] = 255
    found = read(save(tmp_path / "a", shown), centred=False)
    assert found.by == "alpha" and found.alphas[0].sum() == pytest.approx(15 * 15, rel=0.02)


def test_what_no_object_can_be_taken_from_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEGS4D_PRIORS", str(tmp_path / "none"))
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    with pytest.raises(DatasetError, match=r"neither transparent nor of one colour; .*legs4d priors get u2netp"):
        read(save(tmp_path / "noise", noise))
    with pytest.raises(DatasetError, match=r"shows two objects \(the second has 100% of the first's pixels\)"):
        read(save(tmp_path / "two", picture((4, 4, 20, 20), (40, 40, 56, 56))))
    gone = save(tmp_path / "gone", picture((4, 4, 20, 20)), picture((4, 4, 20, 20)), picture())
    with pytest.raises(DatasetError, match="picture 2 shows no object"):
        read(gone)
    with pytest.raises(DatasetError, match="picture 2 shows no object"):
        read(gone, frames=(1, 2))
    many = save(tmp_path / "many", picture((4, 4, 20, 20)))
    for number in range(1, MOST_FRAMES + 1):
        os.link(many / "0.png", many / f"{number}.png")
    with pytest.raises(DatasetError, match=r"has 601 frames, and 600 are the most .*--frames 0:599"):
        read(many)
    with pytest.raises(DatasetError, match="has no frames 0 to 700"):
        read(many, frames=(0, 700))
    with pytest.raises(DatasetError, match="no such file or folder"):
        read(tmp_path / "film.mp4")


def test_a_long_video_is_kept_as_bytes(tmp_path: Path) -> None:
    """Colours as read and what is cut out of them, 7 bytes a pixel; as floats they were 28."""
    shown = picture((4, 4, 20, 20)).repeat(4, axis=0).repeat(4, axis=1)
    peaks = []
    for count in (4, 52):
        folder = save(tmp_path / str(count), shown)
        for number in range(1, count):
            os.link(folder / "0.png", folder / f"{number}.png")
        tracemalloc.start()
        read(folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 48 < 8 * shown.shape[0] * shown.shape[1]


def test_a_video_of_one_frame_is_told(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "one.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=8)
        stream.width = stream.height = SIDE
        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture((4, 4, 20, 20)), format="rgb24")))
        film.mux(stream.encode())
    with pytest.raises(DatasetError, match="is a video of a single frame, in which nothing moves"):
        read(path)


def test_an_object_that_the_picture_cuts_off_is_noted(tmp_path: Path) -> None:
    shown = np.dstack([picture((0, 10, 30, 50)), np.zeros((SIDE, SIDE), np.uint8)])
    shown[10:50, :30, 3] = 255
    assert "cuts the object off" in read(save(tmp_path / "a", shown)).notes[0]


class Masks:
    """A helper that calls what is red the object."""

    def masks(self, color: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        red = (color[..., 0] - color[..., 1]).clip(0, 1)
        return np.where(red > 0.6, 1, red)[None].astype(np.float32)


def test_what_a_helper_cuts_out_by_leaps_is_noted_and_a_picture_it_cannot_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "is_there", lambda *_: True)
    monkeypatch.setattr(background, "open_prior", lambda *_: Masks())
    grey = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 1), np.uint8).repeat(3, axis=2)

    def shown(side: int, red: int = 255) -> np.ndarray:
        found = grey.copy()
        found[20 : 20 + side, 20 : 20 + side] = (red, 0, 0)
        return found

    folder = save(tmp_path / "a", shown(20), shown(22), shown(30), shown(29))
    (note,) = read(folder).notes
    assert "changes 1.9 times in size from picture 1 to 2" in note
    assert read(folder, frames=(1, 3)).notes == (note,)
    assert not read(folder, frames=(0, 1)).notes and not read(folder, frames=(2, 3)).notes
    with pytest.raises(DatasetError, match=r"background of picture 2 cannot be told off; leave it out, by --frames"):
        read(save(tmp_path / "b", shown(20), shown(20), shown(20, 130)), frames=(1, 2))
