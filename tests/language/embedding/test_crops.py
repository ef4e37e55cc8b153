"""Crops of a picture: the original's numbers, which are left out, which have changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.errors import DatasetError
from legs4d.language.embedding.changes import block_means, crop_change
from legs4d.language.embedding.crops import Pixels, cut
from legs4d.language.embedding.extract import large_crops
from legs4d.language.embedding.pyramid import pyramid, window

REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference" / "pyramid.npz"
HEIGHT, WIDTH, CAMERAS, FRAMES = 24, 32, 2, 12
RNG = np.random.default_rng(5)
PICTURE = RNG.random((CAMERAS, HEIGHT, WIDTH, 3)).astype(np.float32)


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not beside this checkout")
def test_crops_and_features_are_the_originals():
    with np.load(REFERENCE) as file:
        clips, expected, levels = file["clips"], file["features"], [file[f"level_{i}"] for i in range(5)]
    shape = pyramid(*clips.shape[-2:])
    frames = [Pixels.of(torch.from_numpy(clips[:, t]), shape) for t in range(clips.shape[1])]
    camera, crop = np.divmod(np.arange(2 * shape.num_crops), shape.num_crops)
    grid = np.empty((2 * shape.num_crops, 3), np.float32)
    for places, _ in frames[0].crops(shape, camera, crop):
        parts = [dict((p[0].item(), v) for p, v in f.crops(shape, camera, crop))[places[0].item()] for f in frames]
        grid[places.numpy()] = torch.stack(parts, dim=1).mean(dim=(1, 3, 4)).numpy()
    by_camera = grid.reshape(2, shape.num_crops, 3)
    for level, repeated in zip(shape.levels, levels, strict=True):
        ours = by_camera[:, level.first : level.first + level.count].reshape(2, level.rows, level.columns, 3)
        np.testing.assert_allclose(ours, repeated[:, :-1, :-1], atol=1e-6)
    index, weight = shape.taps
    np.testing.assert_allclose(np.einsum("hwk,chwkd->chwd", weight, by_camera[:, index]), expected, atol=1e-6)


def test_the_counts_of_the_paper():
    assert [level.count for level in pyramid(360, 640).levels] == [336, 112, 60, 40, 24]


@pytest.mark.parametrize("size", [(14, 14), (15, 40), (90, 160), (97, 131), (64, 20)])
def test_every_pixels_weights_sum_to_one_and_every_crop_is_read(size: tuple[int, int]):
    shape = pyramid(*size)
    index, weight = shape.taps
    np.testing.assert_allclose(weight.sum(-1), 1, atol=1e-6)
    assert weight.min() >= 0 and index.max() < shape.num_crops
    assert shape.read_by(np.ones((1, *size), bool)).all()


def test_pictures_too_small_for_a_pyramid_are_refused():
    with pytest.raises(DatasetError, match=r"13×13 pixels .* at least 14 pixels high"):
        pyramid(13, 13)


def test_crops_of_a_few_pixels_are_left_out_and_the_larger_ones_speak_for_their_pixels():
    shape = pyramid(32, 48)
    assert [level.size for level in shape.levels] == [4, 8, 12, 15, 19]
    large = large_crops(shape, 10)
    assert large.tolist() == [False] * shape.levels[2].first + [True] * (shape.num_crops - shape.levels[2].first)
    assert large_crops(pyramid(16, 24), 10).sum() == pyramid(16, 24).levels[-1].count  # of none but small ones, these
    assert large_crops(pyramid(72, 128), 10).all()


def test_windows_drop_missing_frames_and_repeat_the_last():
    assert window(10, 30) == [6, 7, 8, 9, 10, 11, 12, 13]
    assert window(0, 30) == [0, 1, 2, 3, 3, 3, 3, 3]
    assert window(29, 30) == [25, 26, 27, 28, 29, 29, 29, 29]
    assert window(0, 1) == [0] * 8


def test_cut_crops_are_zero_outside_and_resized_bilinearly():
    shape = pyramid(HEIGHT, WIDTH)
    pixels = Pixels.of(torch.from_numpy(PICTURE).permute(0, 3, 1, 2), shape)
    side = shape.levels[2].size
    cameras, crops = np.array([1, 0, 1]), np.array([shape.levels[2].first, 3, shape.num_crops - 1])
    found = cut(pixels, shape, cameras, crops, side, torch.float32).numpy()
    top, left, size = shape.boxes[crops[0]]
    whole = np.zeros((size, size, 3), np.float32)
    whole[-top:, -left:] = PICTURE[1, : size + top, : size + left]
    np.testing.assert_allclose(found[0], whole.transpose(2, 0, 1), atol=1e-6)
    small = cut(pixels, shape, cameras[2:], crops[2:], 4, torch.float32)
    assert found.shape == (3, 3, side, side) and small.shape == (1, 3, 4, 4)


# -- what changes -----------------------------------------------------------------------------------------------------


def test_block_means_are_means_of_blocks():
    images = RNG.random((1, 90, 100, 3)).astype(np.float32)
    means = block_means(images)
    assert means.shape == (1, 45, 50, 3)
    np.testing.assert_allclose(means[0, 7, 9], images[0, 14:16, 18:20].mean(axis=(0, 1)), atol=1e-6)


def test_only_crops_that_touch_a_change_have_changed():
    shape = pyramid(HEIGHT, WIDTH)
    before = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    after = before.copy()
    after[0, 10, 20, 1] = 0.5
    change = crop_change(shape, [block_means(before)] * 8, [block_means(before)] * 7 + [block_means(after)])[0]
    top, left, size = shape.boxes.T
    touches = (top <= 10) & (top + size > 10) & (left <= 20) & (left + size > 20)
    np.testing.assert_array_equal(change > 0, touches)
    inside = (np.minimum(top + size, HEIGHT) - np.maximum(top, 0)) * (
        np.minimum(left + size, WIDTH) - np.maximum(left, 0)
    )
    np.testing.assert_allclose(change[touches], 0.5 / (8 * 3 * inside[touches]), rtol=1e-5)
