"""Lifting a table through a pixel→row map, against the float64 twin's weights written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.lift import lift_table
from legs4d.raster.reference import render_reference
from legs4d.scene.camera import Cameras
from tests.raster.test_cpu_engine import NEAR, random_gaussians, ring_of_cameras

WIDTH, HEIGHT, VIEWS = 37, 27, 3


def random_map(rows: int, entries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel mixes some rows; rows repeat, some entries and some pixels say nothing."""
    random = np.random.default_rng(seed)
    index = random.integers(-1, rows, (VIEWS, HEIGHT, WIDTH, entries)).astype(np.int32)
    weight = np.where(index >= 0, random.uniform(0, 1, index.shape), 0).astype(np.float32)
    index[:, :4], weight[:, :4] = -1, 0
    return index, weight


def compositing_weights(gaussians: Gaussians, cameras: Cameras) -> np.ndarray:
    """W, [C, H, W, N] in float64: what each Gaussian's own channel shows."""
    exact = gaussians.replace(
        **{name: getattr(gaussians, name).double() for name in ("means", "quats", "scales", "opacities", "colors")}
    )
    own = torch.eye(len(gaussians), dtype=torch.float64)
    return render_reference(exact, cameras, own, None, NEAR)[0][..., :-1].numpy()


@pytest.mark.parametrize("width", [1, 5, 64, 100])
def test_the_mean_of_what_pixels_say_for_any_width(width: int) -> None:
    gaussians, cameras = random_gaussians(60, seed=3, size=0.3), ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    index, weight = random_map(rows=9, entries=4)
    table = np.random.default_rng(1).normal(size=(9, width)).astype(np.float32)
    sums, mass = lift_table(gaussians.numpy(), cameras, index, weight, table, NEAR)
    weights = compositing_weights(gaussians, cameras)
    said = (weight[..., None] * table[index]).sum(axis=3, dtype=np.float64)
    expected = np.einsum("chwn,chwd->nd", weights, said)
    assert sums.shape == (60, width)
    assert np.abs(sums - expected).max() < 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(mass, np.einsum("chwn,chw->n", weights, weight.sum(-1)), rtol=1e-3, atol=1e-4)


def test_a_map_of_no_rows_and_a_camera_that_sees_nothing_give_nothing() -> None:
    gaussians = random_gaussians(5, seed=3).replace(means=torch.full((5, 3), 100.0))
    cameras = ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    index, weight = random_map(rows=9, entries=2)
    sums, mass = lift_table(gaussians.numpy(), cameras, index, weight, np.ones((9, 3), np.float32), NEAR)
    assert not sums.any() and not mass.any()
    silent = np.full_like(index, -1)
    seen = random_gaussians(5, seed=3).numpy()
    sums, mass = lift_table(seen, cameras, silent, np.zeros_like(weight), np.zeros((0, 3), np.float32), NEAR)
    assert sums.shape == (5, 3) and not sums.any() and not mass.any()


def test_an_index_past_the_last_row_is_refused() -> None:
    gaussians, cameras = random_gaussians(5, seed=3), ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    index, weight = random_map(rows=9, entries=2)
    with pytest.raises(ValueError, match="past the last"):
        lift_table(gaussians.numpy(), cameras, index, weight, np.ones((8, 3), np.float32), NEAR)
