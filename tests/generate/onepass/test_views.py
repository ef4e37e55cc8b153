"""Views that a user gives: what is read, and what is told by silhouettes of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError, Legs4dError
from legs4d.generate.onepass.cameras import AZIMUTHS
from legs4d.generate.onepass.views import SideViews, read_views, views_by_prior
from tests.generate.onepass.small import lopsided, pictures

SIZE = 96


def written(folder: Path, shown: NDArray[np.uint8], order: tuple[int, ...] = (1, 2, 3)) -> Path:
    """These of the four views as pictures on white."""
    folder.mkdir()
    for place, number in enumerate(order):
        picture = shown[number].astype(np.float32)
        white = picture[..., :3] + 255 - picture[..., 3:]
        Image.fromarray(white.round().astype(np.uint8)).save(folder / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def raised() -> NDArray[np.uint8]:
    """[4, S, S, 4] an object from 25° above."""
    return pictures(lopsided(), 25, AZIMUTHS, SIZE)


def read(folder: Path, raised: NDArray[np.uint8], elevation: float = 25) -> SideViews:
    return read_views(folder, 48, raised[0], elevation)


def test_true_views_are_taken_with_or_without_the_front(tmp_path: Path, raised: NDArray[np.uint8]) -> None:
    three = read(written(tmp_path / "three", raised), raised)
    four = read(written(tmp_path / "four", raised, (0, 1, 2, 3)), raised)
    assert three.pictures.shape == (3, 48, 48, 4)
    assert np.array_equal(three.pictures, four.pictures)
    assert three.azimuths == (90, 180, 270)
    assert (three.pictures[:, 0, 0] == 0).all()  # white is background


def test_views_from_below_that_are_told_to_be_from_above(tmp_path: Path, raised: NDArray[np.uint8]) -> None:
    below = pictures(lopsided(), -25, AZIMUTHS, SIZE)
    folder = written(tmp_path / "below", below)
    with pytest.raises(DatasetError, match=r"25° below the object.* not 25° above.*--elevation -25: .*downwards"):
        read(folder, below)
    read(folder, below, -25)
    with pytest.raises(DatasetError, match="25° above the object"):
        read(written(tmp_path / "above", raised), raised, -25)


def test_views_in_another_order(tmp_path: Path, raised: NDArray[np.uint8]) -> None:
    with pytest.raises(DatasetError, match=r"not in the order 90°, 180°, 270°: .*from 180°, 90°, 270°"):
        read(written(tmp_path / "mixed", raised, (2, 1, 3)), raised)


def test_views_that_show_the_object_larger_or_smaller_than_the_video_are_told(
    tmp_path: Path, raised: NDArray[np.uint8]
) -> None:
    """As where the video was cut out and the views were not."""
    solid = np.where(raised[..., 3:] >= 128, 255, 0).astype(np.uint8).repeat(4, axis=-1)
    folder = tmp_path / "views"
    folder.mkdir()
    for number in (1, 2, 3):
        Image.fromarray(solid[number]).save(folder / f"{number}.png")
    assert not read_views(folder, 48, solid[0], 25).notes
    cut = np.asarray(Image.fromarray(solid[0]).crop((16, 16, 80, 80)).resize((SIZE, SIZE)))
    (told,) = read_views(folder, 48, cut, 25).notes
    assert "0.7 times as large as from the front" in told and "80% of the picture" in told


def test_views_of_wrong_count_or_size(tmp_path: Path, raised: NDArray[np.uint8]) -> None:
    with pytest.raises(DatasetError, match=r"holds 2 pictures; .*azimuths 90, 180, 270"):
        read(written(tmp_path / "two", raised, (1, 2)), raised)
    with pytest.raises(DatasetError, match="no folder of views"):
        read(tmp_path / "nothing", raised)
    wide = written(tmp_path / "wide", raised)
    Image.new("RGB", (120, 96)).save(wide / "1.png")
    with pytest.raises(DatasetError, match=r"1\.png: a view is 120×96"):
        read(wide, raised)
    Image.new("RGB", (80, 80)).save(wide / "1.png")
    with pytest.raises(DatasetError, match=r"is 80×80, and 0\.png is 96×96"):
        read(wide, raised)
    Image.new("RGB", (96, 96), "white").save(wide / "1.png")
    with pytest.raises(DatasetError, match="shows no object"):
        read(wide, raised)


class Inventing:
    """Answers with what it was asked."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def views(self, picture: NDArray[np.float32], cameras: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
        self.picture, self.cameras, self.seed = picture, cameras, seed
        made = np.ones(self.shape, np.float32)
        made[:, 8:24, 8:24] = np.linspace(0.2, 0.8, len(made))[:, None, None, None]
        return made


def test_a_helper_is_asked_for_the_sides_and_the_back(raised: NDArray[np.uint8]) -> None:
    helper = Inventing((3, 32, 32, 3))
    made = views_by_prior(helper, "helper", raised[0], 16, 25, 7)
    assert helper.cameras.tolist() == [[0, 90, 0], [0, 180, 0], [0, 270, 0]] and helper.seed == 7
    assert helper.picture.shape == (SIZE, SIZE, 3) and (helper.picture[0, 0] == 1).all()
    assert made.source == "helper" and (made.pictures[:, 0, 0] == 0).all()
    assert made.pictures[:, 8, 8].tolist() == [[51, 51, 51, 255], [128, 128, 128, 255], [204, 204, 204, 255]]
    with pytest.raises(Legs4dError, match="not 3 square ones"):
        views_by_prior(Inventing((2, 32, 32, 3)), "helper", raised[0], 16, 25, 7)
