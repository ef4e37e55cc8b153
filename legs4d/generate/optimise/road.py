"""4DGen's optimisation (Yin et al. 2023): a reference video and pseudo views from sixteen sides → an object that moves.

Three stages: of the first frame alone, still; of all frames, with what bends; and the same with score distillation
between, where a helper of the role `guidance` is there. Other than there, more than sixteen frames may be given, the
planes' time covers the whole video, Gaussians begin in the silhouettes' hull if those have one, and cameras may have
axes and units of their own. Where views show the first frame alone, `labels` makes those of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import DeformSettings
from legs4d.config.deform import GrowthSettings, PlanesSettings
from legs4d.deform.fields.field import Bent
from legs4d.deform.fields.planes import OF_TIME, PlaneField
from legs4d.deform.fit import Fit
from legs4d.deform.fitting.canonical import NAMES, Canonical
from legs4d.deform.fitting.schedule import Schedule
from legs4d.deform.footage.pictures import Pictures
from legs4d.deform.footage.start import find_start
from legs4d.errors import DatasetError
from legs4d.generate.lenses import FOURDGEN, Lens
from legs4d.generate.optimise.distil import Distillation
from legs4d.generate.optimise.losses import REFERENCE, chamfer, decayed, picture_loss
from legs4d.priors.perceptual.lpips import Lpips
from legs4d.progress import StageReporter
from legs4d.raster.tiles import ROOM_A_PICTURE, ROOM_TO_SPARE, Room
from legs4d.scene.sequence import InitialPoints
from legs4d.scene.stage import Stage

LOOK_EVERY = 50
"""Steps on CUDA after which it is looked whether there was room for all tiles."""
DECAY = 3000
"""Steps over which step sizes fall, counted anew in each stage."""
RATES = {"means": (1.6e-4, 1.6e-6), "bend": (1.6e-4, 1.6e-5)}
"""First and last; the planes take ten times that of the network behind them."""
FIXED = {"quats": 1e-3, "log_scales": 5e-3, "logit_opacities": 0.05, "colors": 2.5e-3, "sh_rest": 1.25e-4}
GROWN = (600, 1000, 100)
"""First and last step of the static stage at which Gaussians are added, and every how many."""
BALL = 0.5
"""Radius of the ball of points, where silhouettes have no hull."""
LEAST_TIMES = 8
"""Entries of the planes along time, at least."""
BOX = 2.5
"""Half the side of the cube that the planes cover."""


PLANES = PlanesSettings(channels=32, space=64, levels=4, time=16, width=256, layers=2, combine="concatenate")
FEW_PLANES = PlanesSettings(channels=8, space=16, levels=2, time=8, width=32, layers=2, combine="concatenate")


@dataclass(frozen=True)
class How:
    """4DGen's numbers.

    Attributes:
        static, coarse, fine: steps of the three stages.
        pictures_per_step: there 1; on a GPU two take little more time.
        points: to begin with; most: Gaussians that there may be.
        planes: of the field that bends.
        distil: share of the fine stage's steps that distil, where guidance is there.
        steady, smooth, still: weights of the planes' second differences in time, of their total variation in space, and
            of how far those of time are from 1.
        perceptual: times that LPIPS counts, 0 leaves it out; there 1, whose pull makes stains.
        chamfer: weight of the distance between neighbouring moments' clouds.
        pace: times 4DGen's step sizes, and so many times as fast do they fall: for fewer steps than its.
    """

    static: int = 1099
    coarse: int = 1000
    fine: int = 3000
    pictures_per_step: int = 2
    points: int = 25_000
    most: int = 60_000
    planes: PlanesSettings = PLANES
    distil: float = 0.8
    steady: float = 0.01
    smooth: float = 1e-4
    still: float = 0.0
    chamfer: float = 0.0
    perceptual: float = 0.1
    pace: float = 1.0
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.static + self.coarse + self.fine


QUICK = How(
    static=300,
    coarse=600,
    fine=900,
    pictures_per_step=1,
    points=2000,
    most=5000,
    planes=FEW_PLANES,
    perceptual=0.0,
    pace=3.0,
)
"""For a processor: it shows what comes, blurred. LPIPS would take three quarters of the time: more steps do more."""


class Optimise(Fit):
    """The optimisation, at some step. See `How`.

    Args:
        pictures: the reference's and the views', of all frames.
        is_reference: [F] which of them are the reference's.
        lens: of 4DGen's axes and units; None where cameras have others, in which nothing is distilled.
        guidance: distils, or None.
    """

    def __init__(
        self,
        pictures: Pictures,
        is_reference: NDArray[np.bool_],
        stage: Stage,
        lens: Lens | None,
        how: How,
        lpips: Lpips | None,
        guidance: Distillation | None,
        reporter: StageReporter,
    ) -> None:
        device = pictures.images.device
        unit = 1.0 if lens is not None else stage.radius / FOURDGEN.distance
        self.how, self.lens, self.lpips, self.guidance = how, lens, lpips if how.perceptual else None, guidance
        self.counts = torch.as_tensor(np.where(is_reference, REFERENCE, 1.0), dtype=torch.float32, device=device)
        first, last, every = (round(step * how.static / 1099) for step in GROWN)
        growth = GrowthSettings(
            every=max(1, every), start=first / how.steps, stop=last / how.steps, max_gaussians=how.most
        )
        planes = how.planes.model_copy(update={"smooth_weight": how.smooth, "time_weight": how.steady})
        settings = DeformSettings(
            field="planes", enough_pixels=1, steps=how.steps, seed=how.seed, growth=growth, planes=planes
        )
        canonical = Canonical(how.most, 0, device)
        canonical.start(_begin(pictures, stage, unit, how, reporter), settings.start_opacity, stage.radius)
        moments = int(pictures.frames.max()) + 1
        center = torch.zeros(3) if lens is not None else torch.as_tensor(stage.center, dtype=torch.float32)
        bending = PlaneField(settings, moments, center, BOX * unit, device, margin=1.0)
        schedule = _schedule(how, pictures, unit)
        super().__init__(canonical, bending, pictures, schedule, settings, stage.near, float(stage.radius))
        self._chance = np.random.default_rng(how.seed)

    def advance(self) -> None:
        """One step; on CUDA as many as may be done until the host is wanted."""
        if self.guidance is None and not self.how.chamfer:
            super().advance()
            if self.done == self.how.static:
                self._replay.forget()  # it bends nothing
            return
        row = self.done
        self._step(
            torch.as_tensor(self.schedule.pictures[row], device=self.pictures.images.device),
            torch.ones(self.schedule.pictures.shape[1], 3, device=self.pictures.images.device),
            [float(rate) for rate in self.schedule.rates[row]],
        )
        self.done += 1
        if self.room is not None and self.done % LOOK_EVERY == 0:
            needed = int(self.room.needed)
            if needed > 0.8 * self.room.size:
                self.room = Room.of(int(ROOM_TO_SPARE * needed), self.canonical.device)
        self._look_after()

    def _dues(self) -> list[int]:
        return [*super()._dues(), self.how.static]

    @property
    def _is_still(self) -> bool:
        return self.done < self.how.static

    def _bend(self, times: torch.Tensor) -> Bent:
        values = self.canonical.values
        if self._is_still and torch.is_grad_enabled():
            count = len(times)
            return Bent(values["means"].expand(count, -1, -1), values["quats"].expand(count, -1, -1))
        return super()._bend(times)

    def _step(self, which: torch.Tensor, background: torch.Tensor, rates: list[float] | torch.Tensor) -> None:
        how, times = self.how, self.pictures.times[which]
        chance = np.random.default_rng([how.seed, self.done])
        fine = self.done >= how.static + how.coarse
        if fine and self.guidance is not None and chance.random() < how.distil:
            loss = self._distilled(chance)
        else:
            bent = self._bend(times)
            color, alpha = self._render(self._states(bent), which, background, self.pull, self.room)
            seen = self.pictures.images[which].to(torch.float32) / 255
            truth = torch.cat([seen[..., :3] + 1 - seen[..., 3:], seen[..., 3:]], dim=-1)
            drawn = torch.cat([color, alpha[..., None]], dim=-1)
            loss = picture_loss(drawn, truth, self.counts[which], self.lpips, how.perceptual)
            if not self._is_still:
                loss = loss + self._regularised(times, bent)
        loss.backward()
        self.pull.collect()
        groups = len(NAMES)
        self.canonical.step(rates[:groups])
        if not self._is_still:
            self.deformation.step(rates[groups])
        self.loss.copy_(loss.detach())

    def _regularised(self, times: torch.Tensor, bent: Bent) -> torch.Tensor:
        field, how = self.deformation, self.how
        assert isinstance(field, PlaneField)
        cost = field.regularise(times, bent)
        if how.still:
            cost = cost + how.still * still(field)
        if how.chamfer and len(times) > 1:
            cost = cost + how.chamfer * chamfer(bent.means[0], bent.means[1])
        return cost

    def _distilled(self, chance: np.random.Generator) -> torch.Tensor:
        """Of a random camera, at a random moment."""
        assert self.guidance is not None and self.lens is not None
        frame = int(chance.integers(int(self.pictures.frames.max()) + 1))
        elevation, azimuth = float(chance.integers(-30, 30)), float(chance.integers(-180, 180))
        view = self.guidance.view(self.lens, elevation, azimuth)
        moment = frame / max(int(self.pictures.frames.max()), 1)
        device = self.pictures.images.device
        states = self.states(torch.tensor([moment], dtype=torch.float32, device=device))
        room = None if self.room is None else Room.of(max(self.room.size, ROOM_A_PICTURE), device)
        color = view.render(states, self.near, room)
        return self.guidance.loss(color, elevation, azimuth, frame, chance)


def still(field: PlaneField) -> torch.Tensor:
    """[] how far planes of time are from changing nothing: mean of |1 − P|, summed (K-Planes' L1)."""
    found = [(1 - level[i]).abs().mean() for level in field.planes.planes for i in OF_TIME]
    return torch.stack(found).sum()


def _begin(pictures: Pictures, stage: Stage, unit: float, how: How, reporter: StageReporter) -> InitialPoints:
    """Points on the hull of the first frame's silhouettes; where they have none, in a ball."""
    first = np.flatnonzero(pictures.frames == 0)
    try:
        start = find_start(
            pictures, None, stage, how.points, "views", reporter.check, most=how.most, among=first.astype(np.int64)
        )
        return start.points
    except DatasetError:
        chance = np.random.default_rng(how.seed)
        away = chance.normal(size=(how.points, 3))
        away *= unit * BALL * chance.random((how.points, 1)) ** (1 / 3) / np.linalg.norm(away, axis=1, keepdims=True)
        grey = np.full((how.points, 3), 0.5, np.float32)
        return InitialPoints((stage.center + away).astype(np.float32), grey, np.ones(how.points, np.bool_))


def _schedule(how: How, pictures: Pictures, unit: float) -> Schedule:
    """Which pictures each step looks at, and how far it goes; means in units of so many scene units."""
    chance, batch = np.random.default_rng(how.seed), how.pictures_per_step
    first = np.flatnonzero(pictures.frames == 0)
    chosen = np.concatenate(
        [
            first[chance.integers(0, len(first), (how.static, batch))],
            chance.integers(0, len(pictures), (how.coarse + how.fine, batch)),
        ]
    )
    rates = []
    for steps in (how.static, how.coarse, how.fine):
        for step in range(steps):
            means, bend = (how.pace * decayed(*RATES[name], how.pace * step, DECAY) for name in ("means", "bend"))
            rates.append([unit * means, *(how.pace * FIXED[name] for name in NAMES[1:]), bend, 0.0])
    backgrounds = np.ones((how.steps, batch, 3), np.float32)
    return Schedule(chosen.astype(np.int64), backgrounds, np.array(rates, np.float32))


def scaled_to(how: How, num_frames: int) -> How:
    """With an entry along time for every two frames, as 4DGen's sixteen, of which its times reach half, have for
    sixteen frames."""
    return replace(how, planes=how.planes.model_copy(update={"time": max(LEAST_TIMES, (num_frames + 1) // 2)}))
