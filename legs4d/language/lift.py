"""The lift stage: what an encoder says of the images, put onto the Gaussians that made them.

With the geometry frozen rendering is linear, so a Gaussian's feature is the mean of the pixels that it fills, weighted
by how much it fills them: f = (Wᵀ B G) / (Wᵀ B 1) (DESIGN, "Lifting"). The rows G are encoded first, so that what is
lifted are codes: the codec is affine and the weights of the mean sum to one, hence the code of a mean is the mean of
the codes, which are not re-normalised.

CONTRACTS divides by Wᵀ 1. Where B's rows sum to 1 that is the same; where a pixel says nothing, Wᵀ B 1 leaves it out
of the mean instead of pulling the mean towards zero.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.config import LiftSettings, fingerprint
from legs4d.errors import RunError
from legs4d.executor import IN_ORDER, Done, Executor
from legs4d.gaussians.store import Run
from legs4d.language.codec import LinearCodec, fit_linear_codec
from legs4d.language.features import FeatureSource
from legs4d.language.sources import open_source
from legs4d.progress import OnProgress, StageReporter, StopSignal
from legs4d.raster.lift import lift_weights
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

VERSION = 1
"""Of this stage's code: raise it when the same input gives other codes, so that old runs are lifted anew."""

STATIC_FRAMES = 8
"""Frames, spread evenly in time, from which the Gaussians that do not move take their code.

They look the same in all frames but are not said the same about: what moves hides them here and there, and an encoder
with a temporal window sees it pass. A few frames far apart average that out. All of them would add little, and a
resumed run would have to lift them all again, since only a mean that is complete is written."""


def lift(
    run: Run,
    sequence: Sequence,
    encoder: FeatureSource,
    settings: LiftSettings,
    *,
    near: float,
    progress: OnProgress | None = None,
    stop: StopSignal | None = None,
    threads: int | None = None,
    executor: Executor = IN_ORDER,
) -> None:
    """Give every Gaussian of a reconstructed run its code in every frame; goes on where a stopped one ended.

    Confidence is Wᵀ B 1: how many pixels of the training views a Gaussian fills in a frame. It is 0, and the code
    too, where no pixel that says anything sees it.

    Args:
        run: with tracking finished; the caller holds its lock.
        sequence: the footage that the run was made from, at the same size.
        encoder: the one that `settings` names.
        near: near plane, scene units, as in the reconstruction.
        stop: looked at between frames.
        threads: CPU threads, all by default; the codes do not depend on it.
        executor: who lifts the frames; the codes do not depend on it either.

    Raises:
        RunError: the reconstruction is not finished.
        DatasetError: the footage lacks what the encoder needs.
        Stopped: `stop` was set; the frames that are done are kept.
    """
    tracking = run.stages.get("tracking")
    if tracking is None or not tracking.finished:
        raise RunError(
            "is not reconstructed yet: its frames are not all there",
            where=str(run.path),
            fix="run the same `legs4d train` or `legs4d reconstruct` command again to resume",
        )
    inputs = sequence.fingerprint(language=True), tracking.fingerprint, f"{encoder.name} {encoder.version}"
    record = run.begin_stage("lift", fingerprint(settings, VERSION, *inputs))
    if record.finished:
        return
    reporter = StageReporter("lift", progress, stop)
    if record.done_frames:
        codec = LinearCodec.from_arrays(*run.codec())
        lifter = _Lifter(run, sequence, encoder, codec, near, threads)
    else:
        codec = fit_linear_codec(encoder.sample_rows(sequence))
        run.set_info(encoder=encoder.name)
        arrays, attributes = codec.to_arrays()
        run.write_codec(attributes["name"], arrays, attributes)
        lifter = _Lifter(run, sequence, encoder, codec, near, threads)
        lifter.lift_spread_frames(executor, reporter)
    left = sorted(set(range(run.num_frames)) - set(record.done_frames))
    for batch in executor.each(lifter.store_frame, left, reporter.check):
        run.frames_done("lift", {done.frame: done.seconds for done in batch})
        reporter.step(len(record.done_frames), run.num_frames)
    run.finish_stage("lift")


@dataclass(frozen=True)
class _Sums:
    """Of all N + M Gaussians, static first: Wᵀ B Z [N+M, K] over the codes Z of the rows, and Wᵀ B 1 [N+M]."""

    codes: NDArray[np.float32]
    weight: NDArray[np.float32]

    def of_moving(self, num_static: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(codes [M, K], confidence [M]) of those that move."""
        return _mean(self.codes[num_static:], self.weight[num_static:])


@dataclass(frozen=True)
class _Lifter:
    """Lifts any frame of a run whose codec is written. Another process gets it as names, and opens it anew."""

    run: Run
    sequence: Sequence
    encoder: FeatureSource
    codec: LinearCodec
    near: float
    threads: int | None

    def __reduce__(self) -> tuple[Any, ...]:
        fingerprint = self.run.stages["lift"].fingerprint
        return _reopen, (str(self.run.path.resolve()), fingerprint, self.encoder.name, self.near, self.threads)

    def lift_frame(self, frame: int) -> _Sums:
        features = self.encoder.feature_map(self.sequence, frame)
        weights, _ = lift_weights(
            self.run.frame(frame),
            self.sequence.cameras("train", frame),
            features.index,
            features.weight,
            len(features.rows),
            self.near,
            self.threads,
        )
        return _Sums(weights @ self.codec.encode(features.rows), np.asarray(weights.sum(axis=1), np.float32))

    def store_frame(self, frame: int) -> None:
        """Lift a frame, and write the codes of what moves."""
        self.run.write_codes(frame, *self.lift_frame(frame).of_moving(self.run.num_static))

    def store_frame_and_tell(self, frame: int) -> _Sums:
        """`store_frame`, and the sums of what does not move."""
        sums, still = self.lift_frame(frame), self.run.num_static
        self.run.write_codes(frame, *sums.of_moving(still))
        return _Sums(sums.codes[:still], sums.weight[:still])

    def lift_spread_frames(self, executor: Executor, reporter: StageReporter) -> None:
        """Lift STATIC_FRAMES frames, and from them the Gaussians that do not move.

        The frames count as done only when the static codes are there, so that whoever finds a frame done finds those.
        """
        run, still = self.run, self.run.num_static
        frames = np.unique(np.linspace(0, run.num_frames - 1, STATIC_FRAMES).round().astype(int)).tolist()
        codes, weight = np.zeros((still, len(self.codec.basis)), np.float32), np.zeros(still, np.float32)
        seconds: dict[int, float] = {}
        waiting: dict[int, Done[_Sums]] = {}
        reporter.step(0, run.num_frames)
        for batch in executor.each(self.store_frame_and_tell, frames, reporter.check):
            waiting |= {done.frame: done for done in batch}
            # Added in the order of time, whoever was first: sums of floats depend on it.
            while len(seconds) < len(frames) and (frame := frames[len(seconds)]) in waiting:
                done = waiting.pop(frame)
                codes, weight = codes + done.result.codes, weight + done.result.weight
                seconds[frame] = done.seconds
            if len(seconds) < len(frames):  # told to stop now, what is complete is written first
                reporter.step(len(seconds), run.num_frames)
        mean, total = _mean(codes, weight)
        run.write_static_codes(mean, total / len(frames))
        run.frames_done("lift", seconds)
        reporter.step(len(frames), run.num_frames)


def _reopen(path: str, fingerprint: str, encoder: str, near: float, threads: int | None) -> _Lifter:
    """The lifter of a run, in a process that was handed its frames.

    Raises:
        RunError: the run is not there, or is not the one that is being lifted, or was begun anew meanwhile.
    """
    record = Run.open(path).stages.get("lift")
    if record is None or record.fingerprint != fingerprint:
        raise RunError(
            "is not being lifted as this worker was told",
            where=path,
            fix="keep runs and datasets on storage that all machines see under the same path",
        )
    return _open(path, fingerprint, encoder, near, threads)


@functools.lru_cache(maxsize=1)
def _open(path: str, fingerprint: str, encoder: str, near: float, threads: int | None) -> _Lifter:
    run = Run.open(path)
    sequence = open_sequence(run.info["dataset"], run.info["scale"])
    return _Lifter(run, sequence, open_source(run, encoder), LinearCodec.from_arrays(*run.codec()), near, threads)


def _mean(codes: NDArray[np.float32], weight: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean codes [N, K], 0 where there is no weight, and the weights [N]."""
    return np.divide(codes, weight[:, None], out=np.zeros_like(codes), where=weight[:, None] > 0), weight
