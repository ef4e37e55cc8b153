"""Masks that helpers cut out of pictures: which are kept, and that a run is taken apart by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.protocols import NamedBoxes
from legs4d.segment.masks.cut_out import crops_of, cut_out


class Bright:
    """Cuts what is brighter than half out of a box; it is unsure of grey."""

    def masks(self, picture: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        found = np.zeros((len(boxes), *picture.shape[:2]), np.float32)
        for mask, (left, top, right, bottom) in zip(found, np.rint(boxes).astype(int), strict=True):
            mask[top:bottom, left:right] = picture[top:bottom, left:right].mean(-1)
        return found


class Boxes:
    def boxes(self, picture: NDArray[np.float32]) -> NamedBoxes:
        return NamedBoxes(np.array([[4, 2, 30, 20]], np.float32), np.ones(1, np.float32), ("thing",))


def test_crops_lie_all_over_a_picture() -> None:
    crops = crops_of(40, 80)
    assert (crops[:, :2] >= 0).all() and (crops[:, 2] <= 80).all() and (crops[:, 3] <= 40).all()
    assert set(np.unique(np.round(crops[:, 2] - crops[:, 0]))) == {40, 20, 10}
    seen = np.zeros((40, 80), bool)
    for left, top, right, bottom in np.rint(crops[crops[:, 2] - crops[:, 0] < 15]).astype(int):
        seen[top:bottom, left:right] = True
    assert seen.all()


def test_things_are_cut_out_once_and_what_is_unsure_or_cut_off_is_left_out() -> None:
    picture = np.zeros((40, 80, 3), np.float32)
    picture[4:16, 12:26] = 1  # a thing
    picture[12:18, 62:68] = 1  # another, small
    found = cut_out(picture, Bright(), None)
    wanted = [picture[..., 0] == 1]
    wanted = [(np.arange(80) < 40) & wanted[0], (np.arange(80) >= 40) & wanted[0]]
    for thing in wanted:
        assert sum(np.array_equal(mask, thing) for mask in found) == 1
    unsure = np.where(picture == 1, np.float32(0.55), picture)
    assert not len(cut_out(unsure[:, :24], Bright(), None))
    boxed = cut_out(picture, Bright(), Boxes())
    assert np.array_equal(boxed[0], wanted[0])
    assert cut_out(np.zeros((40, 80, 3), np.float32), Bright(), None).shape == (0, 40, 80)
