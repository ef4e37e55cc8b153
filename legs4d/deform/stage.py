"""The stage "deform": footage of all times together → a run, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from legs4d.config import DatasetSettings, DeformSettings
from legs4d.context import QUIET, Context
from legs4d.deform.fields.field import Field, Still
from legs4d.deform.fields.nodes import NodeField
from legs4d.deform.fields.planes import PlaneField
from legs4d.deform.fit import Fit
from legs4d.deform.fitting.canonical import Canonical
from legs4d.deform.fitting.pacing import Pacing
from legs4d.deform.fitting.per_picture import Poses, Tones, whose
from legs4d.deform.fitting.schedule import plan
from legs4d.deform.footage.measured import measured_points, nearer
from legs4d.deform.footage.opening import find_opening
from legs4d.deform.footage.pictures import Pictures, all_cameras, moments, read_pictures
from legs4d.deform.footage.start import Start, find_stage_of, find_start
from legs4d.deform.result import write_result
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.gaussians.store.unfinished import finish, forget
from legs4d.progress import StageReporter
from legs4d.reconstruct.stages import torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.sequence import InitialPoints, Sequence, cameras_move
from legs4d.scene.stage import Stage, bring_near
from legs4d.scene.track import filmed

STAGE = "deform"
VERSION = 6
"""Of this code: raise it when the same input gives another result, so that old runs are told apart."""


def deform_stages(
    sequence: Sequence, dataset: DatasetSettings, settings: DeformSettings, means: Mapping[str, str] | None = None
) -> dict[str, MadeFrom]:
    """What the stage is made from; see `reconstruct.stages.reconstruction_stages`."""
    of = {"dataset": dataset, "deform": settings}
    made = MadeFrom.of(of, VERSION, {"footage": sequence.fingerprint()}, means)
    # How often a fit is kept says nothing of what comes out.
    return {STAGE: replace(made, settings={k: v for k, v in made.settings.items() if k != "deform.keep_every"})}


def removes(sequence: Sequence, settings: DeformSettings) -> bool:
    """Whether what masks leave out of opaque pictures is nothing."""
    if settings.background != "auto" or sequence.see_through:
        return settings.background == "removed" and not sequence.see_through
    return not isinstance(sequence, MotionMasks) and sequence.num_frames == 1


def is_cut_out(sequence: Sequence, settings: DeformSettings) -> bool:
    """Whether pictures show things and no background: then these begin from their silhouettes' hull, or given points,
    and matches between pictures begin nothing."""
    return sequence.see_through or removes(sequence, settings)


@dataclass(frozen=True)
class Deformation:
    """One run's deformation: what is to be made from what, and where."""

    run: Run
    sequence: Sequence
    settings: DeformSettings
    device: torch.device
    context: Context = QUIET
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    means: Mapping[str, str] = field(default_factory=dict)
    """What the run keeps of how it was made, beside the engine; see `MadeFrom`."""
    matched: InitialPoints | None = None
    """Points that matches between the pictures tell, if they were looked for."""

    def finish(self) -> None:
        """Do what is not done yet. The caller holds the run's lock.

        Raises:
            RunDiffers: the run was begun otherwise.
            DatasetError: the footage does not determine a scene.
            Stopped: the stop signal is set; what is fitted so far is kept.
        """
        means = {"engine": self.device.type, **self.means}
        wanted = deform_stages(self.sequence, self.dataset, self.settings, means)[STAGE]
        record = self.run.begin_stage(STAGE, wanted)
        if record.finished:
            return
        with torch_threads(self.device), _fast_products(), self.run.timed(STAGE):
            self._fit(record.fingerprint)

    def _fit(self, fingerprint: str) -> None:
        reading = self.context.reporter("reading_pictures")
        where = str(self.sequence.root)
        given = self.sequence.initial_points
        known = None if given is None else given.positions
        stage = find_stage_of(all_cameras(self.sequence), where, known, self.sequence.bounds)
        if given is not None:
            stage = bring_near(stage, all_cameras(self.sequence), given.positions)
        pictures = read_pictures(
            self.sequence,
            self.device,
            reading.step,
            removed=removes(self.sequence, self.settings),
            measured=self.settings.depth_weight > 0,
        )
        if pictures.depths is not None:
            stage = nearer(stage, pictures)
        fit, start = begin_fit(pictures, self.sequence, stage, self.settings, reading, self.matched)
        finish(fit, self.run, fingerprint, self.context.reporter(STAGE), every=self.settings.keep_every)
        self._write(fit, start, stage)
        self.run.finish_stage(STAGE)
        forget(self.run)

    def _write(self, fit: Fit, start: Start, stage: Stage) -> None:
        run, sequence = self.run, self.sequence
        train = filmed(sequence, "train")
        assert train is not None  # pictures were read
        refined = [] if fit.poses is None else [fit.poses.told()]
        toned = [] if fit.tones is None else fit.tones.told()
        if fit.poses is not None:
            taken = fit.poses.corrected(fit.pictures.table.cameras)
            count = len(train) if isinstance(train, Cameras) else len(train.frames)
            taken = taken.take(np.arange(count))  # of cameras that stand still, those of the first frame
            train = taken if isinstance(train, Cameras) else replace(train, cameras=taken)
        heights = start.points.positions @ stage.down
        run.set_info(
            near=stage.near,
            center=[float(x) for x in stage.center],
            radius=stage.radius,
            down=[float(x) for x in stage.down],
            floor=float(np.quantile(heights, 0.995)),
            **({"background": [1.0, 1.0, 1.0]} if sequence.see_through else {}),
            notes=[*run.info.get("notes", []), *fit.pictures.notes, *refined, *toned],
            poses_refined=bool(refined),
            cut_out=removes(self.sequence, self.settings),
            times=list(sequence.times),
        )
        first = np.zeros((len(sequence.cameras("train", 0)), 6), np.float32)
        if fit.tones is not None:
            first = fit.tones.of_pictures()[: len(first)]
        run.write_cameras(train, filmed(sequence, "test"), first[:, :3], first[:, 3:])
        writing = StageReporter("writing", self.context.progress)  # too short to be stopped, and begun anew if killed
        write_result(fit, run, moments(sequence), writing.step)


def begin_fit(
    pictures: Pictures,
    sequence: Sequence,
    stage: Stage,
    settings: DeformSettings,
    reading: StageReporter,
    matched: InitialPoints | None = None,
) -> tuple[Fit, Start]:
    """A fit before its first step, and where it starts; `reading` is asked now and then whether to stop.

    Args:
        matched: points that matches between pictures tell; they count where none are given.
    Where enough depths were measured, points are those: what DyCheck gives beside them is the background alone, and
    grey.
    """
    device = pictures.images.device
    own = settings.suited(pictures.images[..., 0].numel())
    if sequence.num_frames == 1:
        own = own.model_copy(update={"sh_degree": own.static_sh_degree})
    opening, follow = None, own.following
    if follow.share and sequence.num_frames > 1:
        opening = find_opening(pictures, stage, follow.share, reading.check)
    if opening is not None:
        weights = {name: getattr(follow, name) for name in ("rigid_weight", "rigid_up_to", "steady_weight")}
        own = own.model_copy(update={"nodes": own.nodes.model_copy(update=weights)})
    among = None if opening is None else opening.order[: opening.count]
    measured = None if pictures.depths is None else measured_points(pictures, own.num_points)
    where, given = str(sequence.root), sequence.initial_points if measured is None else None
    most, found = own.growth.max_gaussians, matched if measured is None else measured
    start = find_start(
        pictures, given, stage, own.num_points, where, reading.check, most=most, among=among, found=found
    )
    if start.is_volume and own.opacities_held == 0:
        own = own.model_copy(update={"opacities_held": VOLUME_HELD})
    canonical = Canonical(own.growth.max_gaussians, (own.sh_degree + 1) ** 2 - 1, device)
    canonical.start(start.points, own.start_opacity, stage.radius)
    bending: Field
    center = torch.as_tensor(start.center)
    if sequence.num_frames == 1:
        bending = Still()
    elif own.field == "nodes":
        bending = NodeField(own, canonical.capacity, sequence.num_frames, center, start.radius, device)
    else:
        bending = PlaneField(own, sequence.num_frames, center, start.radius, device)
    schedule = plan(own, len(pictures), pictures.see_through, stage.radius)
    pacing = None
    if opening is not None and (growing := round(follow.until * own.steps)):
        by_time = pictures.times.argsort(stable=True).cpu().numpy()
        # To look at all pictures costs a third of what it costs to learn from as many.
        every = max(round(PACE * own.steps), round(2 * len(pictures) / schedule.pictures.shape[1]))
        pacing = Pacing(opening, growing, every, own.seed, by_time)
    each = [sequence.cameras("train", frame) for frame in range(sequence.num_frames)]
    of = whose(each, still=not cameras_move(sequence))
    poses = Poses.none(of, stage.center, stage.radius, device) if own.pose_rate else None
    tones = Tones.none(of, device) if own.tones == "each" else None
    fit = Fit(canonical, bending, pictures, schedule, own, stage.near, stage.radius, None, poses, tones, pacing)
    fit.follow(spread=True)
    return fit, start


PACE = 0.0125
"""Share of the steps after which it is looked which pictures are taken up next."""
VOLUME_HELD = 0.05
"""Share of the steps in which opacities are held where points begin in a volume, unless another is set."""


@contextmanager
def _fast_products() -> Iterator[None]:
    """Let CUDA multiply matrices in TF32: the network of a deformation needs no more digits."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
