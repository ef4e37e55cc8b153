"""The stages of reconstruction, from a sequence to a run folder, resumable frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch

from legs4d.config import DatasetSettings, FirstFrameSettings, ReconstructSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError, Legs4dError
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom, StageRecord
from legs4d.reconstruct.births.clip import Clip
from legs4d.reconstruct.births.stage import find_births
from legs4d.reconstruct.captured.memory import let_go
from legs4d.reconstruct.first_frame import fit_first_frame, loading
from legs4d.reconstruct.initialise import AGREEMENT, MOTION_AGREEMENT, initial_points
from legs4d.reconstruct.objects.motion import TrackedObjects
from legs4d.reconstruct.objects.place import masks_digest
from legs4d.reconstruct.observation import Backdrop, CameraColors, Observation
from legs4d.reconstruct.reading import find_backdrop, observations, observe
from legs4d.reconstruct.refine import TrackedFrame, refine
from legs4d.reconstruct.tracker import Tracker
from legs4d.reconstruct.tracking import Motion, find_structure
from legs4d.scene.foreground import VERSION as MASKS_VERSION
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.sequence import InitialPoints, Sequence, cameras_move
from legs4d.scene.stage import Stage, bring_near, find_stage
from legs4d.scene.track import filmed

FIRST_FRAME_VERSION = 7
TRACKING_VERSION = 5
BIRTHS_VERSION = 9
REFINEMENT_VERSION = 2
"""Of the stages' code: raise one when the same input gives another result, so that old runs are told apart. Births were
a part of tracking up to version 5."""

FLOOR_QUANTILE = 0.995
"""The floor lies where all but this share of the moving Gaussians are above it; single ones may stray."""


def choose_device(engine: str) -> torch.device:
    """The device of an engine: "cpu", "cuda", or "auto" for CUDA where gsplat can run.

    Raises:
        Legs4dError: "cuda" was asked for where there is none.
    """
    from importlib.util import find_spec

    if engine == "cpu":
        return torch.device("cpu")
    has_device, has_gsplat = torch.cuda.is_available(), find_spec("gsplat") is not None
    if has_device and has_gsplat:
        return torch.device("cuda")
    if engine == "cuda":
        missing = "gsplat is not installed" if has_device else "PyTorch finds no CUDA device"
        raise Legs4dError(missing, where="--engine cuda", fix="use --engine cpu, or install what is missing")
    return torch.device("cpu")


def find_scene_stage(sequence: Sequence) -> Stage:
    """The space that a sequence films, from its cameras and, where it ships them, its points."""
    cameras, points = sequence.cameras("train", 0), sequence.initial_points
    stage = find_stage(cameras)
    return stage if points is None else bring_near(stage, cameras, points.positions)


@contextmanager
def torch_threads(device: torch.device) -> Iterator[None]:
    """Let torch's own operations use one thread where the CPU does the work.

    Beside `csrc`, which has threads of its own, torch is left small tensors: its threads then wait for each other more
    than they work (five times the time, measured on two busy cores), and sums would depend on how many there are.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if device.type == "cpu" else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reconstruction_stages(
    sequence: Sequence,
    dataset: DatasetSettings,
    settings: ReconstructSettings,
    means: Mapping[str, str] | None = None,
) -> dict[str, MadeFrom]:
    """What each stage of a reconstruction is made from; without "refinement" where that is left out.

    Args:
        means: as `MadeFrom` has them.
    """
    version = f"{FIRST_FRAME_VERSION} with masks {MASKS_VERSION}" if isinstance(sequence, MotionMasks) else None
    stages = {
        "first_frame": MadeFrom.of(
            {"dataset": dataset, "reconstruct.first_frame": settings.first_frame},
            version or FIRST_FRAME_VERSION,
            {"footage": sequence.fingerprint()},
            means,
        )
    }
    chunks = settings.chunks
    tracking = MadeFrom.of({"reconstruct.tracking": settings.tracking, "reconstruct.chunks": chunks}, TRACKING_VERSION)
    if not chunks.length:  # how tracking would be cut says nothing of one that is not
        whole = {key: value for key, value in tracking.settings.items() if not key.startswith("reconstruct.chunks")}
        tracking = replace(tracking, settings={**whole, "reconstruct.chunks.length": 0})
    told = settings.tracking.objects and sequence.objects("train", 0, []) is not None
    inputs = {"objects": masks_digest(sequence)} if told else {}
    stages["tracking"] = replace(tracking, means=dict(means or {}), inputs=inputs)
    stages["births"] = MadeFrom.of({"reconstruct.births": settings.births}, BIRTHS_VERSION, means=means)
    if settings.refinement.steps > 0 and sequence.num_frames > 1:
        refinement = {"reconstruct.refinement": settings.refinement}
        stages["refinement"] = MadeFrom.of(refinement, REFINEMENT_VERSION, means=means)
    return stages


def tracked_objects(run: Run, sequence: Sequence) -> TrackedObjects | None:
    """What object masks tell apart of what moves in a run whose tracking has begun; None where it was begun without."""
    made_from = run.stages["tracking"].made_from
    told = made_from is not None and "objects" in made_from.inputs
    return TrackedObjects.of(run, sequence) if told else None


@dataclass(frozen=True)
class Reconstruction:
    """One run's reconstruction: what is to be made from what, and where."""

    run: Run
    sequence: Sequence
    settings: ReconstructSettings
    device: torch.device
    context: Context = QUIET
    dataset: DatasetSettings = field(default_factory=DatasetSettings)
    means: Mapping[str, str] = field(default_factory=dict)
    """What the run keeps of how it was made, beside the engine; see `MadeFrom`."""
    matched: InitialPoints | None = None
    """Points that matches between cameras gave (`calibration.start_points`), for footage that comes with none."""

    @cached_property
    def suited(self) -> ReconstructSettings:
        """The settings for as many pixels as the footage has."""
        cameras = self.sequence.cameras("train", 0)
        return self.settings.suited(len(cameras) * cameras.width * cameras.height)

    def finish(self) -> None:
        """Do what is not done yet. The caller holds the run's lock.

        Raises:
            RunDiffers: the run was begun otherwise.
            DatasetError: the footage does not determine a scene.
            Stopped: the stop signal is set; finished frames are kept.
        """
        with torch_threads(self.device):
            self._finish()

    def _finish(self) -> None:
        stage = find_scene_stage(self.sequence)
        means = {"engine": self.device.type, **self.means}
        wanted = reconstruction_stages(self.sequence, self.dataset, self.settings, means)
        if not self.run.begin_stage("first_frame", wanted["first_frame"]).finished:
            with self.run.timed("first_frame"):
                self._first_frame(stage)
            let_go(self.device)
        last = self.run.stages.get("refinement")
        if last is None or not last.finished:
            self.run.restore()  # tracking, and refining, begin from what the first frame left
        record = self._begin_after("first_frame", "tracking", wanted["tracking"])
        if not record.finished:
            self._tracking(stage, set(record.done_frames), tracked_objects(self.run, self.sequence))
            let_go(self.device)
        if not self._begin_after("tracking", "births", wanted["births"]).finished:
            with self.run.timed("births"):
                self.find_births(stage)
            let_go(self.device)
        if "refinement" not in wanted:
            return
        if not self._begin_after("births", "refinement", wanted["refinement"]).finished:
            with self.run.timed("refinement"):
                self._refinement(stage)

    def _begin_after(self, before: str, name: str, made_from: MadeFrom) -> StageRecord:
        inputs = made_from.inputs | {before: self.run.stages[before].fingerprint}
        return self.run.begin_stage(name, replace(made_from, inputs=inputs))

    def _first_frame(self, stage: Stage) -> None:
        settings = self.suited.first_frame
        with loading(self.sequence.cameras("train", 0), stage, settings, self.device):
            observed, points, backdrop = self._start(stage, settings)
        reporter = self.context.reporter("first_frame")
        fitted, colors = fit_first_frame(observed, points, stage, settings, reporter, backdrop)
        gaussians = fitted.numpy()
        moving = gaussians.take(gaussians.is_foreground)
        if len(moving) < 2:
            raise DatasetError(
                "nothing of the foreground was left after fitting the first frame",
                where=str(self.sequence.root),
                fix="check seg/ of the first frame",
            )
        self.run.set_info(
            near=stage.near,
            center=[float(x) for x in stage.center],
            radius=stage.radius,
            down=[float(x) for x in stage.down],
            floor=float(np.quantile(moving.means @ stage.down, FLOOR_QUANTILE)),
            vignette=None if colors.vignette is None else [float(x) for x in colors.vignette],
        )
        train, test = filmed(self.sequence, "train"), filmed(self.sequence, "test")
        assert train is not None  # their pictures were fitted
        self.run.write_cameras(train, test, colors.gain.cpu().numpy(), colors.offset.cpu().numpy())
        still = gaussians.take(~gaussians.is_foreground)
        self.run.write_geometry(still, moving, self.sequence.num_frames)
        self.run.finish_stage("first_frame")

    def _start(self, stage: Stage, settings: FirstFrameSettings) -> tuple[Observation, InitialPoints, Backdrop | None]:
        """What the first frame shows, where its Gaussians begin, and what is seen of the background alone."""
        reading = self.context.reporter("reading_pictures")
        observed = observe(self.sequence, 0, self.device, reading.step)
        backdrop = find_backdrop(self.sequence, settings.background_frames, observed, reading.check)
        points = self.sequence.initial_points
        if points is None and self.matched is not None:
            nobody = np.zeros(len(self.matched.positions), np.bool_)  # the masks, all together, say what is foreground
            points = replace(self.matched, is_foreground=nobody)
        if points is None or not points.is_foreground.any():
            points = initial_points(
                observed,
                stage,
                settings.num_foreground,
                settings.num_background,
                known=points,
                agreement=MOTION_AGREEMENT if isinstance(self.sequence, MotionMasks) else AGREEMENT,
                backdrop=backdrop,
                check=reading.check,
            )
        return observed, points, backdrop

    def _tracking(self, stage: Stage, done: set[int], objects: TrackedObjects | None) -> None:
        run, device, settings = self.run, self.device, self.settings.tracking
        static, colors = run.static().torch(device), CameraColors.of(run, device)
        structure = find_structure(self._moving(0).means, settings, objects)
        tracker = Tracker(colors, structure, stage, run.info["floor"], settings)
        reporter = self.context.reporter("tracking")
        total = run.num_frames - 1
        left = [frame for frame in range(1, run.num_frames) if frame not in done]
        started = time.perf_counter()
        for frame, observed in observations(self.sequence, left, device, labels=objects is not None):
            # Always from what is stored, so that a resumed run takes the same steps as one never stopped.
            before = self._moving(max(frame - 2, 0))
            motion = Motion(self._moving(frame - 1), (before.means, before.quats))
            tracked, loss = tracker.track(motion, static, observed, frame, reporter.check)
            moving = tracked.numpy()
            run.write_frame(frame, moving.means, moving.quats, moving.colors)
            now = time.perf_counter()
            run.frame_done("tracking", frame, now - started)
            started = now
            reporter.step(frame, total, loss)
        run.finish_stage("tracking")

    def find_births(self, stage: Stage) -> None:
        """Give the run, all of whose frames are tracked, what the clip reveals."""
        run, settings = self.run, self.suited.births
        run.info.pop("births", None)  # of earlier ones
        if not settings.frames or run.num_frames < 2 or run.format == 1:  # whose makers knew nothing of it
            run.finish_stage("births")
            return
        objects = tracked_objects(run, self.sequence)

        def seen(frame: int) -> Observation:
            return observe(self.sequence, frame, torch.device("cpu"), labels=objects is not None)

        clip = Clip(
            run.static(),
            run.dynamic,
            run.num_frames,
            np.full(run.num_dynamic, -1) if objects is None else objects.rows,
            np.zeros(0, np.int64) if objects is None else objects.ids,
            seen,
            CameraColors.of(run, self.device),
            stage,
            floor=run.info["floor"],
            still=not cameras_move(self.sequence),
            tracking=self.settings.tracking,
        )
        find_births(run, clip, settings, self.context)

    def _refinement(self, stage: Stage) -> None:
        run, settings = self.run, self.suited.refinement
        spread_out = np.unique(np.linspace(0, run.num_frames - 1, settings.frames).round().astype(int))
        seen = observations(self.sequence, [int(frame) for frame in spread_out], self.device)
        frames = [TrackedFrame.of(observed, self._moving(frame)) for frame, observed in seen]
        colors = CameraColors.of(run, self.device)
        reporter = self.context.reporter("refinement")
        alive = torch.as_tensor(run.dynamic_opacities, device=self.device)
        found = refine(run.static().torch(self.device), alive, frames, colors, stage, settings, reporter)
        run.amend(found.static.numpy(), found.scales.cpu().numpy(), found.opacities.cpu().numpy())
        run.finish_stage("refinement")

    def _moving(self, frame: int) -> Gaussians:
        return self.run.dynamic(frame).torch(self.device)
