"""Resizing by area, against sums written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.images import ImageCache, area_resize, majority_resize, read_labels, read_mask


def test_halving_averages_blocks_of_four() -> None:
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    assert np.allclose(area_resize(image, 3, 2), image.reshape(2, 2, 3, 2, 3).mean(axis=(1, 3)))


def test_a_fraction_of_a_pixel_counts_by_its_area() -> None:
    # 3 pixels into 2: each new one is a whole old one and half of the middle one
    assert np.allclose(area_resize(np.array([[0.0, 3.0, 9.0]]), 2, 1), [[(0 + 1.5) / 1.5, (1.5 + 9) / 1.5]])


def test_every_size_keeps_the_mean() -> None:
    image = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    for width, height in ((53, 37), (20, 11), (7, 36), (1, 1)):
        assert area_resize(image, width, height).mean() == pytest.approx(image.mean(), abs=1e-6)


def test_the_same_size_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (9, 7, 3))
    assert np.array_equal(area_resize(image, 7, 9), image)


def test_labels_are_voted_on_by_area() -> None:
    labels = np.array([[0, 0, 2, 2], [0, 2, 2, 7]], np.uint8)
    assert majority_resize(labels, 2, 1).tolist() == [[0, 2]]


def test_masks_and_labels_are_read_whatever_way_they_are_stored(tmp_path: Path) -> None:
    values = np.array([[0, 1], [2, 0]], np.uint8)
    for name, image in {
        "bits": Image.fromarray(values > 0),
        "grey": Image.fromarray(values * 100),
        "colour": Image.fromarray(np.stack([values] * 3, axis=-1)),
    }.items():
        image.save(tmp_path / f"{name}.png")
        assert read_mask(tmp_path / f"{name}.png").tolist() == [[False, True], [True, False]]
    palette = Image.fromarray(values).convert("P")
    palette.putdata(values.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    assert np.array_equal(read_labels(tmp_path / "palette.png"), values)
    with pytest.raises(DatasetError, match="one channel"):
        read_labels(tmp_path / "colour.png")


def test_the_cache_keeps_what_was_used_last() -> None:
    cache = ImageCache(max_bytes=2 * 8)
    loaded: list[str] = []

    def get(key: str) -> None:
        cache.get(key, lambda: loaded.append(key) or np.zeros(1))  # type: ignore[func-returns-value]

    for key in "abacab":
        get(key)
    assert "".join(loaded) == "abcb"
