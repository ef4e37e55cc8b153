"""The CUDA lift against the CPU's. Needs a CUDA device and csrc/cuda; scripts/tools/gpu_check.sh runs it on one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import cuda_lift
from legs4d.raster.lift import lift_table
from legs4d.scene.camera import Cameras
from tests.raster.test_cpu_engine import NEAR, random_gaussians, ring_of_cameras
from tests.raster.test_lift_table import HEIGHT, VIEWS, WIDTH, random_map

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not cuda_lift.is_built(), reason="needs csrc/cuda"),
]


def on_both(
    gaussians: Gaussians, cameras: Cameras, index: np.ndarray, weight: np.ndarray, table: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    tiled = cuda_lift.tile_pixel_map(index, weight, len(table))
    found = cuda_lift.lift_table(gaussians.torch("cuda"), cameras, tiled, torch.as_tensor(table).cuda(), NEAR)
    return [
        lift_table(gaussians.numpy(), cameras, index, weight, table, NEAR),
        (found[0].cpu().numpy(), found[1].cpu().numpy()),
    ]


def check_alike(cpu: tuple[np.ndarray, np.ndarray], cuda: tuple[np.ndarray, np.ndarray]) -> None:
    for expected, found in zip(cpu, cuda, strict=True):
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
    # Each Gaussian's own mean, the faint ones too.
    seen = cpu[1] > 1e-3 * cpu[1].max()
    expected, found = (sums[seen] / mass[seen, None] for sums, mass in (cpu, cuda))
    error = np.linalg.norm(found - expected, axis=1)
    assert np.quantile(error, 0.99) < 1e-3 * np.sqrt(np.square(expected).sum(axis=1).mean())


@pytest.mark.parametrize("width", [1, 5, 64, 100, 768])
@pytest.mark.parametrize(("rows", "entries"), [(9, 4), (300, 3)])
def test_engines_agree(rows: int, entries: int, width: int) -> None:
    """300 rows: a tile mixes more than are multiplied at once."""
    index, weight = random_map(rows, entries)
    table = np.random.default_rng(1).normal(size=(rows, width)).astype(np.float32) + 0.5
    gaussians = random_gaussians(3000, seed=7, size=0.1)
    check_alike(*on_both(gaussians, ring_of_cameras(VIEWS, WIDTH, HEIGHT), index, weight, table))


def test_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    index, weight = random_map(9, 4)
    table = np.random.default_rng(1).normal(size=(9, 20)).astype(np.float32)
    scene = random_gaussians(500, seed=7, size=0.1), ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    whole = on_both(*scene, index, weight, table)[1]
    monkeypatch.setattr(cuda_lift, "SUMS_LIMIT", 5000)
    for expected, found in zip(whole, on_both(*scene, index, weight, table)[1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_nothing_seen_nothing_said_nobody_there() -> None:
    index, weight = random_map(9, 4)
    table = np.ones((9, 20), np.float32)
    cameras = ring_of_cameras(VIEWS, WIDTH, HEIGHT)
    far = random_gaussians(50, seed=7).replace(means=torch.full((50, 3), 100.0))
    nobody = far.take(torch.zeros(50, dtype=torch.bool))
    for gaussians in (far, nobody):
        sums, mass = on_both(gaussians, cameras, index, weight, table)[1]
        assert sums.shape == (len(gaussians), 20) and not sums.any() and not mass.any()
    silent = np.full_like(index, -1)
    sums, mass = on_both(random_gaussians(50, seed=7), cameras, silent, np.zeros_like(weight), table[:0])[1]
    assert not sums.any() and not mass.any()


def test_what_does_not_fit_is_refused() -> None:
    index, weight = random_map(9, 4)
    with pytest.raises(ValueError, match="past the last"):
        cuda_lift.tile_pixel_map(index, weight, 8)
    tiled = cuda_lift.tile_pixel_map(index, weight, 9)
    gaussians = random_gaussians(5, seed=1).torch("cuda")
    with pytest.raises(ValueError, match="table"):
        cuda_lift.lift_table(
            gaussians, ring_of_cameras(VIEWS, WIDTH, HEIGHT), tiled, torch.zeros(8, 3, device="cuda"), NEAR
        )
    with pytest.raises(ValueError, match="cameras"):
        cuda_lift.lift_table(
            gaussians, ring_of_cameras(2, WIDTH, HEIGHT), tiled, torch.zeros(9, 3, device="cuda"), NEAR
        )
