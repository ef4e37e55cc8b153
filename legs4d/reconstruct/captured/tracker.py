"""Tracking on CUDA: a step of either half is a graph, captured once for frames of one shape.

What does not move is projected once a half, not in every step, and of that only what reaches tiles that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.constants import ALPHA_MAX
from legs4d.raster.states import CameraTable
from legs4d.raster.still import Still, near_tiles
from legs4d.raster.tiles import ROOM_A_PICTURE, Room, composite, project
from legs4d.raster.upload import upload
from legs4d.reconstruct.captured.pictures import Pictures
from legs4d.reconstruct.captured.replay import Replay, Rows
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.reconstruct.fitting.averaging import RunningMean
from legs4d.reconstruct.fitting.losses import motion_loss
from legs4d.reconstruct.nodes import carry
from legs4d.reconstruct.observation import Observation
from legs4d.reconstruct.tracking import Motion, PlainTracker, moving_region

STILL_TO_SPARE = 1.25
"""Room for still Gaussians, in what the fullest camera had."""
KEPT = ("means", "quats", "scales", "opacities", "colors", "is_foreground")
"""Of the moving Gaussians: what stays where it is in memory."""


class CapturedTracker:
    """Finds what `PlainTracker` finds, on CUDA."""

    def __init__(self, tracker: PlainTracker) -> None:
        self._tracker = tracker
        self._held: _Held | None = None

    def track(
        self, motion: Motion, static: Gaussians, observed: Observation, frame: int, check: Callable[[], None]
    ) -> tuple[Gaussians, float]:
        """As `PlainTracker.track`."""
        if self._held is None or not self._held.suits(motion, static, observed):
            self._held = None  # before others take as much memory
            self._held = _Held(self._tracker, motion, static, observed)
        return self._held.track(motion, static, observed, frame, check)


class _Half:
    """The coarse or the fine half: what it optimises, and its step."""

    def __init__(
        self, values: dict[str, torch.Tensor], steps: int, batch: int, step: Callable[[], None], held: _Held
    ) -> None:
        device = held.device
        self.values = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
        self.optimizer = Adam(self.values, dict.fromkeys(values, 0.0))
        self.batch = batch
        self.rows = Rows(torch.zeros(max(steps, 1), batch + len(values), device=device))
        self.room = Room.of(ROOM_A_PICTURE * batch, device, grows=True)
        self.replay = Replay(
            step, self.room if device.type == "cuda" else None, generators=[held.chance], beside=held.replays
        )

    @torch.no_grad()
    def begin(
        self, values: dict[str, torch.Tensor], plan: list[NDArray[np.int64]], rates: dict[str, NDArray[np.float64]]
    ) -> None:
        """Start from these values, with step sizes [S] of each for the steps of the plan."""
        for name, value in values.items():
            self.values[name].copy_(value)
        self.optimizer.restart()
        table = np.concatenate([np.stack(plan), np.stack([rates[name] for name in self.values], axis=1)], axis=1)
        self.rows.table.copy_(upload(table.astype(np.float32), self.rows.table.device))
        self.rows.begin(0)

    def read(self) -> torch.Tensor:
        """[B] int64 the cameras of the next step, whose step sizes are set."""
        row = self.rows.read()
        self.optimizer.rates = dict(zip(self.values, row[self.batch :], strict=True))
        return row[: self.batch].to(torch.int64)


class _Held:
    """What stays where it is in memory between frames, and the graphs that work on it."""

    def __init__(self, tracker: PlainTracker, motion: Motion, static: Gaussians, observed: Observation) -> None:
        self.tracker, self.static, self.device = tracker, static, observed.images.device
        settings, cameras, current = tracker.settings, observed.cameras, motion.current
        self.size = cameras.width, cameras.height
        self.table = CameraTable.of(cameras, self.device)
        self.pictures = Pictures.empty(cameras, tracker.colors)
        self.current = current.replace(**{name: getattr(current, name).clone() for name in KEPT})
        self.start = current.means.clone(), current.quats.clone()
        self.still = Still.empty(len(cameras), 1, 4, self.device)
        self.chance = torch.Generator(device=self.device)
        self.loss = torch.zeros((), device=self.device)
        self.weights, self.down = tracker.motion_weights(), tracker.down()
        nodes, batch = len(tracker.structure.nodes.gaussian), min(settings.cameras_per_step, len(cameras))
        turns = current.quats.new_tensor([1.0, 0, 0, 0]).repeat(nodes, 1)
        resting = {"shifts": current.means.new_zeros(nodes, 3), "turns": turns}
        self._resting = resting
        self.coarse = _Half(resting, settings.nodes.steps, batch, self._coarse_step, self)
        moving = {"means": current.means, "quats": current.quats, "colors": current.colors}
        self.fine = _Half(moving, settings.steps, batch, self._fine_step, self)

    def replays(self) -> list[Replay]:
        return [self.coarse.replay, self.fine.replay]

    def suits(self, motion: Motion, static: Gaussians, observed: Observation) -> bool:
        """Whether a frame has the shape of those before."""
        cameras = observed.cameras
        same = (cameras.width, cameras.height) == self.size and len(cameras) == len(self.table.viewmats)
        # How many are drawn from is captured.
        same &= len(static) == len(self.static) or self.tracker.settings.dropout == 0
        return same and len(motion.current) == len(self.current)

    def track(
        self, motion: Motion, static: Gaussians, observed: Observation, frame: int, check: Callable[[], None]
    ) -> tuple[Gaussians, float]:
        tracker, self.static = self.tracker, static
        self._load(motion, observed)
        begun = tracker.begin(motion, observed)
        around = moving_region(observed.masks > 0, observed.cameras, begun[0], tracker.stage.near)
        while True:
            self.chance.manual_seed(tracker.settings.seed + frame)
            found = self._halves(motion.current, observed, begun, around, frame, check)
            if max(half.room.filled() for half in (self.coarse, self.fine)) <= 1:
                return found
            for half in (self.coarse, self.fine):  # something was not drawn
                if half.room.settle():
                    half.replay.forget()

    def _halves(
        self,
        current: Gaussians,
        observed: Observation,
        begun: tuple[torch.Tensor, torch.Tensor],
        around: torch.Tensor,
        frame: int,
        check: Callable[[], None],
    ) -> tuple[Gaussians, float]:
        tracker, near = self.tracker, self.tracker.stage.near
        coarse, fine = tracker.plans(len(observed.cameras), frame)
        region = around
        if coarse:
            self._look_at(region)
            begun = self._move_nodes(begun, coarse, check)
            # The nodes may have gone where nobody expected anything.
            region = around | moving_region(torch.zeros_like(region), observed.cameras, begun[0], near)
        self._look_at(region)
        return self._move_gaussians(current, begun, fine, check)

    @torch.no_grad()
    def _load(self, motion: Motion, observed: Observation) -> None:
        cameras = observed.cameras
        self.table.viewmats.copy_(upload(cameras.world_to_camera, self.device))
        self.table.intrinsics.copy_(upload(cameras.intrinsics, self.device))
        self.pictures.load(observed, self.tracker.colors)
        for name in KEPT:
            getattr(self.current, name).copy_(getattr(motion.current, name))

    @torch.no_grad()
    def _look_at(self, region: torch.Tensor) -> None:
        """Draw these pixels [C, H, W] from now on."""
        self.pictures.need(region)
        static = self.static
        if not len(static):
            return
        opacities = self._raised(static.opacities)
        projected = project(
            static.means,
            static.quats,
            static.scales,
            opacities,
            self.table.viewmats,
            self.table.intrinsics,
            self.size,
            self.tracker.stage.near,
        )
        near = near_tiles(projected, self.pictures.active)
        most = int(near.sum(dim=1).max())
        if most > self.still.room:
            self.still = Still.empty(len(near), int(STILL_TO_SPARE * most), 4, self.device)
            for replay in self.replays():
                replay.forget()
        self.still.load(projected, near, _channels(static), opacities)

    def _move_nodes(
        self, begun: tuple[torch.Tensor, torch.Tensor], plan: list[NDArray[np.int64]], check: Callable[[], None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        settings, radius = self.tracker.settings.nodes, self.tracker.stage.radius
        for mine, given in zip(self.start, begun, strict=True):
            mine.copy_(given)
        share = settings.decay ** (np.arange(len(plan)) / len(plan))
        rates = {"shifts": settings.shift_rate * radius * share, "turns": settings.turn_rate * share}
        self.coarse.begin(self._resting, plan, rates)
        for _ in plan:
            check()
            self.coarse.replay()
        with torch.no_grad():
            return carry(self.tracker.structure.nodes, *self.start, **self.coarse.values)

    def _coarse_step(self) -> None:
        which, tracker = self.coarse.read(), self.tracker
        moved, turned = carry(tracker.structure.nodes, *self.start, **self.coarse.values)
        loss = self._picture_loss(moved, turned, self.current.colors, which, self.coarse.room)
        loss = loss + self._motion_loss(moved, turned)
        loss.backward()
        self.coarse.optimizer.step()

    def _move_gaussians(
        self,
        current: Gaussians,
        begun: tuple[torch.Tensor, torch.Tensor],
        plan: list[NDArray[np.int64]],
        check: Callable[[], None],
    ) -> tuple[Gaussians, float]:
        settings, values = self.tracker.settings, self.fine.values
        share, ones = settings.means_decay ** (np.arange(len(plan)) / len(plan)), np.ones(len(plan))
        rates = {
            "means": settings.rates.means * self.tracker.stage.radius * share,
            "quats": settings.rates.quats * ones,
            "colors": settings.rates.colors * ones,
        }
        self.fine.begin({"means": begun[0], "quats": begun[1], "colors": current.colors}, plan, rates)
        mean = RunningMean(settings.averaging)
        for step in range(len(plan)):
            check()
            self.fine.replay()
            if 2 * step >= len(plan):
                mean.add(values)
        final = mean.values or {name: value.detach().clone() for name, value in values.items()}
        quats = torch.nn.functional.normalize(final["quats"], dim=-1)
        return current.replace(means=final["means"], quats=quats, colors=final["colors"]), float(self.loss)

    def _fine_step(self) -> None:
        which, tracker, values = self.fine.read(), self.tracker, self.fine.values
        unit = torch.nn.functional.normalize(values["quats"], dim=-1)
        loss = (
            self._picture_loss(values["means"], unit, values["colors"], which, self.fine.room)
            + self._motion_loss(values["means"], unit)
            + tracker.strayed(values["means"], values["colors"], self.current.colors, self.down)
        )
        loss.backward()
        self.fine.optimizer.step()
        self.loss.copy_(loss.detach())

    def _motion_loss(self, means: torch.Tensor, quats: torch.Tensor) -> torch.Tensor:
        before = self.current.means, self.current.quats
        return motion_loss(means, quats, *before, self.tracker.structure.neighbours, self.weights)

    def _picture_loss(
        self, means: torch.Tensor, quats: torch.Tensor, colors: torch.Tensor, which: torch.Tensor, room: Room
    ) -> torch.Tensor:
        """In the cameras at `which` [B] with the moving Gaussians at `means`, `quats`, coloured `colors`."""
        settings, count = self.tracker.settings, len(which)
        moving = self.current.replace(means=means, quats=quats, colors=colors)
        opacities = self._raised(moving.opacities)
        viewmats, intrinsics = self.table.viewmats[which], self.table.intrinsics[which]
        near = self.tracker.stage.near
        own = project(means, quats, moving.scales, opacities, viewmats, intrinsics, self.size, near)
        channels = torch.cat([self.still.channels[which], _channels(moving).expand(count, -1, -1)], dim=1)
        still, opacities = self._kept(self.still.opacities[which], opacities, which)
        active = self.pictures.active[which]
        drawn, _ = composite(
            self.still.picked(which).with_(own),
            channels,
            torch.cat([still, opacities.expand(count, -1)], dim=1),
            self.size,
            room,
            active=active,
        )
        return self.pictures.loss(drawn, which, active, settings.ssim_share, settings.segmentation_weight)

    def _raised(self, opacities: torch.Tensor) -> torch.Tensor:
        """Of those that are not left out of a step, as others are."""
        share = self.tracker.settings.dropout
        return opacities if share == 0 else (opacities / (1 - share)).clamp(max=ALPHA_MAX)

    def _kept(
        self, still: torch.Tensor, moving: torch.Tensor, which: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Opacities [B, S] and [M] with those left out at 0."""
        share, count = self.tracker.settings.dropout, len(self.static)
        if share == 0:
            return still, moving
        kept = torch.rand(count + len(moving), generator=self.chance, device=self.device) >= share
        if count:
            still = still * kept[:count][self.still.index[which]]
        return still, moving * kept[count:]


def _channels(gaussians: Gaussians) -> torch.Tensor:
    """[N, 4] colours, and 1 for foreground."""
    return torch.cat([gaussians.rgb, gaussians.is_foreground[:, None].to(torch.float32)], dim=1)
