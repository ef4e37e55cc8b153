"""Following the moving Gaussians through later frames (Dynamic 3D Gaussians: Luiten et al. 2024, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import TrackingSettings
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.raster import render
from legs4d.raster.upload import upload
from legs4d.reconstruct.fitting.adam import Adam
from legs4d.reconstruct.fitting.averaging import RunningMean
from legs4d.reconstruct.fitting.dropout import leave_out
from legs4d.reconstruct.fitting.losses import Neighbourhood, floor_loss, motion_loss
from legs4d.reconstruct.nodes import Nodes, carry, place_nodes
from legs4d.reconstruct.objects.motion import TrackedObjects
from legs4d.reconstruct.observation import CameraColors, Observation, batches, picture_loss, spread
from legs4d.reconstruct.views import project
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

SPARSE_WEIGHT = 0.3
"""Of the median neighbour; the published capture's, about 2.5 cm apart, have exp(-2000 · 0.025²) = 0.29."""


@dataclass(frozen=True)
class Motion:
    """What tracking carries from frame to frame.

    Attributes:
        current: the M moving Gaussians in the last frame done.
        before: their (means, unit quats) in the frame before that; the same as current's in the first.
    """

    current: Gaussians
    before: tuple[torch.Tensor, torch.Tensor]

    def predicted(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(means, unit quats) of the next frame at constant velocity."""
        means = 2 * self.current.means - self.before[0]
        quats = 2 * self.current.quats - self.before[1]
        return means, torch.nn.functional.normalize(quats, dim=-1)


@dataclass(frozen=True)
class Structure:
    """What holds the moving Gaussians together, found in the first frame: nodes, and neighbours.

    Attributes:
        objects: what is one object, where masks tell; neither nodes nor neighbours hold two together.
    """

    nodes: Nodes
    neighbours: Neighbourhood
    objects: TrackedObjects | None = None


def find_structure(means: torch.Tensor, settings: TrackingSettings, objects: TrackedObjects | None = None) -> Structure:
    """The structure of the moving Gaussians at `means` [M, 3] in the first frame."""
    rows = np.zeros(len(means), np.int64) if objects is None else objects.rows
    nodes = place_nodes(means, settings.nodes, torch.as_tensor(rows, device=means.device))
    return Structure(nodes, find_neighbours(means, settings, rows), objects)


def find_neighbours(means: torch.Tensor, settings: TrackingSettings, rows: NDArray[np.int64]) -> Neighbourhood:
    """The nearest neighbours of each moving Gaussian in the first frame, among those in the same of `rows` [M]."""
    from scipy.spatial import cKDTree

    points = means.cpu().numpy()
    count = min(settings.neighbours, len(points) - 1)
    index = np.repeat(np.arange(len(points))[:, None], count, axis=1)  # itself, which holds nothing
    distances = np.full((len(points), count), np.inf, np.float32)
    for row in np.unique(rows):
        members = np.flatnonzero(rows == row)
        near = min(count, len(members) - 1)
        if near:
            found, places = cKDTree(points[members]).query(points[members], k=near + 1)
            index[members, :near], distances[members, :near] = members[places[:, 1:]], found[:, 1:]
    distance = torch.as_tensor(distances, device=means.device)
    # The published decay suits the published density. Where Gaussians lie further apart it would leave each on its own,
    # so there the typical neighbour keeps a weight of at least SPARSE_WEIGHT.
    some = distance.isfinite()
    spacing = float(distance[some].median()) if some.any() else 1.0
    decay = min(settings.neighbour_decay, -math.log(SPARSE_WEIGHT) / spacing**2)
    return Neighbourhood(
        index=torch.as_tensor(index, dtype=torch.int64, device=means.device),
        weight=torch.exp(-decay * distance**2),
        distance=torch.where(some, distance, 0),
    )


@dataclass(frozen=True)
class PlainTracker:
    """Finds moving Gaussians, frame after frame, step by step.

    Attributes:
        colors: of the training cameras; their device does the work.
        structure: what holds the moving ones together.
        floor: height of the floor along `stage.down`, scene units.
    """

    colors: CameraColors
    structure: Structure
    stage: Stage
    floor: float
    settings: TrackingSettings

    def track(
        self,
        motion: Motion,
        static: Gaussians,
        observed: Observation,
        frame: int,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Gaussians, float]:
        """The moving Gaussians in frame `frame`, and the last loss.

        Args:
            motion: the frames before.
            static: N Gaussians that stay as they are.
            check: called before every step; what it raises ends the work.
        """
        chance = torch.Generator().manual_seed(self.settings.seed + frame)
        view = _View(static, motion.current, observed, self.colors, self.stage, self.settings, chance)
        means, quats = self.begin(motion, observed)
        region = moving_region(observed.masks > 0, observed.cameras, means, self.stage.near)
        coarse, fine = self.plans(len(observed.cameras), frame)
        means, quats = _move_nodes(view, self, means, quats, region, coarse, check)
        # The nodes may have gone where nobody expected anything.
        region |= moving_region(torch.zeros_like(region), observed.cameras, means, self.stage.near)
        return _move_gaussians(view, self, means, quats, region, fine, check)

    def begin(self, motion: Motion, observed: Observation) -> tuple[torch.Tensor, torch.Tensor]:
        """(means, unit quats) from which the frame is looked for."""
        means, quats = motion.predicted()
        if self.structure.objects is None or observed.labels is None:
            return means, quats
        last = motion.current.means, motion.current.quats
        return self.structure.objects.begin(last, (means, quats), observed.labels, observed.cameras, self.stage.near)

    def plans(self, cameras: int, frame: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """Cameras of each step of the coarse and of the fine half."""
        coarse = self.settings.nodes.steps
        plan = batches(
            cameras, self.settings.cameras_per_step, coarse + self.settings.steps, self.settings.seed + frame
        )
        return plan[:coarse], plan[coarse:]

    def motion_weights(self) -> torch.Tensor:
        """[3] of the terms of `motion_loss`."""
        own = self.settings
        return self.colors.gain.new_tensor([own.rigid_weight, own.rotation_weight, own.isometry_weight])

    def down(self) -> torch.Tensor:
        """[3] the direction of gravity."""
        return torch.as_tensor(self.stage.down, device=self.colors.gain.device)

    def strayed(
        self, means: torch.Tensor, colors: torch.Tensor, current: torch.Tensor, down: torch.Tensor
    ) -> torch.Tensor:
        """[] what sinking below the floor, and colours [M, 3] other than the `current`, cost."""
        settings = self.settings
        sunk = settings.floor_weight * floor_loss(means, down, self.floor)
        return sunk + settings.color_weight * (colors - current).abs().mean()


@dataclass(frozen=True)
class _View:
    """Renders the moving Gaussians of a frame among the static ones, and compares."""

    static: Gaussians
    current: Gaussians
    observed: Observation
    colors: CameraColors
    stage: Stage
    settings: TrackingSettings
    chance: torch.Generator

    @cached_property
    def _all(self) -> Gaussians:
        """Static and moving ones as the frame begins; what no step changes is put together once."""
        return concatenate(self.static, self.current)

    @cached_property
    def _foreground(self) -> torch.Tensor:
        """[N + M, 1] 1 for foreground."""
        return self._all.is_foreground[:, None].to(torch.float32)

    @cached_property
    def _frozen(self) -> torch.Tensor:
        """[N + M] bool, the static ones."""
        return torch.arange(len(self._all), device=self.static.means.device) < len(self.static)

    def loss(
        self,
        means: torch.Tensor,
        quats: torch.Tensor,
        dc: torch.Tensor,
        region: torch.Tensor,
        batch: NDArray[np.int64],
    ) -> torch.Tensor:
        """Picture loss in the cameras of `batch` with the moving Gaussians at `means`, `quats`, coloured `dc`."""
        static = self.static
        gaussians = self._all.replace(
            means=torch.cat([static.means, means]),
            quats=torch.cat([static.quats, quats]),
            colors=torch.cat([static.colors, dc]),
        )
        part = self.observed.take(batch)
        needed = region[upload(batch, means.device)]
        rendered = render(
            leave_out(gaussians, self.settings.dropout, self.chance),
            part.cameras,
            self._foreground,
            near=self.stage.near,
            frozen=self._frozen,
            region=needed,
        )
        # Where nothing moves both pictures are the same by decree: no loss, no gradient.
        seen = torch.where(needed[..., None], self.colors.apply(rendered.color, part.cameras, batch), part.images)
        return picture_loss(rendered, seen, part, self.settings.ssim_share, self.settings.segmentation_weight)


def _move_nodes(
    view: _View,
    tracker: PlainTracker,
    means: torch.Tensor,
    quats: torch.Tensor,
    region: torch.Tensor,
    plan: list[NDArray[np.int64]],
    check: Callable[[], None],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The coarse half: the nodes' rigid motions that fit best, and where they carry the Gaussians."""
    settings, structure = view.settings.nodes, tracker.structure
    nodes = structure.nodes
    count = len(nodes.gaussian)
    shifts = means.new_zeros(count, 3).requires_grad_()
    turns = means.new_tensor([1.0, 0, 0, 0]).repeat(count, 1).requires_grad_()
    start = {"shifts": settings.shift_rate * view.stage.radius, "turns": settings.turn_rate}
    optimizer = Adam({"shifts": shifts, "turns": turns}, dict(start))
    weights = tracker.motion_weights()
    for step, batch in enumerate(plan):
        check()
        optimizer.rates = {name: rate * settings.decay ** (step / len(plan)) for name, rate in start.items()}
        moved, turned = carry(nodes, means, quats, shifts, turns)
        loss = view.loss(moved, turned, view.current.colors, region, batch)
        motion = motion_loss(moved, turned, view.current.means, view.current.quats, structure.neighbours, weights)
        (loss + motion).backward()
        optimizer.step()
    with torch.no_grad():
        return carry(nodes, means, quats, shifts, turns)


def _move_gaussians(
    view: _View,
    tracker: PlainTracker,
    means: torch.Tensor,
    quats: torch.Tensor,
    region: torch.Tensor,
    plan: list[NDArray[np.int64]],
    check: Callable[[], None],
) -> tuple[Gaussians, float]:
    """The fine half: every Gaussian for itself, held by its neighbours."""
    current, stage, settings = view.current, view.stage, view.settings
    means, quats, dc = (t.detach().clone().requires_grad_() for t in (means, quats, current.colors))
    rates = settings.rates
    values = {"means": means, "quats": quats, "colors": dc}
    optimizer = Adam(values, {"quats": rates.quats, "colors": rates.colors})
    mean = RunningMean(settings.averaging)
    weights = tracker.motion_weights()
    down = tracker.down()
    loss = means.new_zeros(())
    for step, batch in enumerate(plan):
        check()
        optimizer.rates["means"] = rates.means * stage.radius * settings.means_decay ** (step / len(plan))
        unit = torch.nn.functional.normalize(quats, dim=-1)
        loss = (
            view.loss(means, unit, dc, region, batch)
            + motion_loss(means, unit, current.means, current.quats, tracker.structure.neighbours, weights)
            + tracker.strayed(means, dc, current.colors, down)
        )
        loss.backward()
        optimizer.step()
        if 2 * step >= len(plan):
            mean.add(values)
    final = mean.values or {name: value.detach() for name, value in values.items()}
    tracked = current.replace(
        means=final["means"],
        quats=torch.nn.functional.normalize(final["quats"], dim=-1),
        colors=final["colors"],
    )
    return tracked, float(loss.detach())


def moving_region(foreground: torch.Tensor, cameras: Cameras, means: torch.Tensor, near: float) -> torch.Tensor:
    """[C, H, W] bool: pixels near foreground [C, H, W], or near where a Gaussian [M, 3] is predicted."""
    pixel, seen = project(cameras, means, near)
    place = (torch.arange(len(cameras), device=means.device)[:, None] * cameras.height + pixel[..., 1]) * cameras.width
    # One cell more, for the Gaussians that are out of sight: no waiting for how many there are.
    marked = torch.cat([foreground.reshape(-1), foreground.new_zeros(1)])
    marked[torch.where(seen, place + pixel[..., 0], foreground.numel()).reshape(-1)] = True
    return spread(marked[:-1].view_as(foreground))
