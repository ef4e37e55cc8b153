"""Several states of the same Gaussians, each through a camera of its own, against one render each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster import render
from legs4d.raster.states import CameraTable, Pull, States, _render_cpu, _render_cuda, render_states
from legs4d.raster.tiles import Room
from legs4d.scene.camera import Cameras

NEAR = 0.2


def cameras(count: int) -> Cameras:
    poses = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = np.linspace(-0.3, 0.3, count), 2
    lens = np.tile(np.array([[50, 0, 24.5], [0, 50, 18], [0, 0, 1]], np.float32), (count, 1, 1))
    return Cameras(poses, lens, 49, 36, tuple(range(count)))


def states(device: str, pictures: int = 3, count: int = 200) -> list[torch.Tensor]:
    """Leaf tensors: means, quats, scales, opacities, colors, sh_rest."""
    chance = torch.Generator().manual_seed(0)
    values = [
        0.4 * torch.randn(pictures, count, 3, generator=chance),
        torch.randn(pictures, count, 4, generator=chance),
        0.02 + 0.05 * torch.rand(pictures, count, 3, generator=chance),
        0.1 + 0.8 * torch.rand(pictures, count, generator=chance),
        torch.randn(count, 3, generator=chance),
        0.2 * torch.randn(count, 8, 3, generator=chance),
    ]
    return [value.to(device).requires_grad_() for value in values]


def test_what_cuda_does_is_the_same_by_its_kernels_twins() -> None:
    table, which = CameraTable.of(cameras(4), torch.device("cpu")), torch.tensor([3, 0, 2])
    behind = torch.rand(3, 3, generator=torch.Generator().manual_seed(2))
    room = Room.of(50_000, torch.device("cpu"))
    found: list[list[torch.Tensor | None]] = []
    seen: list[torch.Tensor] = []
    for by_kernels in (True, False):
        values, pull = states("cpu"), Pull.of(200, torch.device("cpu"))
        asked = States(values[0], values[1], values[2], values[3], values[4]), table, which, behind, NEAR, pull
        color, alpha = _render_cuda(*asked, room, True) if by_kernels else _render_cpu(*asked, None, True)
        color.square().sum().backward()
        pull.collect()
        found.append([color.detach(), alpha.detach(), pull.norm, *(value.grad for value in values[:5])])
        assert color.shape == (3, 36, 49, 4)
        seen.append(pull.seen)
    assert int((seen[0] != seen[1]).sum()) < 6, "which are in the picture, but for those that just touch its border"
    for by_twins, expected in zip(*found, strict=True):
        torch.testing.assert_close(by_twins, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("views", [False, True])
def test_each_picture_is_a_render_of_its_state(device: str, views: bool) -> None:
    table = CameraTable.of(cameras(4), torch.device(device))
    which, behind = torch.tensor([3, 0, 2], device=device), torch.rand(3, 3, device=device)
    values = states(device)
    sh_rest = values[5] if views else None
    pull = Pull.of(200, torch.device(device))
    room = Room.of(50_000, torch.device(device))
    color, alpha = render_states(
        States(values[0], values[1], values[2], values[3], values[4], sh_rest),
        table,
        which,
        behind,
        near=NEAR,
        pull=pull,
        room=room,
    )
    weight = torch.rand(color.shape, generator=torch.Generator().manual_seed(1)).to(device)
    (color * weight).sum().backward()
    pull.collect()
    found = [value.grad for value in values[: 5 + views]]
    others = states(device)
    rendered = []
    for b, camera in enumerate(which.tolist()):
        one = [value[b] for value in others[:4]]
        is_foreground = torch.ones(200, dtype=torch.bool, device=device)
        rest = others[5] if views else None
        gaussians = Gaussians(one[0], one[1], one[2], one[3], others[4], is_foreground, rest)
        rendered.append(render(gaussians, table.cameras.take([camera]), background=behind[b], near=NEAR))
    expected = torch.cat([part.color for part in rendered])
    torch.testing.assert_close(color, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alpha, torch.cat([part.alpha for part in rendered]), atol=1e-5, rtol=1e-5)
    (expected * weight).sum().backward()
    for gradient, value in zip(found, others, strict=False):
        assert gradient is not None and value.grad is not None
        torch.testing.assert_close(gradient, value.grad, atol=1e-4 * float(value.grad.abs().max()), rtol=1e-3)
    norm, seen = (
        torch.stack([getattr(part.screen, name) for part in rendered]).sum(dim=0) for name in ("norm", "seen")
    )
    torch.testing.assert_close(pull.norm, norm, rtol=1e-3, atol=1e-4)
    assert torch.equal(pull.seen, seen.to(torch.float32))


@pytest.mark.gpu
def test_what_finds_no_room_is_told() -> None:
    table = CameraTable.of(cameras(4), torch.device("cuda"))
    room = Room.of(10, torch.device("cuda"))
    values = States(*states("cuda"))
    render_states(values, table, torch.tensor([0, 1, 2], device="cuda"), torch.zeros(3, 3).cuda(), near=NEAR, room=room)
    assert int(room.needed) > 10
