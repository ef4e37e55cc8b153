"""Fitting canonical Gaussians and what bends them to pictures of all times together.

A step renders a few pictures, each of its own time, and moves everything by Adam. On CUDA a step is captured in a graph
and replayed, as it would else wait for Python most of the time: 12 to 16 ms a step were measured so, for 0.3 ms of
rendering. The host looks in only for growth, and to tell of progress.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config.deform import DeformSettings
from legs4d.deform.fields.field import Bent, Field
from legs4d.deform.fitting.canonical import NAMES, Canonical
from legs4d.deform.fitting.growth import grow
from legs4d.deform.fitting.pacing import Pacing
from legs4d.deform.fitting.per_picture import PerPicture, Poses, Tones
from legs4d.deform.fitting.schedule import Schedule
from legs4d.deform.footage.pictures import BLANK, Pictures
from legs4d.gaussians.gaussians import Gaussians
from legs4d.raster.states import Pull, States, render_states
from legs4d.raster.tiles import FILLED, ROOM_A_PICTURE, ROOM_TO_SPARE, Room
from legs4d.reconstruct.captured.replay import Replay, Rows
from legs4d.reconstruct.fitting.losses import depth_loss, image_loss

LOOKED_AT = 4
"""Times the pictures of a step that are compared at once where nothing is learned from them."""
LOOK_EVERY = 100
"""Steps on CUDA after which the host looks whether there was room, and tells of progress."""


@dataclass
class Fit:
    """What is fitted, at some step.

    Attributes:
        canonical, deformation: what is fitted.
        pictures: what it is fitted to.
        schedule: what each step does.
        near: near plane; radius: of the stage; both scene units.
        done: steps done.
    """

    canonical: Canonical
    deformation: Field
    pictures: Pictures
    schedule: Schedule
    settings: DeformSettings
    near: float
    radius: float
    threads: int | None = None
    poses: Poses | None = None
    """Where they are refined."""
    tones: Tones | None = None
    """Where pictures may differ in exposure and tint."""
    pacing: Pacing | None = None
    """Where not all pictures are looked at from the first step."""
    done: int = 0
    loss: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def __post_init__(self) -> None:
        device = self.canonical.device
        self.pull = Pull.of(self.canonical.capacity, device)
        self._is_cuda = device.type == "cuda"
        batch = self.schedule.pictures.shape[1]
        self.room = Room.of(ROOM_A_PICTURE * batch, device) if self._is_cuda else None
        self._rows = Rows(torch.as_tensor(self.schedule.table(), device=device)) if self._is_cuda else None
        self._replay = Replay(self._step_on_device, self.room)
        self._replayed_rows = 0
        self.loss = torch.zeros((), device=device)

    @property
    def total(self) -> int:
        return len(self.schedule)

    def advance(self) -> None:
        """One step on the CPU; on CUDA as many as may be done until the host is wanted."""
        if self.pacing is not None and self.pacing.due(self.done):
            self.pacing.take_up(self.errors(), self.done)
            self._look_at_paced(self.done)
        if not self._is_cuda:
            row = self.done
            rates = [float(rate) for rate in self.schedule.rates[row]]
            which = torch.as_tensor(self.schedule.pictures[row])
            self._step(which, torch.as_tensor(self.schedule.backgrounds[row]), rates)
            self.done += 1
        else:
            self._go_on(min(self._until_wanted(), LOOK_EVERY))
        self._look_after()

    def _until_wanted(self) -> int:
        """Steps until growth, binding or placing are due."""
        dues = [due for due in self._dues() if due > self.done]
        return min([*dues, self.total]) - self.done

    def _dues(self) -> list[int]:
        """The next steps after which something is due."""
        own, growth = self.settings, self.settings.growth
        found = [
            (self.done // growth.every + 1) * growth.every,
            (self.done // own.nodes.bind_every + 1) * own.nodes.bind_every,
        ]
        if self.pacing is not None and self.done < self.pacing.steps:
            found.append(min((self.done // self.pacing.every + 1) * self.pacing.every, self.pacing.steps))
        return [*found, self._bound_from, *(round(share * self.total) for share in own.nodes.placed)]

    @property
    def _bound_from(self) -> int:
        """The step after which Gaussians stay bound to the nodes they are bound to, and learn how much to each."""
        own = self.settings
        if not own.nodes.weights_rate:
            return self.total + 1
        placed = round(max(own.nodes.placed, default=0) * self.total)
        # After the first step at the earliest: before it nothing is looked after.
        return max(1, placed, 0 if self.pacing is None else self.pacing.steps)

    def _look_after(self) -> None:
        """What is done between steps."""
        own, growth = self.settings, self.settings.growth
        first, last = round(growth.start * self.total), round(growth.stop * self.total)
        grown = first <= self.done < last and self.done % growth.every == 0
        placed = self.done in {round(share * self.total) for share in own.nodes.placed}
        if grown:
            rounds = (last - 1 - self.done) // growth.every + 1
            sources = grow(self.canonical, self.pull, growth, self.radius, rounds, own.seed + self.done)
            self.pull.clear()
            if self.done > self._bound_from:
                self.deformation.inherit(self.canonical.used("means"), sources)
        if self.done == self._bound_from:
            self.follow(spread=placed, for_good=True)
            self._replay.forget()
        elif self.done < self._bound_from and (grown or placed or self.done % own.nodes.bind_every == 0):
            self.follow(spread=placed)

    def follow(self, *, spread: bool = False, for_good: bool = False) -> None:
        """Have the deformation suit the Gaussians as they are now; see `Field.follow`."""
        with torch.no_grad():
            opacities = torch.sigmoid(self.canonical.used("logit_opacities"))
            self.deformation.follow(self.canonical.used("means"), opacities, spread=spread, for_good=for_good)

    def _look_at_paced(self, step: int) -> None:
        """Write into the schedule which pictures are looked at from this step on, until others are taken up."""
        assert self.pacing is not None
        batch = self.schedule.pictures.shape[1]
        drawn = self.pacing.draw(step, batch)
        self.schedule.pictures[step : step + len(drawn)] = drawn
        if self._rows is not None:
            table = self._rows.table
            table[step : step + len(drawn), :batch] = torch.as_tensor(drawn, device=table.device).float()

    @torch.no_grad()
    def errors(self) -> NDArray[np.float64]:
        """[F] mean absolute difference of each picture from what it should be, in what something covers of it."""
        room, batch = self.room, self.schedule.pictures.shape[1]
        if room is not None:  # Python's time for a call is that of many pictures
            batch *= LOOKED_AT
            room = Room.of(LOOKED_AT * room.size, self.canonical.device)
        found = []
        for which in torch.arange(len(self.pictures), device=self.canonical.device).split(batch):
            background = torch.full((len(which), 3), 0.5, device=which.device)
            shown = self._shown(self.states(self.pictures.times[which]), which)
            color = self._toned(*self._render(shown, which, background, None, room), background, which)
            seen = self.pictures.images[which].to(torch.float32) / 255
            truth = seen[..., :3] + (1 - seen[..., 3:]) * background[:, None, None]
            found.append((color - truth).abs().mean(dim=(1, 2, 3)) / seen[..., 3].mean(dim=(1, 2)).clamp(min=BLANK))
        if self.room is not None and room is not None and (needed := int(room.needed)) > room.size:
            self.room.size = int(ROOM_TO_SPARE * needed / LOOKED_AT) + 1
            self._replay.forget()
            return self.errors()
        return torch.cat(found).cpu().numpy().astype(np.float64)

    # -- a step --------------------------------------------------------------------------------------------------------

    def _step(self, which: torch.Tensor, background: torch.Tensor, rates: list[float] | torch.Tensor) -> None:
        """Look at the pictures at `which` [B] on backgrounds [B, 3], and move everything."""
        own, times = self.settings, self.pictures.times[which]
        bent = self._bend(times)
        states = self._shown(self._states(bent), which)
        measured = self.pictures.depths
        drawn, alpha = self._render(states, which, background, self.pull, self.room, depth=measured is not None)
        color = self._toned(drawn[..., :3], alpha, background, which)
        seen = self.pictures.images[which].to(torch.float32) / 255
        truth = seen[..., :3] + (1 - seen[..., 3:]) * background[:, None, None]
        if self.pictures.has_holes:  # what is not known is as it is drawn
            truth = torch.where(seen[..., 3:] > 0, truth, color.detach())
        loss = image_loss(color, truth, own.ssim_share) + self.deformation.regularise(times, bent)
        if measured is not None:
            away = measured[which].to(torch.float32) * self.pictures.depth_unit
            loss = loss + own.depth_weight * depth_loss(drawn[..., 3], alpha, away, self.pictures.depth_unit)
        if own.square_weight:
            loss = loss + own.square_weight * (color - truth).square().mean()
        if own.opacity_weight:
            loss = loss + own.opacity_weight * states.opacities.mean()
        if self.tones is not None:
            loss = loss + self.tones.cost()
        loss.backward()
        self.pull.collect()
        groups = len(NAMES)
        self.canonical.step(rates[:groups])
        self.deformation.step(rates[groups])
        for group, corrections in enumerate(self._corrections().values(), groups + 1):
            if corrections is not None:
                corrections.step(rates[group])
        self.loss.copy_(loss.detach())

    def _corrections(self) -> dict[str, PerPicture | None]:
        """In the order of their step sizes in the schedule."""
        return {"poses": self.poses, "tones": self.tones}

    def _render(
        self,
        states: States,
        which: torch.Tensor,
        background: torch.Tensor,
        pull: Pull | None,
        room: Room | None,
        *,
        depth: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        table, threads = self.pictures.table, self.threads
        return render_states(
            states, table, which, background, near=self.near, pull=pull, room=room, threads=threads, depth=depth
        )

    def _shown(self, states: States, which: torch.Tensor) -> States:
        """The states as these pictures show them, if their poses are refined."""
        return states if self.poses is None else self.poses.applied(states, which)

    def _toned(
        self, color: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor, which: torch.Tensor
    ) -> torch.Tensor:
        """Renderings as these pictures show colour, if they differ in that."""
        return color if self.tones is None else self.tones.applied(color, alpha, background, which)

    def states(self, times: torch.Tensor) -> States:
        """The Gaussians that take part, at times [B] in 0..1."""
        return self._states(self._bend(times))

    def _bend(self, times: torch.Tensor) -> Bent:
        return self.deformation.bend(self.canonical.values["means"], self.canonical.values["quats"], times)

    def _states(self, bent: Bent) -> States:
        v, count = self.canonical.values, len(bent.means)
        scales, logits = v["log_scales"], v["logit_opacities"]
        scales = scales.expand(count, -1, -1) if bent.log_scales is None else scales + bent.log_scales
        logits = logits.expand(count, -1) if bent.logits is None else logits + bent.logits
        sh_rest = v["sh_rest"] if v["sh_rest"].shape[1] else None
        return States(bent.means, bent.quats, torch.exp(scales), torch.sigmoid(logits), v["colors"], sh_rest)

    # -- CUDA ----------------------------------------------------------------------------------------------------------

    def _go_on(self, steps: int) -> None:
        """So many steps by a captured graph, which is captured first where what takes part has changed."""
        assert self._rows is not None and self.room is not None
        if self._replayed_rows != self.canonical.rows or self.room.filled() > FILLED:
            self._replay.forget()
            self._replayed_rows = self.canonical.rows
        self._rows.begin(self.done)
        for _ in range(steps):
            self._replay()
        self.done += steps

    def _step_on_device(self) -> None:
        """The step whose row is read next."""
        assert self._rows is not None
        row = self._rows.read()
        batch, groups = self.schedule.pictures.shape[1], self.schedule.rates.shape[1]
        which, background = row[:batch].to(torch.int64), row[batch : 4 * batch].view(batch, 3)
        self._step(which, background, row[4 * batch : 4 * batch + groups])

    # -- what comes out ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def gaussians_at(self, time: float) -> Gaussians:
        """The Gaussians in use at a time in 0..1, detached."""
        states = self.states(torch.tensor([time], dtype=torch.float32, device=self.canonical.device))
        count = self.canonical.count
        return self.canonical.gaussians().replace(
            means=states.means[0, :count],
            quats=torch.nn.functional.normalize(states.quats[0, :count], dim=-1),
            scales=states.scales[0, :count],
            opacities=states.opacities[0, :count],
        )

    def state(self) -> dict[str, np.ndarray]:
        """All that the next step depends on."""
        found = {f"canonical.{name}": value for name, value in self.canonical.state().items()}
        found |= {f"deformation.{name}": value for name, value in self.deformation.state().items()}
        for which, corrections in self._corrections().items():
            if corrections is not None:
                found |= {f"{which}.{name}": value for name, value in corrections.state().items()}
        if self.pacing is not None:
            found |= {
                "pacing.order": torch.as_tensor(self.pacing.order),
                "pacing.taken": torch.tensor(self.pacing.taken),
            }
        found |= {"pull.norm": self.pull.norm, "pull.seen": self.pull.seen, "done": torch.tensor(self.done)}
        return {name: value.detach().cpu().numpy() for name, value in found.items()}

    def load(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        tensors = {name: torch.as_tensor(value) for name, value in state.items()}

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        self.canonical.load(part("canonical."))
        self.deformation.load(part("deformation."))
        for which, corrections in self._corrections().items():
            if corrections is not None:
                corrections.load(part(f"{which}."))
        pull = part("pull.")
        with torch.no_grad():
            self.pull.norm.copy_(pull["norm"])
            self.pull.seen.copy_(pull["seen"])
        self.done = int(tensors["done"])
        if self.pacing is not None:
            self.pacing.order = tensors["pacing.order"].numpy()
            self.pacing.taken = int(tensors["pacing.taken"])
            if self.done < self.pacing.steps and not self.pacing.due(self.done):
                self._look_at_paced(self.done // self.pacing.every * self.pacing.every)
