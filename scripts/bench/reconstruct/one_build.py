"""One reconstruction by the legs4d that PYTHONPATH names, and what it took, as one line of JSON: the half of
`reconstruction.py` that runs in a process of its own, so that two builds can be timed in one run.

    PYTHONPATH=BUILD:scripts scripts/bench/reconstruct/one_build.py DATASET RUN [--set KEY=VALUE] [--frames N]
        [--eval FRAMES] [--sample]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch

from legs4d import pipeline
from legs4d.config import TrainSettings
from legs4d.context import Context
from legs4d.effects.pages.views_page import write_test_views
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, StageReporter, Stopped
from legs4d.reconstruct.evaluation.object_tracking import evaluate_tracking
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.readers import open_sequence
from legs4d.settings import read_settings

GIB = 2**30
FIRST_STEPS = 30
"""Of the first frame, in which kernels are loaded and graphs captured."""


class Watch:
    """Told of progress, it notes when each tracked frame is done, and stops the work after so many frames.

    Attributes:
        stages: seconds up to a stage's reports, from whatever was reported before; said on stderr as they end.
        peaks: GiB on the device up to a stage's reports, likewise: [most in use, most taken]. A stage may be reported
            in turn with others; what it never told of counts for the next that does.
        phase: what goes on, for a sampler.
    """

    def __init__(self, frames: int | None) -> None:
        self.frames, self.enough = frames, False
        self.ends: list[float] = []
        self.memory: list[float] = []
        self.begun: float | None = None
        self.stages: dict[str, float] = {}
        self.peaks: dict[str, list[float]] = {}
        self.phase = "before the first step"
        self._last, self._stage = time.perf_counter(), ""

    def _time(self, stage: str) -> None:
        now = time.perf_counter()
        if stage != self._stage and self._stage:
            print(f"{self._stage}: {self.stages[self._stage]:.2f} s by now", file=sys.stderr, flush=True)
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last, self._stage = now, stage
        if torch.cuda.is_available():
            self.look_at_memory(stage)

    def look_at_memory(self, stage: str) -> None:
        now = torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB
        self.peaks[stage] = [max(pair) for pair in zip(self.peaks.get(stage, [0.0, 0.0]), now, strict=True)]
        torch.cuda.reset_peak_memory_stats()

    def __call__(self, progress: Progress) -> None:
        self._time(progress.stage)
        if progress.stage == "first_frame":
            if self.begun is None:
                self.begun = time.perf_counter()
            self.phase = "first steps" if progress.done < FIRST_STEPS else "other steps"
            if progress.done == progress.total:  # every later frame is told, each of which waits for the device anyway
                StageReporter.INTERVAL = 0.0
        elif self.begun is not None:
            self.phase = f"after {progress.stage}"
        if progress.stage != "tracking" or progress.done <= len(self.ends):
            return
        self.ends.append(time.perf_counter())
        self.memory.append(torch.cuda.memory_reserved() / GIB if torch.cuda.is_available() else 0.0)
        self.enough = self.frames is not None and progress.done >= self.frames - 1

    def is_set(self) -> bool:
        return self.enough


def profiled(work: Any, frames: int) -> None:
    """Do the work, and print what the device did most in it, per tracked frame."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        work()
    kernels = [one for one in found.key_averages() if one.device_time_total > 0]
    total = sum(one.device_time_total for one in kernels)
    print(f"busy {total / 1e3 / frames:.1f} ms a frame, {sum(one.count for one in kernels) / frames:.0f} launches")
    for one in sorted(kernels, key=lambda one: -one.device_time_total)[:30]:
        print(f"{one.device_time_total / 1e3 / frames:9.2f} ms {one.count / frames:8.0f}  {one.key[:90]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--preset", default="full")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--frames", type=int, help="stop after so many")
    parser.add_argument("--eval", type=int, default=0, help="frames whose test pictures are compared")
    parser.add_argument("--track", type=int, help="object that is followed, in a finished run")
    parser.add_argument("--pictures", type=Path, help="folder for a page of its test views, likewise")
    parser.add_argument("--sample", action="store_true", help="tell in which lines the time went")
    parser.add_argument("--profile", action="store_true", help="of tracking; the first frame must be done")
    arguments = parser.parse_args()
    settings = TrainSettings(**read_settings(TrainSettings, arguments.set))
    settings = settings.model_copy(update={"reconstruct": settings.reconstruct.with_preset(arguments.preset)})
    watch = Watch(arguments.frames)
    context = Context(arguments.engine, progress=watch, stop=watch)

    def work() -> None:
        with suppress(Stopped):
            pipeline.reconstruct(arguments.dataset, arguments.run, settings, context)

    started = time.perf_counter()
    sampler = None
    if arguments.sample:
        from bench.reconstruct.sampling import Sampler

        sampler = Sampler("/legs4d/", lambda: watch.phase)
    with sampler or nullcontext():
        if arguments.profile:
            profiled(work, (arguments.frames or 2) - 1)
        else:
            work()
    if sampler is not None:
        print(sampler.told(40), flush=True)
    run = Run.open(arguments.run)
    found: dict[str, Any] = {
        "seconds": time.perf_counter() - started,
        "first_frame": run.stages["first_frame"].seconds,
        "points": None if watch.begun is None else watch.begun - started,
        "births": run.stages["births"].seconds if "births" in run.stages else None,
        "refinement": run.stages["refinement"].seconds if "refinement" in run.stages else None,
        "reported": watch.stages,
        "peaks": watch.peaks,
        "frames": [after - before for before, after in zip(watch.ends, watch.ends[1:], strict=False)],
        "reserved": watch.memory,
        "gaussians": run.num_gaussians,
        "moving": run.num_dynamic,
    }
    if torch.cuda.is_available():
        peaks = [
            *watch.peaks.values(),
            [torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB],
        ]
        found["allocated"], found["memory"] = (max(column) for column in zip(*peaks, strict=True))
    if arguments.eval:
        from bench.reconstruct.ablate_reconstruction import scores  # of today's, by the build's own renderer

        sequence = open_sequence(arguments.dataset, settings.dataset)
        device = choose_device(arguments.engine)
        found["psnr"] = scores(run, arguments.eval, sequence, "test", None, device, None)
        if arguments.track is not None:
            found["tracking"] = evaluate_tracking(run, sequence, arguments.track, device)
        if arguments.pictures is not None:
            write_test_views(run, sequence, arguments.pictures / "test_views.png", device)
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
