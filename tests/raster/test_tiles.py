"""Which Gaussians each tile draws, by kernels and without."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.raster.constants import ALPHA_MIN
from legs4d.raster.tiles import TILE, Projected, Room, composite, in_tiles, project, touches
from tests.raster.test_cpu_engine import NEAR, random_gaussians, ring_of_cameras

WIDTH, HEIGHT = 100, 50
COLUMNS, ROWS = -(-WIDTH // TILE), -(-HEIGHT // TILE)


def long_gaussians(device: str) -> tuple[Projected, torch.Tensor]:
    """Gaussians of which most are much longer than wide, as three cameras see them, and opacities [3, N]."""
    cameras, chance = ring_of_cameras(3, WIDTH, HEIGHT), torch.Generator().manual_seed(0)
    gaussians = random_gaussians(400, seed=3, size=0.02)
    stretched = gaussians.scales * torch.exp(1.2 * torch.randn(400, 3, generator=chance)).numpy()
    opacities = torch.rand(400, generator=chance)
    opacities[:20] = 0  # left out of a step
    viewmats, intrinsics = (torch.as_tensor(one) for one in (cameras.world_to_camera, cameras.intrinsics))
    means, quats, scales = (torch.as_tensor(one) for one in (gaussians.means, gaussians.quats, stretched))
    size = WIDTH, HEIGHT
    given = project(means, quats, scales, torch.full((400,), 0.9), viewmats, intrinsics, size, NEAR)
    parts = (getattr(given, name).to(device) for name in ("centers", "radii", "depths", "conics"))
    return Projected(*parts), opacities.expand(3, -1).to(device)


def most_seen(given: Projected, opacities: torch.Tensor, number: int, tile: int) -> float:
    """Greatest alpha of a Gaussian (its position in all pictures) at the pixels of a tile (likewise)."""
    row, column = tile // COLUMNS % (ROWS + 1), tile % COLUMNS
    x, y = given.centers.flatten(0, 1)[number].tolist()
    a, b, c = given.conics.flatten(0, 1)[number].tolist()
    v, u = np.mgrid[:TILE, :TILE] + 0.5
    u, v = u + column * TILE - x, v + row * TILE - y
    return float(opacities.flatten()[number]) * float(np.exp(-0.5 * (a * u * u + c * v * v) - b * u * v).max())


def lists_by_both_ways(device: str) -> None:
    given, opacities = long_gaussians(device)
    lists = []
    for kernels in (False, True):
        room = Room.of(40_000, torch.device(device))
        offsets, numbers = in_tiles(given, opacities, COLUMNS, ROWS + 1, room, kernels=kernels)
        assert 1500 < int(room.needed) < room.size, int(room.needed)
        ends = [*offsets.flatten().tolist(), room.size]
        lists.append([numbers[low:high].tolist() for low, high in pairwise(ends)])
        for picture in range(3):
            undrawn = (picture * (ROWS + 1) + ROWS) * COLUMNS
            for tile in range(undrawn, undrawn + COLUMNS):
                lists[-1][tile] = []  # there lies what is left of the room
    depths, left_out, kept, seen = given.depths.flatten(), 0, 0, 0
    for tile, (every, some) in enumerate(zip(*lists, strict=True)):
        assert depths[every].diff().min() >= 0 if len(every) > 1 else True
        chosen = set(some)
        assert some == [number for number in every if number in chosen]
        for number in every:
            alpha = most_seen(given, opacities, number, tile)
            if number in chosen:
                kept, seen = kept + 1, seen + (alpha >= ALPHA_MIN)
            else:
                left_out += 1
                assert alpha < ALPHA_MIN
    assert left_out > 0.2 * (kept + left_out) and seen > 0.9 * kept


def test_what_is_not_drawn_touches_nothing_whatever_its_memory_held() -> None:
    active = torch.zeros(1, ROWS, COLUMNS, dtype=torch.bool)
    active[0, 1, 2] = True
    centers = torch.tensor([[[2.5 * TILE, 1.5 * TILE], [torch.nan, torch.inf], [0.5 * TILE, 1.5 * TILE]]])
    radii = torch.tensor([[[3, 3], [0, 5], [3, 3]]], dtype=torch.int32)
    assert touches(active, centers, radii).tolist() == [[1, 0, 0]]


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with PyTorch on Linux alone")
def test_the_kernel_leaves_out_what_no_pixel_sees_in_triton_s_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.raster.tiles_on_cpu"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "as their twin", done.stderr


@pytest.mark.gpu
def test_the_kernel_leaves_out_what_no_pixel_sees() -> None:
    lists_by_both_ways("cuda")


@pytest.mark.gpu
def test_pictures_are_the_same_whoever_finds_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    given, opacities = long_gaussians("cuda")
    channels, drawn = torch.rand(3, 400, 4, device="cuda"), []
    for kernels in (False, True):
        monkeypatch.setattr("legs4d.raster.tiles.has_triton", lambda kernels=kernels: kernels)
        room = Room.of(40_000, torch.device("cuda"))
        drawn.append(composite(given, channels, opacities, (WIDTH, HEIGHT), room))
    (plain, _), (found, _) = drawn
    assert float(plain.max()) > 0.5 and torch.equal(found, plain)
