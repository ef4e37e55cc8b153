"""What `test_captured.py` runs in a process of its own: Triton is told to interpret before it is imported."""

from __future__ import annotations

import torch

from legs4d.raster.tiles import TILE
from legs4d.reconstruct.captured.pictures import Pictures, loss_by_kernels, loss_torch
from legs4d.reconstruct.fitting.losses import TINY, Neighbourhood, motion_loss
from legs4d.reconstruct.fitting.motion_cuda import MotionCuda
from tests.reconstruct.test_captured import pictures, renderings


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
    own: Pictures = pictures(40, 70)
    drawn, which = renderings(own)
    active = own.active[which].repeat_interleave(TILE, 1).repeat_interleave(TILE, 2)
    found = []
    for kernels in (False, True):
        leaf = drawn.clone().requires_grad_()
        loss = loss_by_kernels(own, leaf, which, own.active[which], 0.2, 3.0) if kernels else None
        loss = loss_torch(own, leaf, which, 0.2, 3.0) if loss is None else loss
        (2 * loss).backward()
        assert leaf.grad is not None
        found.append((loss.detach(), torch.where(active[..., None], leaf.grad, 0)))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-6)
    assert float(found[0][1].abs().max()) > 1e-4
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-8)


if __name__ == "__main__":
    motion()
    picture()
    print("as their twins")
