"""Control nodes moved in time by a small network, which carry the Gaussians around them.

    x ↦ Σ_j w_j (R_j (x - p_j) + p_j + t_j),   w = softmax over the nearest nodes of -d² / 2 r_j²

(embedded deformation, Sumner, Schmid and Pauly 2007; with a network, SC-GS, Huang et al. 2024). Weights are fixed
between two bindings, so that a step is a few small matrix products and one weighted sum a Gaussian. Once Gaussians are
bound for good, each learns what it adds to the exponents: distance alone makes what lies near each other move as one.
"""

from __future__ import annotations

import torch

from legs4d.config.deform import DeformSettings
from legs4d.deform.fields.binding import Binding
from legs4d.deform.fields.blend import blend
from legs4d.deform.fields.field import Bent, waves
from legs4d.deform.fields.rigidity import rigidity
from legs4d.reconstruct.fitting.adam_group import Moments, step_group
from legs4d.reconstruct.fitting.quaternions import multiply, rotation_matrices

SOLID = 0.2
"""Opacity from which on a Gaussian counts as part of the thing, when nodes are spread over it."""
CANDIDATES = 20_000
"""Gaussians among which nodes are spread."""
STEADY_TIMES = 4
"""Pictures of a step at whose times it is looked how evenly nodes move."""
FARTHEST = 1e-4
"""Weight that a bound node has at least when weights begin to be learned."""
FIRST_OUTPUT = 1e-4
"""Deviation of the last layer's weights at the start: nearly nothing moves."""


class NodeField:
    """K nodes for up to `capacity` Gaussians.

    Args:
        center: [3] scene units, radius: of what is filmed; places and shifts are in it.
        num_frames: of the sequence.
    """

    def __init__(
        self,
        settings: DeformSettings,
        capacity: int,
        num_frames: int,
        center: torch.Tensor,
        radius: float,
        device: torch.device,
    ) -> None:
        own = settings.nodes
        self.settings, self.center, self.radius, self.device = own, center.to(device), radius, device
        self.nodes = torch.zeros(own.count, 3, device=device)
        self.widths = torch.ones(own.count, device=device)
        """r of each node, scene units."""
        self.binding = Binding.empty(capacity, own.bindings, own.count, device)
        self._neighbours = torch.zeros(own.count, own.rigid_neighbours, dtype=torch.int64, device=device)
        self._near = torch.zeros(own.count, own.rigid_neighbours, device=device)
        self._scaled, self._faded = "scales" in settings.changing, "opacities" in settings.changing
        self.num_frames, self._frame = num_frames, 1 / max(num_frames - 1, 1)
        self._layers = self._network(settings.seed)
        self._moments = [Moments.of(value) for value in self._layers]
        self._place = torch.zeros(own.count, 3 * (2 * own.place_waves + 1), device=device)
        self._inverse = torch.tensor([1.0, -1, -1, -1], device=device)
        self._leanings: torch.Tensor | None = None
        """[capacity, J] what Gaussians add to the logarithms of their weights, once they are bound for good; a leaf."""
        self._is_placed, self._bound = False, 0

    def _network(self, seed: int) -> list[torch.Tensor]:
        """Weights and biases: of place and time into the first layer, and again into the middle one; the others."""
        own, chance = self.settings, torch.Generator().manual_seed(seed)
        place, time = 3 * (2 * own.place_waves + 1), 2 * own.time_waves + 1
        outputs = 7 + self._scaled + self._faded
        shapes = [(place, own.width), (time, own.width), (place, own.width), (time, own.width)]
        shapes += [(own.width, own.width)] * (own.depth - 1) + [(own.width, outputs)]
        made: list[torch.Tensor] = []
        for number, (inputs, width) in enumerate(shapes):
            if number == len(shapes) - 1:
                weight = FIRST_OUTPUT * torch.randn(inputs, width, generator=chance)
            else:  # as torch.nn.Linear begins
                fan = place + time if number < 4 else inputs
                weight = (torch.rand(inputs, width, generator=chance) * 2 - 1) / fan**0.5
            made.append(weight)
        made += [torch.zeros(own.width) for _ in range(own.depth)] + [torch.zeros(outputs)]
        return [value.to(self.device).requires_grad_() for value in made]

    def poses(self, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(shift [B, K, 3] scene units, turn [B, K, 4] wxyz of any length, other outputs [B, K, ·]) at times [B]."""
        own, weights = self.settings, self._layers
        count = 4 + own.depth
        linear, biases = weights[:count], weights[count:]
        when = waves(times[:, None] * 2 - 1, own.time_waves)
        told = [(self._place @ linear[2 * i])[None] + (when @ linear[2 * i + 1])[:, None] for i in range(2)]
        hidden = torch.relu(told[0] + biases[0])
        for i in range(1, own.depth):
            hidden = hidden @ linear[3 + i]
            if i == own.depth // 2:
                hidden = hidden + told[1]
            hidden = torch.relu(hidden + biases[i])
        out = hidden @ linear[-1] + biases[-1]
        # All four numbers are free: with a real part of 1 nothing could turn by more than half a round.
        turns = torch.cat([1 + out[..., 6:7], out[..., 3:6]], dim=-1)
        return out[..., :3] * self.radius, turns, out[..., 7:]

    @property
    def _steady(self) -> bool:
        return self.settings.steady_weight > 0 and torch.is_grad_enabled()

    def bend(self, means: torch.Tensor, quats: torch.Tensor, times: torch.Tensor) -> Bent:
        batch, count = len(times), len(self.nodes)
        around = times[:STEADY_TIMES] if self._steady else times[:0]
        # Those before and after are asked for in the same breath: a network's time is that of its launches.
        asked = torch.cat([times, around - self._frame, around + self._frame])
        all_shifts, all_turns, all_others = self.poses(asked)
        all_turns = torch.nn.functional.normalize(all_turns, dim=-1)
        shifts, turns, others = all_shifts[:batch], all_turns[:batch], all_others[:batch]
        matrices = rotation_matrices(turns.reshape(-1, 4)).view(batch, count, 3, 3)
        offsets = self.nodes + shifts - torch.einsum("bkxy,ky->bkx", matrices, self.nodes)
        values = torch.cat([matrices.flatten(-2), offsets, turns, others], dim=-1)
        mixed = blend(values, self.binding, len(means), self._leant(len(means)))
        moved = (mixed[..., :9].unflatten(-1, (3, 3)) * means[:, None]).sum(dim=-1) + mixed[..., 9:12]
        turned = multiply(mixed[..., 12:16], torch.nn.functional.normalize(quats, dim=-1).expand(batch, -1, -1))
        rest = 16
        scaled = mixed[..., rest : rest + 1] if self._scaled else None
        faded = mixed[..., rest + self._scaled] if self._faded else None
        return Bent(moved, turned, scaled, faded, all_shifts, all_turns)

    def regularise(self, times: torch.Tensor, bent: Bent) -> torch.Tensor:
        own, cost, batch = self.settings, times.new_zeros(()), len(times)
        assert bent.shifts is not None and bent.turns is not None, "nodes bend by their poses"
        if own.rigid_weight:
            now = self.nodes + bent.shifts[:batch]
            stiff = rigidity(self.nodes, now, bent.turns[:batch], self._neighbours, self._near, own.rigid_up_to)
            cost = cost + own.rigid_weight * stiff
        if self._steady:
            before, after = bent.shifts[batch:].chunk(2)
            now, turn = bent.shifts[: len(before)], bent.turns[: len(before)]
            # What turns on goes on round, not straight on; by how much it turns is not what this is to change.
            back = bent.turns[batch:].chunk(2)[0] * self._inverse
            round_ = rotation_matrices(multiply(turn, back).detach().reshape(-1, 4)).view(*now.shape[:2], 3, 3)
            bend = (after - now - torch.einsum("bkxy,bky->bkx", round_, now - before)) / self.radius
            cost = cost + own.steady_weight * bend.square().sum(dim=-1).mean()
        return cost

    def _leant(self, count: int) -> torch.Tensor | None:
        """[count, J] weights of the first Gaussians, differentiable; None while distance alone tells them."""
        if self._leanings is None:
            return None
        near = self.binding.weight[:count].clamp(min=FARTHEST).log()
        return torch.softmax(near + self._leanings[:count], dim=1)

    def _learn_weights(self) -> None:
        self._leanings = torch.zeros_like(self.binding.weight).requires_grad_()
        self._of_leanings = Moments.of(self._leanings.detach())

    def step(self, rate: float | torch.Tensor) -> None:
        step_group(self._layers, self._moments, rate)
        if self._leanings is not None:
            step_group([self._leanings], [self._of_leanings], rate * self.settings.weights_rate)

    def follow(self, means: torch.Tensor, opacities: torch.Tensor, *, spread: bool, for_good: bool = False) -> None:
        if spread or not self._is_placed:
            self._spread(means, opacities)
        found = [nearest(part, self.nodes, self.settings.bindings) for part in means.split(CANDIDATES)]
        self._bind(*(torch.cat(parts) for parts in zip(*found, strict=True)))
        if for_good:
            self._learn_weights()

    def _bind(self, distances: torch.Tensor, index: torch.Tensor) -> None:
        """Bind Gaussians to nodes [N, J] that are so far away [N, J]."""
        weight = torch.softmax(-distances.square() / (2 * self.widths[index].square()), dim=1)
        self._bound = len(index)
        self.binding.set(index, weight)

    @torch.no_grad()
    def inherit(self, means: torch.Tensor, sources: torch.Tensor) -> None:
        if self._leanings is None:
            return
        index = self.binding.index[sources].long()
        self._bind((means[:, None] - self.nodes[index]).norm(dim=-1), index)
        for rows in (self._leanings, self._of_leanings.first, self._of_leanings.second):
            inherited = rows[sources]
            rows[: len(sources)] = inherited
            rows[len(sources) :] = 0

    def _spread(self, means: torch.Tensor, opacities: torch.Tensor) -> None:
        """Place the nodes by farthest point sampling among the solid Gaussians."""
        solid = means[opacities > SOLID]
        if len(solid) < 2 * len(self.nodes):
            solid = means
        if len(solid) > CANDIDATES:
            drawn = torch.randperm(len(solid), generator=torch.Generator().manual_seed(0))[:CANDIDATES]
            solid = solid[drawn.to(solid.device)]
        chosen = farthest(solid, min(len(self.nodes), len(solid)))
        # Where there are fewer Gaussians than nodes, some nodes are the same.
        self.nodes.copy_(solid[chosen[torch.arange(len(self.nodes), device=self.device) % len(chosen)]])
        self._settle()

    def _settle(self) -> None:
        """What follows from where the nodes are."""
        own = self.settings
        self._is_placed = True
        distances, index = nearest(self.nodes, self.nodes, own.rigid_neighbours + 1)
        # Of fewer nodes than neighbours are asked for, the farthest there is stands for those that are not.
        there = torch.isfinite(distances)
        distances = torch.where(there, distances, distances.where(there, 0).amax(dim=1, keepdim=True))
        self._neighbours.copy_(index[:, 1:])
        spacing = distances[:, 1:].mean(dim=1).clamp(min=1e-6 * self.radius)
        self.widths.copy_(own.reach * distances[:, 1:4].mean(dim=1).clamp(min=1e-6 * self.radius))
        self._near.copy_((1 / spacing.square()[:, None] / own.rigid_neighbours).expand_as(self._near))
        self._place.copy_(waves((self.nodes - self.center) / self.radius, own.place_waves))

    def bound(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(nodes [N, J] int32, weights [N, J]) of the Gaussians in use."""
        leant = self._leant(self._bound)
        weight = self.binding.weight[: self._bound] if leant is None else leant.detach()
        return self.binding.index[: self._bound], weight

    def state(self) -> dict[str, torch.Tensor]:
        index, weight = self.binding.index[: self._bound], self.binding.weight[: self._bound]
        found = {"nodes": self.nodes, "index": index, "weight": weight}
        if self._leanings is not None:
            m = self._of_leanings
            found |= {"leanings": self._leanings, "leanings.first": m.first, "leanings.second": m.second}
            found["leanings.steps"] = m.steps
        for number, (value, m) in enumerate(zip(self._layers, self._moments, strict=True)):
            found |= {f"layer.{number}": value, f"layer.{number}.first": m.first, f"layer.{number}.second": m.second}
            found[f"layer.{number}.steps"] = m.steps
        return {name: value.detach().cpu().clone() for name, value in found.items()}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        self.nodes.copy_(state["nodes"])
        self._settle()
        # As they were bound, not as they would be bound now.
        self._bound = len(state["index"])
        self.binding.set(state["index"].long().to(self.device), state["weight"].to(self.device))
        with torch.no_grad():
            if "leanings" in state:
                self._learn_weights()
                assert self._leanings is not None
                self._leanings.copy_(state["leanings"])
                for name in ("first", "second", "steps"):
                    getattr(self._of_leanings, name).copy_(state[f"leanings.{name}"])
            for number, (value, m) in enumerate(zip(self._layers, self._moments, strict=True)):
                value.copy_(state[f"layer.{number}"])
                m.first.copy_(state[f"layer.{number}.first"])
                m.second.copy_(state[f"layer.{number}.second"])
                m.steps.copy_(state[f"layer.{number}.steps"])


def farthest(points: torch.Tensor, count: int) -> torch.Tensor:
    """[count] positions of points [N, 3] spread over all of them, each as far as can be from those before it."""
    chosen = torch.zeros(count, dtype=torch.int64, device=points.device)
    distance = torch.full((len(points),), torch.inf, device=points.device)
    for i in range(1, count):
        distance = torch.minimum(distance, (points - points[chosen[i - 1]]).square().sum(dim=-1))
        chosen[i] = distance.argmax()
    return chosen


def nearest(points: torch.Tensor, others: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(distances, positions in `others`) [N, count] of the nearest to each point."""
    # Not by products: near ones would be lost in float32.
    distances = torch.cdist(points, others, compute_mode="donot_use_mm_for_euclid_dist")
    values, indices = [], []
    for _ in range(count):  # a few passes over memory; on a GPU `topk` takes a hundred times as long
        value, index = distances.min(dim=1, keepdim=True)
        values.append(value)
        indices.append(index)
        distances.scatter_(1, index, torch.inf)
    return torch.cat(values, dim=1), torch.cat(indices, dim=1)
