"""The swept shell on a wall whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.reconstruct import sweep
from legs4d.reconstruct.sweep import swept_shell
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage
from tests.synthetic import Scene

FLOOR = 0.6
"""Below the centre of the stage."""


def pictures(cameras: Cameras, center: np.ndarray, radius: float) -> torch.Tensor:
    """[C, H, W, 3] a patterned ball of this radius from within, cut by a patterned floor."""
    rows, columns = np.mgrid[: cameras.height, : cameras.width] + 0.5
    views = []
    for i in range(len(cameras)):
        k, turn = cameras.intrinsics[i], cameras.world_to_camera[i, :3, :3]
        rays = np.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], np.ones_like(rows)], axis=-1) @ turn
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        origin = cameras.centers[i] - center
        along = rays @ origin
        far = -along + np.sqrt(along**2 - origin @ origin + radius**2)
        down = np.where(rays[..., 1] > 1e-6, (FLOOR - origin[1]) / np.maximum(rays[..., 1], 1e-6), np.inf)
        points = origin + np.minimum(far, down)[..., None] * rays
        waves = np.stack([np.sin(5 * points @ np.array(axis)) for axis in ((1, 2, 0), (2, -1, 1), (0, 1, -2))], axis=-1)
        views.append(0.5 + 0.2 * waves)
    return torch.as_tensor(np.stack(views), dtype=torch.float32)


def test_the_shell_lies_on_the_wall_and_on_the_floor() -> None:
    cameras = Scene(width=128, height=96, num_train=12).cameras("train")
    center = np.array([0, -0.4, 0], np.float32)
    stage = Stage(center, 3.3, np.array([0, 1, 0], np.float32), near=0.3)
    radius = 1.2 * stage.radius
    images = pictures(cameras, center, radius)
    # A third of each picture is hidden by something that differs from camera to camera.
    opened = torch.ones(images.shape[:3], dtype=torch.bool)
    for i in range(len(cameras)):
        opened[i, :, 40 * (i % 3) : 40 * (i % 3) + 40] = False
    images[~opened] = torch.rand(int((~opened).sum()), 3, generator=torch.Generator().manual_seed(0))
    points, colors = swept_shell(images, opened, cameras, stage, FLOOR, 2000)
    assert points.shape == colors.shape == (2000, 3)
    offsets = points.numpy() - center
    on_floor = np.isclose(offsets[:, 1], FLOOR, atol=1e-4)
    assert on_floor.mean() > 0.3
    # What is above all pictures takes after what is seen.
    assert np.median(np.linalg.norm(offsets[~on_floor], axis=1)) == pytest.approx(radius, rel=0.02)
    assert np.mean(np.abs(np.linalg.norm(offsets[~on_floor], axis=1) / radius - 1) < 0.05) > 0.8
    assert float((colors - 0.5).abs().max()) < 0.25  # not those of what hides it


def test_without_views_the_shell_is_where_the_cameras_are() -> None:
    cameras = Scene(width=32, height=24, num_train=4).cameras("train")
    stage = Stage(np.zeros(3, np.float32), 3.3, np.array([0, 1, 0], np.float32), near=0.3)
    hidden = torch.zeros(4, 24, 32, dtype=torch.bool)
    points, colors = swept_shell(torch.rand(4, 24, 32, 3), hidden, cameras, stage, 10.0, 100)
    np.testing.assert_allclose(points.norm(dim=1).numpy(), 3.3, rtol=1e-4)
    assert (colors == 0.5).all()


@pytest.mark.parametrize("size", [(37, 64), (200, 90)])
def test_wide_windows_blur_as_sums_do(size: tuple[int, int]) -> None:
    """By spectra and by matrices, against the double sum written out."""
    plane = torch.rand(size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    window = torch.linspace(0.1, 1, 151, dtype=torch.float64)
    window = torch.minimum(window, window.flip(0)) / 40
    apart = [np.abs(np.subtract.outer(np.arange(n), np.arange(n))) for n in size]
    taps = np.pad(window.numpy()[75:], (0, 200))
    rows, columns = (torch.as_tensor(taps[distance]) for distance in apart)
    expected = rows @ plane @ columns
    assert torch.allclose(sweep._by_spectra(plane, window), expected, atol=1e-10)
    both = sweep._by_matrices(torch.stack([plane, -plane], dim=-1), window)  # as on a GPU
    assert torch.allclose(both, torch.stack([expected, -expected], dim=-1), atol=1e-10)
