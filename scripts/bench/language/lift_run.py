"""Time `legs4d lift` as it is used: a run of 300,000 Gaussians, a real capture's cameras, stored grids of 768 numbers.

scripts/bench/language/lift_run.py --dataset ../shared/data/basketball [--engine cuda]

What the crops say is random; how many are embedded anew at each timestep is as measured (count_crops.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.language.lift import CODE_DIM, FEATURE_DIM, NEAR, room
from legs4d.config import CodecSettings, LiftSettings
from legs4d.context import Context
from legs4d.executor import timed
from legs4d.gaussians.store.run import Run
from legs4d.language.codec.linear import LinearCodec
from legs4d.language.embedding.grids import Grid, GridFeatures, GridsDescription, GridStore
from legs4d.language.embedding.pyramid import pyramid
from legs4d.language.lift import stage
from legs4d.language.lift.routes import FrameLift
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

ENCODER = "bench"


def make_run(folder: Path, count: int, frames: int) -> Run:
    """A reconstructed run; the crowd moves, floor and dome do not."""
    run, everything = Run.create(folder), room(count)
    moves = everything.is_foreground
    run.begin_stage("tracking", "a")
    crowd = everything.take(moves)
    run.write_geometry(everything.take(~moves), crowd, frames)
    for frame in range(1, frames):
        run.write_frame(frame, crowd.means + np.float32(0.01 * frame), crowd.quats, crowd.colors)
    run.finish_stage("tracking")
    return run


def make_grids(run: Run, sequence: Sequence, frames: int, share: float, block: int) -> None:
    """Random unit rows: all crops at the first timestep of a block, `share` of them at the others."""
    cameras = sequence.cameras("train", 0)
    crops = pyramid(cameras.height, cameras.width).num_crops
    timesteps = tuple(range(frames))
    store = GridStore.begin(
        run.path,
        GridsDescription("", "", ENCODER, FEATURE_DIM, len(cameras), cameras.height, cameras.width, timesteps),
    )
    random = np.random.default_rng(0)
    source, slot = np.zeros((2, len(cameras), crops), np.int32)
    for timestep in timesteps:
        new = random.random(source.shape) < (share if timestep % block else 1)
        source[new], slot[new] = timestep, np.arange(new.sum())
        rows = random.standard_normal((new.sum(), FEATURE_DIM), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        store.write(timestep, Grid(rows.astype(np.float16), source.copy(), slot.copy(), np.ones_like(new)))


@contextmanager
def stopwatch(*methods: tuple[type, str]) -> Iterator[dict[str, float]]:
    """Seconds spent in these methods meanwhile, all threads together."""
    seconds: dict[str, float] = defaultdict(float)
    lock, plain = threading.Lock(), [getattr(owner, name) for owner, name in methods]

    def watched(body: Callable[..., Any], label: str) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            done = timed(lambda _: body(*given, **named), 0)
            with lock:
                seconds[label] += done.seconds
            return done.result

        return call

    for (owner, name), body in zip(methods, plain, strict=True):
        setattr(owner, name, watched(body, f"{owner.__name__}.{name}"))
    try:
        yield seconds
    finally:
        for (owner, name), body in zip(methods, plain, strict=True):
            setattr(owner, name, body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.231, help="of the crops embedded anew at a timestep")
    parser.add_argument("--block", type=int, default=32)
    parser.add_argument("--engine", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--at-once", type=int, default=stage.FRAMES_AT_ONCE, help="frames, on a GPU")
    options = figures.parse(parser)
    sequence = open_sequence(options.dataset, options.scale)
    stage.FRAMES_AT_ONCE = options.at_once
    settings = LiftSettings(encoder=ENCODER, codec=CodecSettings(dim=CODE_DIM))
    with tempfile.TemporaryDirectory(prefix="bench_lift_run_") as folder:
        run = make_run(Path(folder) / "run", options.gaussians, options.frames)
        make_grids(run, sequence, options.frames, options.share, options.block)
        os.sync()  # what making it left to be written is not the lift's
        _report(run, sequence, settings, options)


def _report(run: Run, sequence: Sequence, settings: LiftSettings, options: argparse.Namespace) -> None:
    watched = (
        (GridFeatures, "coded_map"),
        (GridFeatures, "sample_rows"),
        (LinearCodec, "encode"),
        (Run, "frame"),
        (FrameLift, "__call__"),
        (Run, "write_codes"),
        (Run, "write_static_codes"),
        (Run, "frames_done"),
    )
    with stopwatch(*watched) as seconds:
        started = time.perf_counter()
        source = GridFeatures(run.path, ENCODER)
        stage.lift(run, sequence, source, settings, Context(options.engine), near=NEAR)
        whole = time.perf_counter() - started
    frames = run.num_frames
    spread = min(frames, stage.STATIC_FRAMES)
    print(f"{options.engine}, {frames} frames of {run.num_static:,} + {run.num_dynamic:,} Gaussians, {CODE_DIM}-d")
    print(f"whole lift, codec and start-up included: {whole:.2f} s, {1e3 * whole / frames:.1f} ms a frame")
    for name, taken in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"  {name:<28}{1e3 * taken / frames:9.1f} ms a frame")
    steady = 1e3 * _steady(run, frames - spread)
    print(f"frames after the first {spread}: {steady:.1f} ms each by the clock")
    what = f"the stage as it runs, {frames} frames, {options.at_once} at once: a frame after the first {spread}; in all"
    figures.record("Lift", what, f"{steady:.1f} ms; {whole:.1f} s", aim="10 ms")


def _steady(run: Run, frames: int) -> float:
    """Seconds a frame, of those after the static codes, by when their files were written."""
    times = sorted(
        path.stat().st_mtime for path in (run.path / "run.zarr" / "dynamic" / "codes").iterdir() if "c." in path.name
    )
    return (times[-1] - times[-frames]) / (frames - 1)


if __name__ == "__main__":
    main()
