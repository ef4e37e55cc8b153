"""Tracking in chunks of the timeline that several workers follow at once.

Tracking goes from frame to frame, so a chunk in the middle needs to know where every Gaussian is when it begins. A
scout finds out: the same tracking, over all frames and one after the other, in fewer steps of fewer cameras. (Not on
smaller pictures: Gaussians that were fitted at one size do not look right at half of it, and wander off.) Every chunk
begins a few frames early from where the scout left the Gaussians, so that what the scout got wrong has settled when the
chunk's own frames come, and tracks at full quality from there. All of it moves the Gaussians of the first frame, so an
id means the same on both sides of a border. Where on its surface a Gaussian has got to differs a little between the
two, so the chunk before goes over to the next one's answer during the frames that both track.

The chunks advance side by side: a wave is one frame of each. So work is handed out frame by frame, like that of other
stages, and a frame depends on nothing but frames that are stored, whoever tracks it, and whenever.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from legs4d.config import ReconstructSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.handed import check_handed, handed_footage
from legs4d.gaussians.store.mirror import here
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress
from legs4d.reconstruct.objects.motion import TrackedObjects
from legs4d.reconstruct.observation import CameraColors
from legs4d.reconstruct.reading import observe
from legs4d.reconstruct.stages import Reconstruction, find_scene_stage, torch_threads, tracked_objects
from legs4d.reconstruct.tracker import Tracker
from legs4d.reconstruct.tracking import Motion, find_structure
from legs4d.scene.sequence import Sequence
from legs4d.scene.stage import Stage

SCOUT = "scout"
"""Folder in the run, itself a run: where the scout left the Gaussians. Deleted when tracking is finished."""


@dataclass(frozen=True)
class ChunkedReconstruction(Reconstruction):
    """A `Reconstruction` whose tracking is cut as `settings.chunks` says."""

    def _tracking(self, stage: Stage, done: set[int], objects: TrackedObjects | None) -> None:
        run = self.run
        scout = self._scout(stage, objects)
        tracker = ChunkTracker.of(run, scout, self.sequence, self.settings, self.device, stage)
        reporter = self.context.reporter("tracking")
        starts, total = tracker.starts, run.num_frames - 1
        unsettled = [start for start in starts[1:] if start not in done]
        for early in range(self.settings.chunks.overlap, 0, -1):
            for _ in self.context.executor.each(tracker.settle, [start - early for start in unsettled], reporter.check):
                reporter.step(len(done), total)
        for offset in range(self.settings.chunks.length):
            wave = [start + offset for start in starts]
            left = [frame for frame in wave if 0 < frame < run.num_frames and frame not in done]
            for batch in self.context.executor.each(tracker.track, left, reporter.check):
                run.frames_done("tracking", {one.frame: one.seconds for one in batch})
                done |= {one.frame for one in batch}
                reporter.step(len(done), total, batch[-1].result)
        run.finish_stage("tracking")
        shutil.rmtree(scout.path)

    def _scout(self, stage: Stage, objects: TrackedObjects | None) -> Run:
        """The scout's run, with all frames it has to find."""
        path, chunks = self.run.path / SCOUT, self.settings.chunks
        fingerprint = self.run.stages["tracking"].fingerprint
        scout = _open_scout(path, fingerprint)
        with scout.lock():
            if not scout.begin_stage("first_frame", fingerprint).finished:
                self._copy_first_frame(scout)
            record = scout.begin_stage("tracking", fingerprint)
            if not record.finished:
                scouting = Reconstruction(
                    scout,
                    self.sequence,
                    ReconstructSettings(tracking=chunks.scout),
                    self.device,
                    replace(self.context, progress=self._progress_of_scout),
                )
                scouting._tracking(stage, set(record.done_frames), objects)
        return scout

    def _copy_first_frame(self, scout: Run) -> None:
        run = self.run
        scout.set_info(floor=run.info["floor"], vignette=run.info.get("vignette"))
        scout.write_cameras(run.cameras("train"), None, *run.gain())
        scout.write_geometry(run.static(), run.dynamic(0), run.num_frames)
        scout.finish_stage("first_frame")

    def _progress_of_scout(self, progress: Progress) -> None:
        if self.context.progress is not None:
            self.context.progress(replace(progress, stage="scouting"))


def _open_scout(path: Path, fingerprint: str) -> Run:
    """The scout's run, begun anew where it was for another tracking."""
    if (path / "run.json").exists():
        scout = Run.open(path)
        if all(record.fingerprint == fingerprint for record in scout.stages.values()):
            return scout
        shutil.rmtree(path)
    return Run.create(path)


def chunk_starts(num_frames: int, length: int) -> list[int]:
    """First frames of the chunks; the last is shorter where they do not come out even."""
    return list(range(0, num_frames, length))


def blend(first: Gaussians, second: Gaussians, share: float) -> Gaussians:
    """The same numpy Gaussians between two of their states: `share` 0 is the first, 1 the second."""
    # q and -q are the same turn.
    near = np.where((first.quats * second.quats).sum(axis=1, keepdims=True) < 0, -second.quats, second.quats)
    quats = first.quats + np.float32(share) * (near - first.quats)
    return first.replace(
        means=first.means + np.float32(share) * (second.means - first.means),
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        colors=first.colors + np.float32(share) * (second.colors - first.colors),
    )


@dataclass(frozen=True)
class ChunkTracker:
    """Tracks any frame whose predecessors are stored. Another process gets it as names, and opens it anew."""

    run: Run
    scout: Run
    sequence: Sequence
    settings: ReconstructSettings
    device: torch.device
    static: Gaussians
    tracker: Tracker
    starts: list[int]

    @classmethod
    def of(
        cls,
        run: Run,
        scout: Run,
        sequence: Sequence,
        settings: ReconstructSettings,
        device: torch.device,
        stage: Stage,
    ) -> ChunkTracker:
        """The tracker of a run whose first frame is done, and whose scout is back."""
        objects = tracked_objects(run, sequence)
        structure = find_structure(run.dynamic(0).torch(device).means, settings.tracking, objects)
        tracker = Tracker(CameraColors.of(run, device), structure, stage, run.info["floor"], settings.tracking)
        starts = chunk_starts(run.num_frames, settings.chunks.length)
        return cls(run, scout, sequence, settings, device, run.static().torch(device), tracker, starts)

    def __reduce__(self) -> tuple[Any, ...]:
        fingerprint = self.run.stages["tracking"].fingerprint
        return _reopen, (str(self.run.path.resolve()), fingerprint, self.settings.model_dump_json(), self.device.type)

    def settle(self, frame: int) -> None:
        """Track a frame before its chunk begins, on the scout's timeline, where it replaces what the scout found."""
        tracked, _ = self._track(frame, self.scout.dynamic(frame - 1), self.scout.dynamic(max(frame - 2, 0)))
        self.scout.write_frame(frame, tracked.means, tracked.quats, tracked.colors)

    def track(self, frame: int) -> float:
        """Track a frame of a chunk, and store it; returns the last loss."""
        start = max(start for start in self.starts if start <= frame)

        def stored(wanted: int) -> Gaussians:
            return (self.run if wanted >= start else self.scout).dynamic(max(wanted, 0))

        tracked, loss = self._track(frame, stored(frame - 1), stored(max(frame - 2, 0)))
        if share := self._share_of_next(frame):
            tracked = blend(tracked, self.scout.dynamic(frame), share)
        self.run.write_frame(frame, tracked.means, tracked.quats, tracked.colors)
        return loss

    def _share_of_next(self, frame: int) -> float:
        """0..1, how far this frame goes over to what the next chunk found when it tracked it before it began."""
        overlap = self.settings.chunks.overlap
        into = next((frame - (start - overlap) + 1 for start in self.starts if start - overlap <= frame < start), 0)
        return into / (overlap + 1)

    def _track(self, frame: int, last: Gaussians, before: Gaussians) -> tuple[Gaussians, float]:
        device = self.device
        with torch_threads(device):
            previous = before.torch(device)
            told = self.tracker.structure.objects is not None
            motion = Motion(last.torch(device), (previous.means, previous.quats))
            observed = observe(self.sequence, frame, device, labels=told)
            tracked, loss = self.tracker.track(motion, self.static, observed, frame)
        return tracked.numpy(), loss


def _reopen(path: str, fingerprint: str, settings: str, device: str) -> ChunkTracker:
    """The tracker of a run, in a process that was handed its frames.

    Raises:
        RunError: the run is not there, or is not the one that is being tracked, or was begun anew meanwhile.
    """
    path = str(here(path))
    check_handed(path, "tracking", fingerprint, "tracked")
    return _open(path, fingerprint, settings, device)


@functools.lru_cache(maxsize=1)
def _open(path: str, fingerprint: str, settings: str, device: str) -> ChunkTracker:
    run = Run.open(path)
    sequence = handed_footage(run)
    return ChunkTracker.of(
        run,
        Run.open(run.path / SCOUT),
        sequence,
        ReconstructSettings.model_validate_json(settings),
        torch.device(device),
        find_scene_stage(sequence),
    )
