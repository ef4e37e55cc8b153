"""The lift stage: what an encoder says of the images, put onto the Gaussians that made them.

With the geometry frozen rendering is linear, so a Gaussian's feature is the mean of the pixels that it fills, weighted
by how much it fills them: f = (Wᵀ B G) / (Wᵀ B 1) (docs/conventions.md). The rows G are encoded first, so that what is
lifted are codes: a linear codec is affine and the weights of the mean sum to one, hence the code of a mean is the mean
of the codes, which are not re-normalised. Of an autoencoder that holds only nearly; the paper's training renders means
of its codes all the same. `routes` has the other ones: refinement, and the paper's training.

Where B's rows sum to 1 dividing by Wᵀ 1 would be the same; where a pixel says nothing, Wᵀ B 1 leaves it out of the
mean instead of pulling the mean towards zero.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from legs4d.config import LiftSettings
from legs4d.context import QUIET, Context
from legs4d.errors import EncoderError
from legs4d.executor import IN_ORDER, Done, Executor, Threads
from legs4d.gaussians.store.footage import cameras_taken
from legs4d.gaussians.store.handed import check_handed
from legs4d.gaussians.store.mirror import here
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import MadeFrom
from legs4d.language.codec.linear import Codec, codec_from_arrays
from legs4d.language.codec.training import make_codec
from legs4d.language.embedding.features import CropEncoder, FeatureMap, FeatureSource
from legs4d.language.embedding.grids import GridFeatures
from legs4d.language.embedding.rendered import handed_sequence
from legs4d.language.embedding.sources import open_source
from legs4d.language.lift.routes import EVERYTHING, FrameLift, Lifted, lift_device
from legs4d.progress import StageReporter
from legs4d.scene.sequence import Sequence

VERSION = 1
"""Of this stage's code: raise it when the same input gives other codes, so that old runs are told apart."""

STATIC_FRAMES = 8
"""Frames, spread evenly in time, from which the Gaussians that do not move take their code.

They look the same in all frames but are not said the same about: what moves hides them here and there, and an encoder
with a temporal window sees it pass. A few frames far apart average that out. All of them would add little, and a
resumed run would have to lift them all again, since only a mean that is complete is written."""

FRAMES_AT_ONCE = 6
"""Frames lifted at once on a GPU: while it has one, others are read and written, which takes several times as long."""


def lift(
    run: Run,
    sequence: Sequence,
    encoder: FeatureSource,
    settings: LiftSettings,
    context: Context = QUIET,
    *,
    near: float,
    threads: int | None = None,
) -> None:
    """Give every Gaussian of a reconstructed run its code in every frame; goes on where a stopped one ended.

    Confidence is Wᵀ B 1: how many pixels of the training views a Gaussian fills in a frame. It is 0, and the code
    too, where no pixel that says anything sees it.

    Args:
        run: with its geometry finished; the caller holds its lock.
        sequence: the footage that the run was made from, at the same size.
        encoder: the one that `settings` names.
        near: near plane, scene units, as in the reconstruction.
        context: its executor lifts the frames; the codes do not depend on it. Asked whether to stop between frames, and
            in each step of those routes that take many.
        threads: CPU threads, by default those of the executor; the codes do not depend on it either.

    Raises:
        RunError: the reconstruction is not finished.
        RunDiffers: the run was lifted otherwise.
        EncoderError: the autoencoder's checkpoint cannot be used, or features are of another width than the codec's.
        Legs4dError: the engine cannot run here.
        DatasetError: the footage lacks what the encoder needs.
        Stopped: `stop` was set; the frames that are done are kept.
    """
    run.require_geometry()
    device = lift_device(context.engine, settings)
    record = run.begin_stage("lift", lift_stage(run, sequence, encoder, settings, {"engine": device}))
    if record.finished:
        return
    reporter = context.reporter("lift")
    begun = bool(record.done_frames)
    codec = codec_from_arrays(*run.codec()) if begun else _new_codec(run, sequence, encoder, settings, device, context)
    executor = context.executor
    frame_lift = FrameLift(settings, near, device, threads or executor.threads, reporter.check)
    if executor is IN_ORDER and frame_lift.is_quick:
        executor = Threads(FRAMES_AT_ONCE)
    lifter = _Lifter(run, sequence, encoder, codec, frame_lift)
    if not begun:
        lifter.lift_spread_frames(executor, reporter)
    left = sorted(set(range(run.num_frames)) - set(record.done_frames))
    for batch in executor.each(lifter.store_frame, left, reporter.check):
        run.frames_done("lift", {done.frame: done.seconds for done in batch})
        reporter.step(len(record.done_frames), run.num_frames)
    run.finish_stage("lift")


def lift_stage(
    run: Run,
    sequence: Sequence,
    encoder: FeatureSource | CropEncoder,
    settings: LiftSettings,
    means: Mapping[str, str] | None = None,
) -> MadeFrom:
    """All that a run's codes are made from, as far as it is there.

    Args:
        encoder: the source of features; of one that sees, the encoder itself will do where nothing is extracted yet.
        means: as `MadeFrom` has them.

    Raises:
        EncoderError: a checkpoint that the settings name cannot be read.
    """
    inputs, version = {"footage": sequence.fingerprint()}, str(VERSION)
    if isinstance(encoder, GridFeatures):
        inputs["features"] = encoder.version
    elif not hasattr(encoder, "vision"):
        inputs["language"], version = sequence.fingerprint(language=True), f"{VERSION}.{encoder.version}"
    if run.layout is not None:
        inputs["geometry"] = run.layout.fingerprint
    inputs |= dict(zip(["lift.codec.weights"], _digests(settings), strict=False))
    return MadeFrom.of({"lift": settings.model_copy(update={"encoder": encoder.name})}, version, inputs, means)


def _new_codec(
    run: Run,
    sequence: Sequence,
    encoder: FeatureSource,
    settings: LiftSettings,
    device: str,
    context: Context,
) -> Codec:
    """Make the run's codec, and write it."""
    step = context.reporter("codec").step
    codec = make_codec(settings.codec, encoder.sample_rows(sequence), device=device, check=step)
    run.set_info(encoder=encoder.name)
    arrays, attributes = codec.to_arrays()
    run.write_codec(attributes["name"], arrays, attributes)
    return codec


def _digests(settings: LiftSettings) -> list[str]:
    """Of the files that settings name: another checkpoint under the same name is another codec."""
    path = settings.codec.weights
    if path is None:
        return []
    try:
        return [hashlib.sha256(Path(path).read_bytes()).hexdigest()]
    except OSError as error:
        raise EncoderError(
            f"cannot be read ({error.strerror})", where=path, fix="give a checkpoint of 4-LEGS"
        ) from error


@dataclass(frozen=True)
class _Lifter:
    """Lifts any frame of a run whose codec is written. Another process gets it as names, and opens it anew."""

    run: Run
    sequence: Sequence
    encoder: FeatureSource
    codec: Codec
    frame_lift: FrameLift

    def __reduce__(self) -> tuple[Any, ...]:
        fingerprint, how = self.run.stages["lift"].fingerprint, self.frame_lift
        options = how.settings, how.near, how.device, how.threads
        return _reopen, (str(self.run.path.resolve()), fingerprint, self.encoder.name, *options)

    def lift_frame(self, frame: int, of: slice = EVERYTHING, *, as_stored: bool = False) -> Lifted:
        """Codes of those Gaussians that are wanted; see `FrameLift`."""
        features = self._coded(frame)
        cameras = cameras_taken(self.run, self.sequence, frame)
        return self.frame_lift(self.run.frame(frame), cameras, features, features.rows, of, as_stored=as_stored)

    def _coded(self, frame: int) -> FeatureMap:
        """What is said of the pixels, with codes in place of rows."""
        if isinstance(self.encoder, GridFeatures):  # most of its rows are those of earlier frames, encoded then
            self._check_width(self.encoder.dim, frame)
            return self.encoder.coded_map(frame, self.codec.encode, self.codec.code_dim)
        features = self.encoder.feature_map(self.sequence, frame)
        self._check_width(features.rows.shape[1], frame)
        return replace(features, rows=self.codec.encode(features.rows))

    def _check_width(self, width: int, frame: int) -> None:
        if width != self.codec.feature_dim:
            raise EncoderError(
                f"says {width} numbers a feature, but the codec takes {self.codec.feature_dim}",
                where=f"{self.encoder.name}, frame {frame}",
                fix="extract all frames with one encoder, and lift again",
            )

    def store_frame(self, frame: int) -> None:
        """Lift a frame, and write the codes of what moves."""
        still = self.run.num_static
        lifted = self.lift_frame(frame, slice(still, None), as_stored=True)
        self.run.write_codes(frame, lifted.codes, lifted.weight)

    def store_frame_and_tell(self, frame: int) -> Lifted:
        """`store_frame`, and what is said of what does not move."""
        lifted, still = self.lift_frame(frame), self.run.num_static
        self.run.write_codes(frame, lifted.codes[still:], lifted.weight[still:])
        return Lifted(lifted.codes[:still], lifted.weight[:still])

    def lift_spread_frames(self, executor: Executor, reporter: StageReporter) -> None:
        """Lift STATIC_FRAMES frames, and from them the Gaussians that do not move.

        The frames count as done only when the static codes are there, so that whoever finds a frame done finds those.
        """
        run, still = self.run, self.run.num_static
        frames = np.unique(np.linspace(0, run.num_frames - 1, STATIC_FRAMES).round().astype(int)).tolist()
        codes, weight = np.zeros((still, self.codec.code_dim), np.float32), np.zeros(still, np.float32)
        seconds: dict[int, float] = {}
        waiting: dict[int, Done[Lifted]] = {}
        reporter.step(0, run.num_frames)
        for batch in executor.each(self.store_frame_and_tell, frames, reporter.check):
            waiting |= {done.frame: done for done in batch}
            # Added in the order of time, whoever was first: sums of floats depend on it.
            while len(seconds) < len(frames) and (frame := frames[len(seconds)]) in waiting:
                done = waiting.pop(frame)
                codes, weight = codes + done.result.codes * done.result.weight[:, None], weight + done.result.weight
                seconds[frame] = done.seconds
            if len(seconds) < len(frames):  # told to stop now, what is complete is written first
                reporter.step(len(seconds), run.num_frames)
        mean = np.divide(codes, weight[:, None], out=np.zeros_like(codes), where=weight[:, None] > 0)
        run.write_static_codes(mean, weight / len(frames))
        run.frames_done("lift", seconds)
        reporter.step(len(frames), run.num_frames)


def _reopen(path: str, fingerprint: str, encoder: str, *options: Any) -> _Lifter:
    """The lifter of a run, in a process that was handed its frames.

    Args:
        options: of `FrameLift`.

    Raises:
        RunError: the run is not there, or is not the one that is being lifted, or was begun anew meanwhile.
    """
    path = str(here(path))
    check_handed(path, "lift", fingerprint, "lifted")
    return _open(path, fingerprint, encoder, *options)


@functools.lru_cache(maxsize=1)
def _open(path: str, fingerprint: str, encoder: str, *options: Any) -> _Lifter:
    run = Run.open(path)
    source, codec = open_source(run, encoder), codec_from_arrays(*run.codec())
    return _Lifter(run, handed_sequence(run), source, codec, FrameLift(*options))
