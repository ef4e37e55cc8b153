"""What pictures say of Gaussians: by lifting on the processor, and as the gradient of a rendering on a GPU."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from legs4d.raster import render
from legs4d.reconstruct.births import evidence
from legs4d.reconstruct.births.evidence import Evidence, compared_by_gradient, look
from legs4d.reconstruct.observation import CameraColors, Observation
from tests.raster.test_cpu_engine import NEAR, random_gaussians, ring_of_cameras


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_gradient_of_a_rendering_says_what_lifting_does(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cameras, chance = ring_of_cameras(3, 60, 44), torch.Generator().manual_seed(0)
    known, true = (random_gaussians(300, seed=seed, size=0.15) for seed in (1, 2))
    with torch.no_grad():
        images = render(true.torch(), cameras, near=NEAR).color.clamp(0, 1)
    masks = torch.zeros(3, 44, 60)
    masks[:, 10:30, 20:40] = 1
    labels, ids = np.random.default_rng(0).integers(0, 4, (3, 44, 60)).astype(np.uint8), np.array([1, 3])
    gain, offset = 0.2 * torch.randn(2, 3, 3, generator=chance)

    def told(where: str) -> tuple[Observation, CameraColors]:
        light = torch.tensor([-0.2, 0.05], device=where)
        return Observation(cameras, images.to(where), masks.to(where), labels), CameraColors(
            gain.to(where), offset.to(where), light
        )

    lifted = look(known, *told("cpu"), NEAR, ids)
    if device == "cuda":
        found = look(known, *told("cuda"), NEAR, ids)
    else:
        monkeypatch.setattr(evidence, "AT_ONCE", 2)
        found = compared_by_gradient(known.torch(), *told("cpu"), NEAR, ids, spill=2)
    assert lifted.objects.shape == (300, 2) and (lifted.objects.max(axis=0) > 1).all()
    assert lifted.mass.max() > 1 and (lifted.outside < lifted.mass).any()
    for field in fields(Evidence):
        one, other = getattr(lifted, field.name), getattr(found, field.name)
        assert one.shape == other.shape and other.dtype == np.float32
        np.testing.assert_allclose(other, one, atol=2e-3 * float(np.abs(one).max()), err_msg=field.name)
