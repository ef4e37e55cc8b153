"""Patches of pixels, against SciPy's morphology."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_opening

from legs4d.reconstruct.births.patches import patches, widened

SQUARE = np.ones((3, 3), np.bool_)


@pytest.mark.parametrize("share", [0.05, 0.8, 0.97])
@pytest.mark.parametrize("size", [(17, 30), (2, 5), (1, 1), (3, 3)])
def test_patches_are_what_is_left_of_an_opening(share: float, size: tuple[int, int]) -> None:
    masks = np.random.default_rng(0).random((4, *size)) < share
    before = masks.copy()
    assert np.array_equal(patches(masks), np.stack([binary_opening(one, SQUARE) for one in masks]))
    for times in (1, 2):
        expected = np.stack([binary_dilation(one, SQUARE, times) for one in masks])
        assert np.array_equal(widened(masks, times), expected)
        assert np.array_equal(widened(masks[0], times), expected[0])
    assert np.array_equal(masks, before)
