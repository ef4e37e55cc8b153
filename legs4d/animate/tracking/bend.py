"""What bends: control nodes on the object, moved until its rendering looks like a frame that no rigid motion explains.

    x ↦ Σ_j w_j (R_j (x - p_j) + p_j + u_j), then the object's rigid motion

(embedded deformation, Sumner, Schmid and Pauly 2007). A frame's nodes are found by Adam on a robust colour difference,
blurred first, then sharp; they stay as rigid as possible (Sorkine and Alexa 2007) and near those of the frame before.
What they say is taken only where it explains a good part of what the rigid motion left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.animate.tracking.motions import Motion, Sight
from legs4d.animate.tracking.refine import DIFFERENT, around, blurred
from legs4d.animate.tracking.stage import Shape, Stage, Window
from legs4d.deform.fields.binding import Binding
from legs4d.deform.fields.blend import blend
from legs4d.deform.fields.nodes import farthest, nearest
from legs4d.deform.fields.rigidity import rigidity
from legs4d.gaussians.gaussians import Gaussians
from legs4d.portable.bending import BINDINGS, bound, follow
from legs4d.portable.motion_file import BendFile
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices

LEAST_NODES, MOST_NODES = 20, 60
EACH = 40
"""Gaussians to a node."""
NEIGHBOURS = 6
LEAST_PIXELS = 20
"""To a node, of a frame; what is smaller does not say how it bends, and its turns would become bends."""
SOLID = 0.3
"""Opacity of what nodes are put on."""
AT_REST = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
"""Of a node: no shift, no turn."""

NodeBends = NDArray[np.float32]
"""[K, 7] of a frame: shifts of nodes in scene units, and turns wxyz, both before the rigid motion."""


@dataclass(frozen=True)
class Bends:
    """How an object of n Gaussians bends over T frames, before its rigid motion.

    Attributes:
        rest: [K, 3] nodes.
        nodes: [T, K, 7].
        index: [n, B] int32, which of them each Gaussian follows; weight: [n, B], summing to 1.
        means: [T, n, 3]; quats: [T, n, 4] of the Gaussians.
    """

    rest: NDArray[np.float32]
    nodes: NDArray[np.float32]
    index: NDArray[np.int32]
    weight: NDArray[np.float32]
    means: NDArray[np.float32]
    quats: NDArray[np.float32]


def bends_of(thing: Gaussians, told: BendFile) -> Bends:
    """How an object at rest bends as a motion's file says; as `Nodes.over` of the nodes that it came from."""
    index, weight = bound(thing.means, told.rest)
    shapes = [
        follow(thing.means, thing.quats, index, weight, told.at_rest, told.poses(frame))
        for frame in range(len(told.bends))
    ]
    means, quats = (np.stack(parts) for parts in zip(*shapes, strict=True))
    rest, bends = told.rest.astype(np.float32), told.bends.astype(np.float32)
    return Bends(rest, bends, index, weight, means, quats)


@dataclass(frozen=True)
class BendSettings:
    """How a frame's nodes are found; chosen on motions that nothing is judged on (docs/animate.md).

    Attributes:
        blurs: as in `RefineSettings`.
        steps: of Adam at each.
        rate: pixels (of 160) that a step moves a node at the first blur; less by as much as the blur later.
        rigid: weight of staying as rigid as possible, of pixels² that neighbours are off.
        steady: weight of staying near the frame before, of pixels².
        scale: colour difference (0..1) that a pixel may have and still count.
        margin: pixels (of 160) around the object that are compared.
        suspicious: share of the object's pixels that have to have come to look otherwise since the first frame.
        explains: share of the colour difference that was too much, that bending has to take away.
    """

    blurs: tuple[float, ...] = (3.0, 1.2, 0.5)
    steps: int = 50
    rate: float = 0.4
    rigid: float = 0.005
    steady: float = 0.0001
    scale: float = 0.06
    margin: float = 8.0
    suspicious: float = 0.06
    explains: float = 0.5


class Nodes:
    """Control nodes on a stage's object at rest, and which of its Gaussians follow which."""

    def __init__(self, stage: Stage) -> None:
        thing = stage.thing
        means = torch.as_tensor(thing.means, device=stage.device)
        solid = means[torch.as_tensor(thing.opacities > SOLID, device=stage.device)]
        solid = solid if len(solid) >= LEAST_NODES else means
        count = min(len(solid), MOST_NODES, max(LEAST_NODES, len(means) // EACH))
        self.rest = solid[farthest(solid, count)]
        between, self.neighbours = (x[:, 1:] for x in nearest(self.rest, self.rest, min(NEIGHBOURS + 1, count)))
        self.near = torch.full_like(between, 1 / max(1, between.shape[1]))
        index, weight = bound(thing.means, self.rest.cpu().numpy(), BINDINGS)
        self.index = torch.as_tensor(index, dtype=torch.int64, device=stage.device)
        self.weight = torch.as_tensor(weight, device=stage.device)
        self.binding = Binding.empty(len(means), index.shape[1], count, stage.device)
        self.binding.set(self.index, self.weight)
        self._means = means
        self._quats = torch.as_tensor(thing.quats, device=stage.device)

    def __len__(self) -> int:
        return len(self.rest)

    @property
    def still(self) -> torch.Tensor:
        """[K, 7] that bend nothing."""
        return torch.tensor(AT_REST, device=self.rest.device).repeat(len(self), 1)

    def shape(self, bends: torch.Tensor) -> Shape:
        """The object at rest, bent: [K, 7] → means [n, 3] and quats [n, 4]; differentiable."""
        turns = torch.nn.functional.normalize(bends[:, 3:], dim=1)
        matrices = rotation_matrices(turns)
        offsets = self.rest + bends[:, :3] - torch.einsum("kxy,ky->kx", matrices, self.rest)
        mixed = blend(torch.cat([matrices.flatten(-2), offsets, turns], 1)[None], self.binding, len(self._means))[0]
        means = (mixed[:, :9].unflatten(-1, (3, 3)) * self._means[:, None]).sum(dim=-1) + mixed[:, 9:12]
        return means, multiply(torch.nn.functional.normalize(mixed[:, 12:], dim=1), self._quats)

    @torch.no_grad()
    def over(self, frames: Sequence[NodeBends | None]) -> Bends:
        """Of all frames together; None is no bend."""
        still = self.still.cpu().numpy()
        nodes = np.stack([still if one is None else one for one in frames])
        shapes = [self.shape(torch.as_tensor(one, device=self.rest.device)) for one in nodes]
        means, quats = (torch.stack(parts).cpu().numpy() for parts in zip(*shapes, strict=True))
        index, weight = self.index.cpu().numpy().astype(np.int32), self.weight.cpu().numpy()
        return Bends(self.rest.cpu().numpy(), nodes, index, weight, means, quats)

    def stiffness(self, bends: torch.Tensor) -> torch.Tensor:
        """Mean square of what neighbours are off from moving as one, scene units²."""
        turns = torch.nn.functional.normalize(bends[None, :, 3:], dim=-1)
        return rigidity(self.rest, (self.rest + bends[:, :3])[None], turns, self.neighbours, self.near)


class Bender:
    """Bends a stage's object, frame after frame.

    Args:
        stage: with the object at rest.
    """

    def __init__(self, stage: Stage, settings: BendSettings | None = None) -> None:
        self.stage, self.settings = stage, settings or BendSettings()
        self.nodes = Nodes(stage)
        self._now = self.nodes.still

    def take(self, bends: NodeBends | None) -> None:
        """From now on the object is bent so; None: not at all."""
        self._now = self.nodes.still if bends is None else torch.as_tensor(bends, device=self.stage.device)
        with torch.no_grad():
            self.stage.bend(None if bends is None else self.nodes.shape(self._now))

    def fit(self, frame: torch.Tensor, motion: Motion) -> NodeBends | None:
        """The nodes under which the object looks like a frame [H, W, 3], beside its rigid motion; None where they
        explain hardly more than those of the frame before. The stage stays as it was."""
        own, unit = self.settings, self.stage.camera.width / 160
        pixel = float(Sight.of(self.stage.camera, self.stage.body, motion).units[0])
        # All seven numbers in pixels: a turn moves what lies a radius away.
        units = torch.tensor([pixel] * 3 + [pixel / self.stage.body.radius] * 4, device=self.stage.device)
        begin = self._now
        change = torch.zeros_like(begin)
        before = self._difference(frame, motion, begin)
        for blur in own.blurs:
            change = self._level(
                frame, motion, begin, change, units, blur * unit, own.rate * unit * blur / own.blurs[0]
            )
        found = _added(begin, change * units)
        after = self._difference(frame, motion, found)
        if after > (1 - own.explains) * before:
            return None
        return np.asarray(found.cpu().numpy(), np.float32)

    def _level(
        self,
        frame: torch.Tensor,
        motion: Motion,
        begin: torch.Tensor,
        change: torch.Tensor,
        units: torch.Tensor,
        blur: float,
        rate: float,
    ) -> torch.Tensor:
        """[K, 7] the change in pixels from the frame before, further refined at one blur."""
        stage, own = self.stage, self.settings
        with torch.no_grad():
            window, region = self._around(motion, _added(begin, change * units), blur)
        target = blurred(window.cut(frame)[None], blur)[0]
        values = change.detach().clone().requires_grad_()
        moments, pixel = [Moments.of(values)], units[0]
        for step in range(own.steps):
            with torch.enable_grad():
                bends = _added(begin, values * units)
                made = window.predict([stage.placed(motion, self.nodes.shape(bends))])
                off = (blurred(made.color, blur)[0] - target).square().mean(-1) / own.scale**2
                weight = region * made.known[0].detach().clamp(0, 1)
                # Geman and McClure: what covers the object has no say.
                cost = (weight * off / (1 + off)).sum() / made.share[0].detach().sum().clamp(min=1)
                cost = cost + own.rigid * self.nodes.stiffness(bends) / pixel**2
                cost = cost + own.steady * values.square().sum(1).mean()
                cost.backward()
            step_group([values], moments, rate * (1 - 0.7 * step / own.steps))
        return values.detach()

    def _around(self, motion: Motion, bends: torch.Tensor, blur: float) -> tuple[Window, torch.Tensor]:
        """What is around the object, and [h, w] which pixels of it are compared."""
        margin = max(2, round(self.settings.margin * self.stage.camera.width / 160 + blur))
        share = self.stage.predict([self.stage.placed(motion, self.nodes.shape(bends))]).share[0]
        return around(self.stage, share, margin, blur)

    @torch.no_grad()
    def _difference(self, frame: torch.Tensor, motion: Motion, bends: torch.Tensor) -> float:
        """Mean colour difference around the object, as far as it is too much, 0..1."""
        blur = self.settings.blurs[-1] * self.stage.camera.width / 160
        window, region = self._around(motion, bends, blur)
        made = window.predict([self.stage.placed(motion, self.nodes.shape(bends))])
        off = (blurred(made.color, blur)[0] - blurred(window.cut(frame)[None], blur)[0]).abs().mean(-1)
        weight = region * made.known[0].clamp(0, 1)
        return float(((off - DIFFERENT / 2).clamp(0, DIFFERENT) * weight).sum() / made.share[0].sum().clamp(min=1))


def _added(begin: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """[K, 7] with unit turns."""
    turns = torch.nn.functional.normalize(begin[:, 3:] + change[:, 3:], dim=1)
    return torch.cat([begin[:, :3] + change[:, :3], turns], dim=1)
