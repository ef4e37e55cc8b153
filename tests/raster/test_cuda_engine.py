"""The CUDA engine (gsplat) against the CPU engine. Needs a CUDA device; scripts/tools/gpu_check.sh runs it on one."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from legs4d.raster import render
from legs4d.reconstruct.fitting.losses import Neighbourhood, motion_loss, ssim
from tests.raster.test_cpu_engine import (
    NEAR,
    PARAMETERS,
    gradient,
    random_gaussians,
    relative_error,
    ring_of_cameras,
    with_gradients,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find_spec("gsplat") is None, reason="needs gsplat"),
]


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("feature_count", [0, 1, 6])
def test_engines_agree(feature_count: int, antialiased: bool) -> None:
    cameras = ring_of_cameras(3, 128, 96, focal=90.0)
    base = random_gaussians(3000, seed=7, size=0.06)
    torch.manual_seed(1)
    features = torch.rand(3000, feature_count)
    background = torch.rand(3, 3 + feature_count)
    weights = torch.rand(3, 96, 128, 3 + feature_count + 1) - 0.3
    results = {}
    for device in ("cpu", "cuda"):
        gaussians = with_gradients(base.torch(device), torch.float32)
        leaf = features.clone().to(device).requires_grad_()
        out = render(
            gaussians,
            cameras,
            leaf if feature_count else None,
            background,
            near=NEAR,
            depth=True,
            antialiased=antialiased,
        )
        assert out.depth is not None
        images = torch.cat([part for part in (out.color, out.features, out.depth[..., None]) if part is not None], -1)
        ((images * weights.to(device)).sum() + out.alpha.square().sum()).backward()
        gradients = {name: gradient(getattr(gaussians, name)).cpu() for name in PARAMETERS}
        if feature_count:
            gradients["features"] = gradient(leaf).cpu()
        gradients["screen"] = out.screen.norm.cpu()
        results[device] = (images.detach().cpu(), out.alpha.detach().cpu(), gradients, out.screen.seen.cpu())
    cpu, cuda = results["cpu"], results["cuda"]
    assert relative_error(cuda[0], cpu[0]) < 1e-3
    assert relative_error(cuda[1], cpu[1]) < 1e-3
    for name, expected in cpu[2].items():
        assert relative_error(cuda[2][name], expected) < 1e-2, name
    # Whether a Gaussian at the very edge counts as seen may differ.
    assert float((cuda[3] != cpu[3]).float().mean()) < 0.01


def test_colours_that_depend_on_the_view_agree() -> None:
    cameras = ring_of_cameras(3, 128, 96, focal=90.0)
    base = random_gaussians(2000, seed=8, size=0.06)
    torch.manual_seed(2)
    rest, features = 0.3 * torch.randn(2000, 15, 3), torch.rand(2000, 2)
    found = {}
    for device in ("cpu", "cuda"):
        leaf = rest.clone().to(device).requires_grad_()
        gaussians = base.torch(device).replace(sh_rest=leaf)
        out = render(gaussians, cameras, features.to(device), near=NEAR)
        assert out.features is not None
        (out.color.square().sum() + out.features.sum()).backward()
        found[device] = (out.color.detach().cpu(), out.features.detach().cpu(), gradient(leaf).cpu())
    for cuda, cpu, most in zip(found["cuda"], found["cpu"], (1e-3, 1e-3, 1e-2), strict=True):
        assert relative_error(cuda, cpu) < most


def test_a_region_renders_the_same_there_and_nothing_elsewhere() -> None:
    cameras = ring_of_cameras(3, 120, 90)
    region = torch.zeros(3, 90, 120, dtype=torch.bool, device="cuda")
    region[0, 20:60, 30:100] = True
    region[1, 85:, 110:] = True
    images, gradients = [], []
    for part in (None, region):
        gaussians = with_gradients(random_gaussians(2000, seed=3, size=0.06).torch("cuda"), torch.float32)
        out = render(gaussians, cameras, near=NEAR, region=part)
        ((out.color.sum(dim=-1) + out.alpha) * region).sum().backward()
        images.append(torch.cat([out.color, out.alpha[..., None]], dim=-1).detach())
        gradients.append({name: gradient(getattr(gaussians, name)) for name in PARAMETERS})
    assert torch.equal(images[0][region], images[1][region])
    assert not images[1][2].any() and not images[1][0, :16].any()
    for name, expected in gradients[0].items():
        assert relative_error(gradients[1][name], expected) < 1e-4, name


def test_losses_agree() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 40, 50, 3), torch.rand(2, 40, 50, 3)
    torch.testing.assert_close(ssim(x.cuda(), y.cuda()).cpu(), ssim(x, y), rtol=1e-4, atol=1e-6)
    normalize = torch.nn.functional.normalize
    means, quats = torch.randn(50, 3), normalize(torch.randn(50, 4), dim=-1)
    moved, turned = means + 0.1 * torch.randn(50, 3), normalize(quats + 0.1 * torch.randn(50, 4), dim=-1)
    index, weight, distance = torch.randint(0, 50, (50, 5)), torch.rand(50, 5), torch.rand(50, 5)
    weights = torch.tensor([4.0, 4.0, 2.0])
    on_cpu = motion_loss(moved, turned, means, quats, Neighbourhood(index, weight, distance), weights)
    on_cuda = motion_loss(
        moved.cuda(),
        turned.cuda(),
        means.cuda(),
        quats.cuda(),
        Neighbourhood(index.cuda(), weight.cuda(), distance.cuda()),
        weights.cuda(),
    )
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, rtol=1e-4, atol=1e-7)
