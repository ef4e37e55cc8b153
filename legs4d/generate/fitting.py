"""What every road is fitted by: the parts of the deform road, put together for one object of which little is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import DeformSettings
from legs4d.config.base import LearningRates
from legs4d.config.deform import GrowthSettings, NodesSettings
from legs4d.deform.fields.field import Field, Still
from legs4d.deform.fields.nodes import NodeField
from legs4d.deform.fields.posed import PosedNodes
from legs4d.deform.fit import Fit
from legs4d.deform.fitting.canonical import NAMES, Canonical
from legs4d.deform.fitting.schedule import plan
from legs4d.deform.footage.pictures import Pictures
from legs4d.deform.footage.start import find_start
from legs4d.gaussians.gaussians import Gaussians
from legs4d.progress import StageReporter
from legs4d.raster.states import CameraTable
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

NEVER = 10**9
"""Steps after which something is due that is not wanted."""


@dataclass(frozen=True)
class Following:
    """How a shape that is known is made to move as a video shows.

    Attributes:
        steps, pictures_per_step: of the optimisation.
        nodes: control nodes, spread over the shape.
        rigid_weight: see `NodesSettings`; where one camera sees the motion, nothing else tells how deep it is.
        steady_weight: see `NodesSettings`.
        seed: of the order of pictures.
    """

    steps: int = 600
    pictures_per_step: int = 2
    nodes: int = 256
    rigid_weight: float = 0.5
    steady_weight: float = 1.0
    seed: int = 0


def pictures_of(
    images: NDArray[np.uint8], cameras: Cameras, frames: NDArray[np.int64], num_frames: int, device: torch.device
) -> Pictures:
    """Pictures of an object [F, S, S, 4] (colours times alpha), each with a camera and a frame of its own."""
    times = frames / max(num_frames - 1, 1)
    return Pictures(
        torch.as_tensor(images, device=device),
        CameraTable.of(cameras, device),
        frames,
        torch.as_tensor(times, dtype=torch.float32, device=device),
        None,
        see_through=True,
    )


def following(shape: Gaussians, pictures: Pictures, how: Following, near: float) -> Fit:
    """A fit that bends a known shape (numpy, at time 0) from moment to moment, and leaves it as it is otherwise."""
    settings = DeformSettings(
        enough_pixels=1,
        steps=how.steps,
        pictures_per_step=how.pictures_per_step,
        rates=LearningRates(means=0, quats=0, scales=0, opacities=0, colors=0),
        growth=GrowthSettings(start=0, stop=0, max_gaussians=len(shape)),
        nodes=spread(how.nodes, len(shape), how.rigid_weight, how.steady_weight),
        seed=how.seed,
    )
    return carried(shape, pictures, settings, near)


def spread(most: int, gaussians: int, rigid_weight: float, steady_weight: float) -> NodesSettings:
    """Up to so many nodes over a shape of so many Gaussians, that stay where they are and keep what they carry."""
    return NodesSettings(
        count=min(most, gaussians),
        placed=(),
        bind_every=NEVER,
        rigid_weight=rigid_weight,
        steady_weight=steady_weight,
    )


def carried(
    shape: Gaussians,
    pictures: Pictures,
    settings: DeformSettings,
    near: float,
    drawn: NDArray[np.int64] | None = None,
) -> Fit:
    """A fit in which nodes with a pose of their own in every frame carry a shape (numpy, at time 0).

    Args:
        settings: of which `growth.max_gaussians` is as many as there may be, and the shape's at least.
        drawn: [steps, pictures_per_step] which pictures each step looks at; by default all of them in turn.
    """
    device, most = pictures.images.device, settings.growth.max_gaussians
    center = np.median(shape.means, axis=0)
    radius = float(np.quantile(np.linalg.norm(shape.means - center, axis=1), 0.95))
    bending: Field = Still()
    if len(np.unique(pictures.frames)) > 1:
        number = int(pictures.frames.max()) + 1
        bending = PosedNodes(settings, most, number, torch.as_tensor(center), radius, device)
    schedule = plan(settings, len(pictures), True, radius)
    if drawn is not None:
        schedule = replace(schedule, pictures=drawn)
    fit = Fit(_canonical(shape, most, device), bending, pictures, schedule, settings, near, radius)
    fit.follow(spread=True)
    return fit


def from_views(pictures: Pictures, stage: Stage, settings: DeformSettings, where: str, reporter: StageReporter) -> Fit:
    """A fit of everything to pictures from several sides, of one moment or of many, that starts from their hull.

    Raises:
        DatasetError: the silhouettes have nothing in common.
    """
    device = pictures.images.device
    own = settings.suited(pictures.images[..., 0].numel())
    moments = int(pictures.frames.max()) + 1
    start = find_start(pictures, None, stage, own.num_points, where, reporter.check, most=own.growth.max_gaussians)
    canonical = Canonical(own.growth.max_gaussians, (own.sh_degree + 1) ** 2 - 1, device)
    canonical.start(start.points, own.start_opacity, stage.radius)
    bending: Field = Still()
    if moments > 1:
        bending = NodeField(own, canonical.capacity, moments, torch.as_tensor(start.center), start.radius, device)
    schedule = plan(own, len(pictures), True, stage.radius)
    fit = Fit(canonical, bending, pictures, schedule, own, stage.near, stage.radius)
    fit.follow(spread=True)
    return fit


def _canonical(shape: Gaussians, most: int, device: torch.device) -> Canonical:
    """Up to so many canonical Gaussians that begin as these."""
    sh = 0 if shape.sh_rest is None else shape.sh_rest.shape[1]
    found = Canonical(most, sh, device)
    opacities = np.clip(shape.opacities, 1e-4, 1 - 1e-4)
    given: dict[str, Any] = {
        "means": shape.means,
        "quats": shape.quats,
        "log_scales": np.log(np.maximum(shape.scales, 1e-9)),
        "logit_opacities": np.log(opacities / (1 - opacities)),
        "colors": shape.colors,
        "sh_rest": np.zeros((len(shape), 0, 3)) if shape.sh_rest is None else shape.sh_rest,
    }
    state: dict[str, torch.Tensor] = {}
    for name in NAMES:
        value = torch.as_tensor(np.array(given[name]), dtype=torch.float32)
        state |= {name: value, f"{name}.first": torch.zeros_like(value), f"{name}.second": torch.zeros_like(value)}
        state[f"{name}.steps"] = torch.zeros(())
    found.load(state)
    return found
