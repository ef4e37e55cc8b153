"""Contact sheets and timelines: the right pictures in the right places."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from legs4d.effects.pages.contact_sheet import contact_sheet, error_picture
from legs4d.effects.pages.timeline import timeline
from legs4d.grounding import query
from tests.synthetic import CAPTION_FLYING, Scene, write_run


def find_color(page: np.ndarray, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """First and last column and row of this colour."""
    rows, columns = np.nonzero((page == color).all(axis=-1))
    return columns.min(), rows.min(), columns.max(), rows.max()


def test_pictures_stand_in_their_row_and_column(tmp_path: Path):
    colors = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 0)], [(0, 255, 255), (255, 0, 255)]]
    rows: dict[str, list[Any]] = {
        name: [np.broadcast_to((np.array(c) / 255).astype(np.float32), (20, 30, 3)) for c in row]
        for name, row in zip("abc", colors, strict=True)
    }
    contact_sheet(tmp_path / "sheets" / "page.png", rows, ["left", "right"], title="all")
    page = np.asarray(Image.open(tmp_path / "sheets" / "page.png"))
    places = [[find_color(page, c) for c in row] for row in colors]
    for row in places:
        for left, top, right, bottom in row:
            assert (right - left + 1, bottom - top + 1) == (30, 20)
        assert row[0][2] < row[1][0] and row[0][1] == row[1][1]
    assert [row[0][1] for row in places] == sorted({row[0][1] for row in places})


def test_uneven_rows_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="1 pictures for 2 columns"):
        contact_sheet(tmp_path / "x.png", {"a": [np.zeros((2, 2, 3))]}, ["b", "c"])
    with pytest.raises(ValueError, match="one size"):
        contact_sheet(tmp_path / "x.png", {"a": [np.zeros((2, 2, 3)), np.zeros((3, 2, 3))]}, ["b", "c"])


def test_errors_are_black_where_equal_and_white_where_large():
    first, second = np.zeros((1, 3, 3), np.float32), np.zeros((1, 3, 3), np.float32)
    second[0, 1], second[0, 2] = 0.25 / 3, 0.9
    np.testing.assert_allclose(error_picture(first, second)[0], [[0, 0, 0], [1, 0, 0], [1, 1, 1]], atol=1e-6)


def test_a_timeline_shades_what_was_found(tmp_path: Path):
    scene = Scene(num_frames=12)
    run = write_run(tmp_path / "run", scene)
    assert scene.flight is not None
    groundings = query(run, [CAPTION_FLYING, "a surgeon"])
    timeline(tmp_path / "timeline.png", groundings, {CAPTION_FLYING: [scene.flight]})
    page = np.asarray(Image.open(tmp_path / "timeline.png").convert("RGB")).astype(int)
    upper, lower = np.array_split(page, 2)
    orange = (upper[..., 0] > 230) & (upper[..., 2] < 190) & (upper[..., 1] > 180) & (upper[..., 1] < 230)
    columns = np.flatnonzero(orange.sum(axis=0) > 40)
    inked = np.flatnonzero((upper < 60).all(axis=-1).sum(axis=0) > 40)
    left, right = inked.min(), inked.max()  # the frame around the plot, from frame -0.5 to 11.5
    start, end = (float((column - left) / (right - left) * scene.num_frames) for column in (columns[1], columns[-1]))
    assert (start, end) == (pytest.approx(scene.flight[0], abs=0.2), pytest.approx(scene.flight[1] + 1, abs=0.2))
    assert not ((lower[..., 0] > 230) & (lower[..., 2] < 190) & (lower[..., 1] > 180)).any()
