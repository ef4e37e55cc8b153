"""Lifting on a Ray of this machine: frames a second on two workers of one thread each, against one such worker.

    python scripts/bench/language/cluster.py RUN [--repeat 4] [--rounds 3]

RUN is a lifted run with captions whose footage is at hand (out/demo/run after `make demo`). Its clip is repeated, by
names and links, so that there is enough to do. What is timed begins when every worker has opened the run; the seconds
before that are told too, as they are the same for ten frames and for ten thousand.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d import pipeline
from legs4d.cluster import executor_on
from legs4d.config import LiftSettings
from legs4d.context import Context
from legs4d.executor import Executor
from legs4d.gaussians.store.run import Run
from legs4d.language.lift.stage import STATIC_FRAMES


def repeat_footage(source: Path, out: Path, times: int) -> None:
    """The same pictures `times` over, in a dataset whose files are links."""
    out.mkdir()
    for folder in ("ims", "seg", "objects"):
        (out / folder).symlink_to(source.resolve() / folder)
    for split in ("train", "test"):
        meta = json.loads((source / f"{split}_meta.json").read_text())
        meta |= {name: meta[name] * times for name in ("k", "w2c", "fn", "cam_id")}
        (out / f"{split}_meta.json").write_text(json.dumps(meta))
    length = len(meta["fn"]) // times
    said = json.loads((source / "captions.json").read_text())["objects"]
    shifted = {
        thing: [
            {**caption, "start": caption["start"] + turn * length, "end": caption["end"] + turn * length}
            for turn in range(times)
            for caption in captions
        ]
        for thing, captions in said.items()
    }
    (out / "captions.json").write_text(json.dumps({"objects": shifted}))


def repeat_run(source: Run, out: Path, dataset: Path, times: int) -> Run:
    """The same geometry `times` over, reconstructed as it were, without language."""
    run = Run.create(out)
    info = {**source.info, "dataset": str(dataset), "frame_numbers": source.info["frame_numbers"] * times}
    run.set_info(**info)
    frames = source.num_frames * times
    with run.lock():
        run.begin_stage("first_frame", "repeated")
        run.write_geometry(source.static(), source.dynamic(0), frames)
        run.write_cameras(source.cameras("train"), None, *source.gain())
        run.finish_stage("first_frame")
        run.begin_stage("tracking", "repeated")
        for frame in range(1, frames):
            moving = source.dynamic(frame % source.num_frames)
            run.write_frame(frame, moving.means, moving.quats, moving.colors)
        run.frames_done("tracking", dict.fromkeys(range(1, frames), 0.0))
        run.finish_stage("tracking")
    return run


class Rate(NamedTuple):
    """Once all workers are at it.

    Attributes:
        frames: a second, by the clock.
        opening: seconds until then.
        at_work: workers that were in a frame, on average: their number, less what they wait for the driver.
        cpu: seconds of the processor for a frame.

    The last two say what the cluster costs even where other programs take the cores away.
    """

    frames: float
    opening: float
    at_work: float
    cpu: float

    def __str__(self) -> str:
        told = f"{self.frames:.2f} frames/s (after {self.opening:.1f} s)"
        return f"{told}, {self.at_work:.2f} at work, {1000 * self.cpu:.0f} ms of CPU a frame"


def clocked(work: Callable[[int], Any], frame: int) -> tuple[Any, float]:
    """What the work returns, and the processor's seconds that it took."""
    before = time.process_time()
    result = work(frame)
    return result, time.process_time() - before


class Timed:
    """An executor that notes when batches come back."""

    def __init__(self, inner: Executor) -> None:
        self.inner, self.threads = inner, inner.threads
        self.began = time.perf_counter()
        self.finished: list[tuple[float, list[tuple[float, float]]]] = []

    def each(self, work: Any, frames: Any, check: Any) -> Any:
        for batch in self.inner.each(partial(clocked, work), frames, check):
            self.finished.append((time.perf_counter(), [(done.seconds, done.result[1]) for done in batch]))
            yield [replace(done, result=done.result[0]) for done in batch]

    def rate(self, spread: int) -> Rate:
        """Of the frames after the first `spread`."""
        done, start = 0, 0
        while done < spread:  # the frames from which the static Gaussians take their codes come first, with a barrier
            done += len(self.finished[start][1])
            start += 1
        opened, last = self.finished[start - 1][0], self.finished[-1][0]
        seconds, cpu = np.array([both for _, batch in self.finished[start:] for both in batch]).T
        return Rate(len(cpu) / (last - opened), opened - self.began, seconds.sum() / (last - opened), cpu.mean())


def measure(run: Run, workers: int) -> Rate:
    """Lift the run anew on so many workers."""
    import ray

    state = json.loads((run.path / "run.json").read_text())
    state["stages"].pop("lift", None)
    (run.path / "run.json").write_text(json.dumps(state))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=workers, object_store_memory=200 << 20, include_dashboard=False, log_to_driver=False)
    try:
        with executor_on("auto", "cpu") as executor:
            timed = Timed(executor)
            pipeline.lift(run.path, LiftSettings(encoder="captions"), Context(executor=timed))
    finally:
        ray.shutdown()
    return timed.rate(STATIC_FRAMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeat", type=int, default=4, help="times that the clip is repeated")
    parser.add_argument("--rounds", type=int, default=3, help="one worker and two, in turn")
    options = figures.parse(parser)
    source = Run.open(options.run)
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        repeat_footage(Path(source.info["dataset"]), dataset, options.repeat)
        run = repeat_run(source, Path(folder) / "run", dataset, options.repeat)
        print(f"{run.num_frames} frames, {run.num_gaussians} Gaussians, load {os.getloadavg()[0]:.1f}")
        ratios, shares = [], []
        for _ in range(options.rounds):
            one, two = measure(run, 1), measure(run, 2)
            ratios.append(two.frames / (2 * one.frames))
            shares.append(two.at_work / 2 * one.cpu / two.cpu)
            print(f"one worker: {one}")
            print(f"two: {two}")
            print(f"efficiency {ratios[-1]:.2f}, load {os.getloadavg()[0]:.1f}")
    print(f"efficiency of two workers, median: {statistics.median(ratios):.2f} (aim: 0.85)")
    print(f"the same by the processor's seconds and the waiting, median: {statistics.median(shares):.2f}")
    what, subject = "lifting, efficiency of 2 workers against 1", "More than one machine, and the browser"
    figures.record(subject, f"{what}, by the clock, median of {len(ratios)}", statistics.median(ratios), aim="0.85")
    figures.record(subject, f"{what}, by CPU seconds and waiting", statistics.median(shares), aim="0.85")


if __name__ == "__main__":
    main()
