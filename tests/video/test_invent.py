"""Sides that nobody saw, through a small random Zero123: what is seen stays, the rest moves as its gradient says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.context import QUIET
from legs4d.priors.guidance.zero123 import Zero123
from legs4d.video.input.things import Crop
from legs4d.video.objects.canonical import Canonical
from legs4d.video.objects.invent import InventSettings, invent, noise_step, view_cameras
from legs4d.video.objects.surface import blow_up
from tests.priors.test_published import zero123_twin

SIDE = 24
UP = np.array([0.0, -1.0, 0.0])
MATRIX = np.array([[80.0, 0, SIDE / 2], [0, 80.0, SIDE / 2], [0, 0, 1]])


def test_noise_falls_as_published() -> None:
    assert [noise_step(share) for share in (0.0, 0.5, 1.0)] == [980, 500, 20]


def test_views_stand_around_the_object() -> None:
    cameras = view_cameras(np.array([[0.0, 0.0], [0.0, 90.0], [30.0, 0.0]]), np.array([0, 0, 1.0]), UP, 0.2, 32)
    front, right, above = cameras.centers.astype(np.float64)
    assert front[2] < 0 and abs(front[0]) < 1e-6  # where the object's own camera is
    assert right[0] > 0 and abs(right[2]) < 1e-6 and above[1] < 0  # +y is down
    for pose in cameras.world_to_camera:  # all look at it
        assert np.allclose(pose[:2, 3], 0, atol=1e-6) and pose[2, 3] > 0


@pytest.mark.long
def test_what_was_seen_stays_and_the_rest_is_made_up(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(SIDE) + 0.5 - SIDE / 2, np.arange(SIDE) + 0.5 - SIDE / 2)
    mask = x**2 + y**2 < 8**2
    picture = np.concatenate([np.full((SIDE, SIDE, 3), 0.7), mask[..., None]], axis=-1).astype(np.float32)
    blown = blow_up(picture[..., :3], mask, MATRIX, UP)
    points = (blown.pixels[: int(blown.seen.sum())] + 0.5).astype(np.float64)
    canonical = Canonical(blown, 0, points, Crop(0, 0, 1, SIDE), False)
    torch.manual_seed(0)
    prior = Zero123(zero123_twin(tmp_path / "twin"), torch.device("cpu"), side=32)
    few = InventSettings(steps=2, views=1, most_side=32)
    made = invent(canonical, picture, MATRIX, UP, prior, few, torch.device("cpu"), QUIET.reporter("inventing"))
    before, after = canonical.blown.gaussians, made.blown.gaussians
    seen = blown.seen > 0.5
    assert np.array_equal(before.means[seen], after.means[seen])
    assert np.abs(before.means[~seen] - after.means[~seen]).max() > 0
    assert np.isfinite(after.means).all() and np.isfinite(after.colors).all()


def test_the_gradient_is_that_of_score_distillation(tmp_path: Path) -> None:
    prior = Zero123(zero123_twin(tmp_path / "twin"), torch.device("cpu"), side=32)
    reference = prior.reference(np.full((32, 32, 3), 0.5, np.float32))
    poses = prior.pose(10.0, 40.0, 0.0)[None]
    rendering = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()
    step = 400
    prior.loss(rendering, poses, reference, step, generator=torch.Generator().manual_seed(2)).backward()
    # w (ε̂ − ε) ∂z/∂x with w = 1 − ᾱ, worked out apart from the loss
    other = rendering.detach().clone().requires_grad_()
    latents = prior._vae.encode(other * 2 - 1).latent_dist.mode() * prior._vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    kept = prior._kept[step]
    noisy = (kept.sqrt() * latents + (1 - kept).sqrt() * noise).detach()
    told = prior._noise_in(noisy, poses, reference, step, 5.0)
    (latents * ((1 - kept) * (told - noise)).detach()).sum().backward()
    assert rendering.grad is not None and other.grad is not None
    assert rendering.grad.numpy() == pytest.approx(other.grad.numpy(), abs=1e-6)
