"""Steps that are captured in graphs, and what they are made of, against the plain way to do the same."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.config import MotionRates, NodeSettings, TrackingSettings
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.raster import render
from legs4d.raster.states import CameraTable
from legs4d.raster.still import Still, near_tiles
from legs4d.raster.tiles import TILE, Room, active_tiles, composite, project
from legs4d.reconstruct.captured.pictures import Pictures, loss_by_kernels, loss_torch
from legs4d.reconstruct.captured.replay import WARM_UP, Replay, Rows
from legs4d.reconstruct.captured.tracker import CapturedTracker
from legs4d.reconstruct.fitting.losses import Neighbourhood, motion_loss
from legs4d.reconstruct.observation import CameraColors, Observation
from legs4d.reconstruct.tracker import Tracker
from legs4d.reconstruct.tracking import Motion, PlainTracker, find_structure
from legs4d.scene.stage import Stage
from tests.raster.test_cpu_engine import NEAR, random_gaussians, relative_error, ring_of_cameras

EITHER = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
STAGE = Stage(np.array([0, 0, 0], np.float32), 3.3, np.array([0, 1, 0], np.float32), near=NEAR)


def pictures(height: int, width: int, device: str = "cpu") -> Pictures:
    """Of three cameras, of which little is needed; some of it is white."""
    chance = torch.Generator().manual_seed(0)
    rows, columns = -(-height // TILE), -(-width // TILE)
    region = torch.zeros(3, height, width, dtype=torch.bool)
    region[0, 20:30, 24:50], region[1, height - 6 :, width - 10 :], region[2, :3, :3] = True, True, True
    active = torch.zeros(3, rows + 1, columns, dtype=torch.bool)
    active[:, :rows] = active_tiles(region, rows, columns)
    truth = torch.rand(3, height, width, 4, generator=chance)
    truth[..., :3] = torch.where(truth[..., :3] > 0.9, 0.99, truth[..., :3])
    drawn = active.repeat_interleave(TILE, 1).repeat_interleave(TILE, 2)
    truth[..., 3] *= drawn[:, :height, :width]
    gain, offset = 0.5 + torch.rand(3, 3, generator=chance), 0.1 * torch.rand(3, 3, generator=chance)
    light = 0.6 + 0.5 * torch.rand(3, height, width, generator=chance)
    return Pictures(*(value.to(device) for value in (truth, region, active, gain, offset, light)))


def renderings(own: Pictures) -> tuple[torch.Tensor, torch.Tensor]:
    """Four by cameras of these pictures, which: nothing is drawn where no tile is active."""
    device = own.truth.device
    which = torch.tensor([2, 0, 1, 0], device=device)
    active = own.active[which].repeat_interleave(TILE, 1).repeat_interleave(TILE, 2)
    drawn = 1.3 * torch.rand(*active.shape, 4, generator=torch.Generator().manual_seed(1)).to(device)
    return drawn * active[..., None], which


def by_both_ways(own: Pictures, toned: bool) -> list[list[torch.Tensor]]:
    """The loss, and its gradient by what is drawn, in plain PyTorch and in kernels; if `toned` with every tile drawn,
    and the gradients by how cameras see colours."""
    if toned:
        active = torch.ones_like(own.active)
        active[:, -1] = False
        own = replace(own, active=active)
    drawn, which = renderings(own)
    active = own.active[which].repeat_interleave(TILE, 1).repeat_interleave(TILE, 2)
    found = []
    for kernels in (False, True):
        leaf = drawn.clone().requires_grad_()
        tones = [value.clone().requires_grad_(toned) for value in (own.gain, own.offset, own.light)]
        seen = replace(own, gain=tones[0], offset=tones[1], light=tones[2])
        if kernels:
            loss = loss_by_kernels(seen, leaf, which, own.active[which], 0.2, 3.0)
        else:
            loss = loss_torch(seen, leaf, which, 0.2, 3.0)
        (2 * loss).backward()
        gradients = [value.grad for value in (leaf, *tones) if value.grad is not None]
        assert len(gradients) == (4 if toned else 1)
        found.append([loss.detach(), torch.where(active[..., None], gradients[0], 0), *gradients[1:]])
    return found


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with PyTorch on Linux alone")
def test_kernels_are_their_twins_in_triton_s_interpreter() -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.reconstruct.kernels_on_cpu"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "as their twins", done.stderr


@pytest.mark.gpu
def test_kernels_are_their_twins() -> None:
    for toned in (False, True):
        plain, kernels = by_both_ways(pictures(200, 330, "cuda"), toned)
        torch.testing.assert_close(kernels[0], plain[0], rtol=1e-4, atol=1e-6)
        for one, other in zip(plain[1:], kernels[1:], strict=True):
            assert relative_error(other, one) < 1e-3
    torch.manual_seed(0)
    quats = torch.nn.functional.normalize(torch.randn(2, 3000, 4), dim=-1)
    places, index = torch.randn(2, 3000, 3), torch.randint(0, 3000, (3000, 20))
    near, distance = torch.rand(3000, 20), torch.rand(3000, 20)
    by = {}
    for device in ("cpu", "cuda"):
        leaves = places[0].clone().to(device).requires_grad_(), quats[0].clone().to(device).requires_grad_()
        neighbours = Neighbourhood(index.to(device), near.to(device), distance.to(device))
        weights = torch.tensor([4.0, 3.0, 2.0], device=device)
        motion_loss(*leaves, places[1].to(device), quats[1].to(device), neighbours, weights).backward()
        by[device] = [leaf.grad.cpu() for leaf in leaves if leaf.grad is not None]
        assert len(by[device]) == 2
    for one, other in zip(by["cpu"], by["cuda"], strict=True):
        assert relative_error(other, one) < 1e-3


@EITHER
def test_what_is_still_is_drawn_where_it_is_needed_as_if_it_were_projected_anew(device: str) -> None:
    cameras, where = ring_of_cameras(3, 90, 50), torch.device(device)
    table, which = CameraTable.of(cameras, where), torch.tensor([2, 0], device=device)
    both = random_gaussians(900, seed=4, size=0.08).torch(device)
    number = torch.arange(900, device=device)
    still, moving = both.take(number < 600), both.take(number >= 600)
    region = torch.zeros(3, 50, 90, dtype=torch.bool, device=device)
    region[0, 10:40, 20:70], region[2, 40:, :30] = True, True
    active = torch.zeros(3, 5, 6, dtype=torch.bool, device=device)
    active[:, :4] = active_tiles(region, 4, 6)
    found = []
    for apart in (True, False):
        leaf = moving.means.clone().requires_grad_()
        now = moving.replace(means=leaf)
        if apart:
            size, views = (90, 50), (table.viewmats, table.intrinsics)
            projected = project(still.means, still.quats, still.scales, still.opacities, *views, size, NEAR)
            near = near_tiles(projected, active)
            assert near[0].any() and not near[1].any()
            held = Still.empty(3, int(near.sum(dim=1).max()) + 7, 3, where)
            held.load(projected, near, still.rgb, still.opacities)
            picked = views[0][which], views[1][which]
            own = project(leaf, now.quats, now.scales, now.opacities, *picked, size, NEAR)
            channels = torch.cat([held.channels[which], now.rgb.expand(2, -1, -1)], dim=1)
            opacities = torch.cat([held.opacities[which], now.opacities.expand(2, -1)], dim=1)
            room = Room.of(100, where, grows=True)
            drawn, _ = composite(held.picked(which).with_(own), channels, opacities, size, room, active=active[which])
            color = drawn[:, :50, :90]
        else:
            color = render(concatenate(still, now), cameras.take([2, 0]), near=NEAR, region=region[which]).color
        color.square().sum().backward()
        assert leaf.grad is not None
        found.append((color.detach(), leaf.grad))
    assert relative_error(found[0][0], found[1][0]) < 1e-5
    assert relative_error(found[0][1], found[1][1]) < 1e-4


@EITHER
def test_a_step_is_done_as_often_as_it_is_replayed_and_reads_row_after_row(device: str) -> None:
    rows = Rows(torch.arange(20.0, device=device).view(10, 2))
    total = torch.zeros(2, device=device)

    def step() -> None:
        total.add_(rows.read())

    room = Room.of(100, torch.device(device)) if device == "cuda" else None
    replay = Replay(step, room)
    for _ in range(6):
        replay()
    assert total.tolist() == [30, 36]
    replay.forget()
    rows.begin(2)
    for _ in range(4):
        replay()
    assert total.tolist() == [30 + 28, 36 + 32]


def test_room_follows_what_is_needed() -> None:
    room = Room.of(100, torch.device("cpu"))
    assert not room.settle() and room.filled() == 0
    room.needed.fill_(150)
    assert room.filled() == 1.5 and room.settle() and room.size == 241
    assert not room.settle()
    room.needed.fill_(20)
    assert room.settle() and room.size == 33


def shifted_scene(
    device: str, count: int = 400, views: int = 8
) -> tuple[Gaussians, Gaussians, torch.Tensor, Observation]:
    """(what is still, what moves, where that has gone to, what cameras see then)."""
    cameras = ring_of_cameras(views, 12 * views, 9 * views)
    scene = random_gaussians(count, seed=3, size=0.12).torch(device)
    number = torch.arange(count, device=device)
    still, moving = scene.take(number < count // 2), scene.take(number >= count // 2)
    still = still.replace(is_foreground=torch.zeros_like(still.is_foreground))
    moving = moving.replace(is_foreground=torch.ones_like(moving.is_foreground))
    moved = moving.means + torch.tensor([0.08, -0.05, 0.03], device=device)
    now = concatenate(still, moving.replace(means=moved))
    with torch.no_grad():
        seen = render(now, cameras, now.is_foreground[:, None].float(), near=NEAR)
    assert seen.features is not None
    return still, moving, moved, Observation(cameras, seen.color.clamp(0, 1), seen.features[..., 0].clamp(0, 1))


def tracked(device: str, settings: TrackingSettings, frames: int = 1) -> tuple[Tracker, Gaussians, torch.Tensor]:
    still, moving, moved, observed = shifted_scene(device)
    colors = CameraColors(torch.zeros(8, 3, device=device), torch.zeros(8, 3, device=device))
    tracker = Tracker(colors, find_structure(moving.means, settings), STAGE, 9.0, settings)
    found = moving
    for frame in range(1, frames + 1):  # the same leap is looked for again
        found, loss = tracker.track(Motion(moving, (moving.means, moving.quats)), still, observed, frame)
        assert loss > 0
    return tracker, found, moved


TRACKING = TrackingSettings(steps=60, cameras_per_step=6, averaging=0.5, rates=MotionRates(means=4e-3, colors=0))


def test_captured_steps_are_the_plain_ones_where_nothing_is_captured() -> None:
    still, moving, _, observed = shifted_scene("cpu", count=80, views=4)
    colors = CameraColors(torch.full((4, 3), 0.02), torch.full((4, 3), 0.01), torch.tensor([-0.1, 0.0]))
    settings = TrackingSettings(nodes=NodeSettings(steps=4), steps=6, cameras_per_step=3, averaging=0.5)
    tracker = PlainTracker(colors, find_structure(moving.means, settings), STAGE, 9.0, settings)
    motion, captured = Motion(moving, (moving.means, moving.quats)), CapturedTracker(tracker)
    for frame in (1, 2):
        plain, loss = tracker.track(motion, still, observed, frame)
        found, by_steps = captured.track(motion, still, observed, frame, lambda: None)
        assert abs(loss - by_steps) < 1e-3 * loss
        moved = (plain.means - moving.means).norm(dim=1).mean()
        assert float((found.means - plain.means).norm(dim=1).mean()) < 0.02 * float(moved)
        assert float((found.colors - plain.colors).abs().mean()) < 1e-3


@pytest.mark.gpu
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_frames_are_tracked_as_on_the_processor(dropout: float) -> None:
    settings = TRACKING.model_copy(update={"dropout": dropout})
    _, on_cpu, moved = tracked("cpu", settings)
    _, on_cuda, _ = tracked("cuda", settings, frames=3)
    leap = float((on_cpu.means - moved).norm(dim=1).median())
    assert leap < 0.03
    assert float((on_cuda.means.cpu() - moved).norm(dim=1).median()) < leap + 0.005


@pytest.mark.gpu
def test_a_frame_for_which_there_was_no_room_is_tracked_again() -> None:
    tracker, _, moved = tracked("cuda", TRACKING, frames=2)
    held = tracker.captured._held
    assert held is not None
    for half in (held.coarse, held.fine):
        half.room.size, half.room.grows = 50, False
        half.replay.forget()
        half.replay._warm_up = 0  # captured as it is
    half.room.needed.zero_()
    still, moving, _, observed = shifted_scene("cuda")
    found, _ = tracker.track(Motion(moving, (moving.means, moving.quats)), still, observed, 3)
    assert min(half.room.size for half in (held.coarse, held.fine)) > 50
    assert float((found.means - moved).norm(dim=1).median()) < 0.03


def test_what_is_forgotten_is_done_once_before_it_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it was forgotten just before its capture: kernels of other sizes cannot be compiled within one."""
    did: list[str] = []

    class Graph:
        def replay(self) -> None:
            did.append("replayed")

    def captured(_: Replay) -> Graph:
        did.append("captured")
        return Graph()

    monkeypatch.setattr(Replay, "_eagerly", lambda _: did.append("done"))
    monkeypatch.setattr(Replay, "_captured", captured)
    replay = Replay(lambda: None, Room.of(1, torch.device("cpu")))
    for _ in range(WARM_UP):
        replay()
    for _ in range(2):  # as its capture is next, and once it was captured
        did.clear()
        replay.forget()
        replay.forget()
        replay()
        replay()
        assert did == ["done", "captured", "replayed"]
