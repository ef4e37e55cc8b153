"""The losses against what the original Dynamic3DGS computes, and against definitions."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.raster import reference
from legs4d.reconstruct.evaluation.evaluate import fit_gain, psnr
from legs4d.reconstruct.fitting.losses import Neighbourhood, floor_loss, motion_loss, motion_losses_torch, ssim
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices
from tests.raster.test_cpu_engine import gradient

REFERENCE = Path(__file__).parents[3] / "shared/reference/d3dgs_losses.npz"


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"needs {REFERENCE}")
def test_motion_losses_equal_the_original() -> None:
    with np.load(REFERENCE, allow_pickle=False) as file:
        values = {name: torch.from_numpy(file[name]) for name in file}
    state = (values["means"], values["quats"], values["prev_means"], values["prev_quats"])
    neighbours = Neighbourhood(values["neighbors"], values["weights"], values["rest_distances"])
    in_torch = motion_losses_torch(*state, neighbours)
    for i, name in enumerate(("rigid", "rot", "iso")):
        in_kernel = motion_loss(*state, neighbours, torch.eye(3)[i])
        torch.testing.assert_close(in_kernel, values[name], rtol=1e-4, atol=0, msg=name)
        torch.testing.assert_close(in_torch[i], values[name], rtol=1e-4, atol=0, msg=name)


def test_a_rigid_motion_costs_nothing() -> None:
    torch.manual_seed(0)
    means = torch.randn(30, 3)
    quats = torch.nn.functional.normalize(torch.randn(30, 4), dim=-1)
    turn = torch.nn.functional.normalize(torch.tensor([0.9, 0.1, -0.3, 0.2]), dim=0)
    w, x, y, z = turn.tolist()
    rotation = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    moved = means @ rotation.T + torch.tensor([1.0, -2.0, 0.5])
    index = torch.stack([torch.roll(torch.arange(30), shift) for shift in (1, 2, 3)], dim=1)
    distance = (means[index] - means[:, None]).norm(dim=-1)
    neighbours = Neighbourhood(index, torch.ones(30, 3), distance)
    turned = multiply(turn.expand(30, 4), quats)
    assert float(motion_loss(moved, turned, means, quats, neighbours, torch.ones(3))) < 3e-5
    # A tenth longer, without a turn: both the offsets and their lengths are a tenth off.
    for weights, expected in (([1.0, 0, 0], 0.1), ([0, 1.0, 0], 0.0), ([0, 0, 1.0], 0.1)):
        loss = motion_loss(1.1 * means, quats, means, quats, neighbours, torch.tensor(weights))
        assert float(loss) == pytest.approx(expected * float(distance.mean()), rel=1e-4, abs=1e-6)


def test_quaternions_turn_and_follow_one_another() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(2, 6, 4, dtype=torch.float64)
    turn = rotation_matrices(first)
    torch.testing.assert_close(turn, reference.rotation_matrices(first))  # written out entry by entry
    torch.testing.assert_close(rotation_matrices(multiply(first, second)), turn @ rotation_matrices(second))
    quarter = torch.tensor([[0.5**0.5, 0, 0, 0.5**0.5]])
    torch.testing.assert_close(rotation_matrices(quarter)[0] @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_floor_loss_is_the_mean_depth_below_it() -> None:
    means = torch.tensor([[0.0, 1.5, 0.0], [3.0, 0.5, 1.0]])
    assert float(floor_loss(means, torch.tensor([0.0, 1.0, 0.0]), 1.0)) == pytest.approx(0.25)


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Definition of Wang et al., pixel by pixel in float64, one channel, zeros outside."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = np.pad(x.astype(float), 5), np.pad(y.astype(float), 5)
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            a, b = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * a * a).sum() - ma**2, (window * b * b).sum() - mb**2
            covariance = (window * a * b).sum() - ma * mb
            values.append((2 * ma * mb + 1e-4) * (2 * covariance + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return float(np.mean(values))


def test_ssim_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 17, 23, 3), dtype=np.float32)
    y = np.clip(x + 0.2 * rng.standard_normal(x.shape), 0, 1).astype(np.float32)
    expected = [np.mean([slow_ssim(x[i, ..., d], y[i, ..., d]) for d in range(3)]) for i in range(2)]
    np.testing.assert_allclose(ssim(torch.from_numpy(x), torch.from_numpy(y)).numpy(), expected, rtol=1e-4)


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
def test_the_cuda_kernels_of_ssim_are_its_definition_too() -> None:
    """Triton runs them on the CPU, slowly, when told so before it is imported."""
    code = """
import numpy as np, torch
from legs4d.reconstruct.fitting.losses import ssim
from legs4d.reconstruct.fitting.ssim_cuda import SsimCuda
torch.manual_seed(0)
x, y, worth = torch.rand(2, 13, 17, 4, requires_grad=True), torch.rand(2, 13, 17, 4), torch.tensor([1.0, -2.0])
wide = x.detach().double().requires_grad_()
here, there = SsimCuda.apply(x, y), ssim(wide, y.double())
(here @ worth).backward()
(there @ worth.double()).backward()
torch.testing.assert_close(here.double(), there, rtol=1e-5, atol=1e-6)
torch.testing.assert_close(x.grad.double(), wide.grad, rtol=1e-4, atol=1e-7)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})


def test_ssim_gradient_matches_finite_differences() -> None:
    torch.manual_seed(0)
    x, y = torch.rand(2, 12, 14, 2), torch.rand(2, 12, 14, 2)
    weight = torch.tensor([0.3, -1.2])
    leaf = x.clone().requires_grad_()
    (ssim(leaf, y) * weight).sum().backward()
    # torch's own convolutions in float64 differentiate the same formula independently of the kernel.
    wide = x.double().requires_grad_()
    (ssim(wide, y.double()) * weight.double()).sum().backward()
    torch.testing.assert_close(gradient(leaf).double(), gradient(wide), rtol=1e-3, atol=1e-7)
    step, at = 1e-2, (1, 5, 6, 1)
    plus, minus = x.clone(), x.clone()
    plus[at] += step
    minus[at] -= step
    numeric = float(((ssim(plus, y) - ssim(minus, y)) * weight).sum()) / (2 * step)
    assert float(gradient(leaf)[at]) == pytest.approx(numeric, rel=2e-2)


def test_psnr_and_fitted_gain() -> None:
    truth = torch.rand(2, 8, 9, 3)
    assert float(psnr(truth + 0.1, truth)[0]) == pytest.approx(20.0, abs=1e-3)
    # Any gain and offset per channel is undone.
    seen = truth * torch.tensor([0.5, 0.8, 1.3]) + torch.tensor([0.1, 0.0, -0.2])
    assert float(psnr(fit_gain(seen, truth), truth).min()) > 80


def test_motion_kernel_agrees_with_float64_torch() -> None:
    torch.manual_seed(3)
    count, neighbours = 200, 7
    normalize = torch.nn.functional.normalize
    previous_means, previous_quats = torch.randn(count, 3), normalize(torch.randn(count, 4), dim=-1)
    means = previous_means + 0.1 * torch.randn(count, 3)
    quats = normalize(previous_quats + 0.1 * torch.randn(count, 4), dim=-1)
    hood = Neighbourhood(
        torch.randint(0, count, (count, neighbours)), torch.rand(count, neighbours), torch.rand(count, neighbours)
    )
    factors = torch.tensor([4.0, -1.0, 2.0])
    our_means, our_quats = means.clone().requires_grad_(), quats.clone().requires_grad_()
    found = motion_loss(our_means, our_quats, previous_means, previous_quats, hood, factors)
    (2 * found).backward()
    wide_means, wide_quats = means.double().requires_grad_(), quats.double().requires_grad_()
    wide_hood = Neighbourhood(hood.index, hood.weight.double(), hood.distance.double())
    expected = motion_losses_torch(wide_means, wide_quats, previous_means.double(), previous_quats.double(), wide_hood)
    total = factors.double() @ expected
    (2 * total).backward()
    torch.testing.assert_close(found.detach().double(), total.detach(), rtol=1e-5, atol=0)
    for mine, theirs in ((our_means, wide_means), (our_quats, wide_quats)):
        torch.testing.assert_close(gradient(mine).double(), gradient(theirs), rtol=1e-3, atol=1e-6)
