"""What `test_captured.py` runs in a process of its own: Triton is told to interpret before it is imported."""

from __future__ import annotations

import torch

from legs4d.reconstruct.fitting.losses import TINY, Neighbourhood, motion_loss
from legs4d.reconstruct.fitting.motion_cuda import MotionCuda
from tests.reconstruct.test_captured import by_both_ways, pictures


def motion() -> None:
    torch.manual_seed(0)
    normalize = torch.nn.functional.normalize
    means, quats = torch.randn(40, 3), normalize(torch.randn(40, 4), dim=-1)
    moved, turned = means + 0.1 * torch.randn(40, 3), normalize(quats + 0.1 * torch.randn(40, 4), dim=-1)
    neighbours = Neighbourhood(torch.randint(0, 40, (40, 5)), torch.rand(40, 5), torch.rand(40, 5))
    weights, found = torch.tensor([4.0, 3.0, 2.0]), []
    for kernels in (False, True):
        leaves = moved.clone().requires_grad_(), turned.clone().requires_grad_()
        if kernels:
            near = neighbours.index, neighbours.weight, neighbours.distance
            loss = MotionCuda.apply(*leaves, means, quats, *near, weights, TINY)
        else:
            loss = motion_loss(*leaves, means, quats, neighbours, weights)
        (2 * loss).backward()
        found.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def picture() -> None:
    for toned, size in ((False, (40, 70)), (True, (24, 20))):  # an interpreter is slow
        plain, kernels = by_both_ways(pictures(*size), toned)
        torch.testing.assert_close(kernels[0], plain[0], rtol=1e-5, atol=1e-6)
        for one, other in zip(plain[1:], kernels[1:], strict=True):
            assert float(one.abs().max()) > 1e-4
            torch.testing.assert_close(other, one, rtol=2e-3, atol=1e-5 * float(one.abs().max()))


if __name__ == "__main__":
    motion()
    picture()
    print("as their twins")
