"""Lift a reconstructed run by several codecs and routes, and judge each by true masks: accuracy, energy, bytes, time.

    scripts/bench/language/compare_lifts.py RUN --grounding ../shared/data/grounding/basketball
    scripts/bench/language/compare_lifts.py RUN --grounding DIR --trained-steps 2000 --engine cuda  (the paper's too)

RUN is not touched: its geometry is linked into other folders, temporary ones unless --keep names where they go (then
scripts/bench/language/show_lifts.py shows them side by side).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d import pipeline
from legs4d.config import CodecSettings, LiftSettings, TrainedLiftSettings
from legs4d.context import Context
from legs4d.executor import IN_ORDER, Done, Executor, timed
from legs4d.gaussians.store.run import Run
from legs4d.grounding.benchmark import evaluate
from legs4d.language.codec.linear import LinearCodec, codec_from_arrays

Result = TypeVar("Result")

ROUTES_HEAD = f"{'route':<44}{'dim':>5}{'energy %':>10}{'tIoU':>7}{'vIoU':>7}{'MB':>8}{'s/frame':>9}{'s in all':>10}"


class Processes:
    """An `executor.Executor` of processes: one alone leaves a GPU idle between the small steps of a training."""

    threads: int | None = 1

    def __init__(self, count: int) -> None:
        self._pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"))

    def each(
        self, work: Callable[[int], Result], frames: Iterable[int], check: Callable[[], None]
    ) -> Iterator[list[Done[Result]]]:
        for done in as_completed([self._pool.submit(timed, work, frame) for frame in frames]):
            check()
            yield [done.result()]


def routes(
    dims: list[int], refine: list[int], trained_steps: int, neighbours: int, encoder: str
) -> dict[str, LiftSettings]:
    """Name → settings; the trained route at the same dimension as the closed form that it is compared with."""
    found = {"closed, linear, 99.9 %": LiftSettings(encoder=encoder)}
    for dim in dims:
        found[f"closed, linear, {dim}-d"] = LiftSettings(encoder=encoder, codec=CodecSettings(dim=dim))
    for steps in refine:
        found[f"closed, linear, 99.9 %, {steps} steps refined"] = LiftSettings(encoder=encoder, refine=steps)
    paper = CodecSettings(name="autoencoder")
    found["closed, autoencoder, 128-d"] = LiftSettings(encoder=encoder, codec=paper)
    if trained_steps:
        trained = TrainedLiftSettings(steps=trained_steps, neighbours=neighbours)
        for name, codec in (("linear, 99.9 %", CodecSettings()), ("autoencoder, 128-d", paper)):
            found[f"trained, {name}, {trained_steps} steps"] = LiftSettings(
                encoder=encoder, codec=codec, method="trained", trained=trained
            )
    return found


def lifted_copy(run: Run, folder: Path, settings: LiftSettings, engine: str, executor: Executor) -> Run:
    """A run with the same geometry, lifted by these settings; files are replaced by rename, so links are safe."""
    shutil.copytree(run.path, folder, copy_function=os.link, ignore=shutil.ignore_patterns(".lock", "run.json"))
    shutil.copy(run.path / "run.json", folder / "run.json")
    copied = Run.open(folder)
    with copied.lock():
        copied.forget_stage("lift")  # or the run's own route would be found done, and take no time
    return pipeline.lift(folder, settings, Context(engine, executor))


def energy_of(run: Run) -> str:
    codec = codec_from_arrays(*run.codec())
    return f"{100 * codec.energy:.1f}" if isinstance(codec, LinearCodec) else "–"


def bytes_of(run: Run) -> int:
    width = run.moving_codes(0)[0].shape[1]
    return 2 * width * (run.num_static + run.num_frames * run.num_dynamic)


def compare(run: Run, folder: Path, name: str, settings: LiftSettings, options: argparse.Namespace) -> None:
    """Lift a copy of the run in `folder` by one route, and print its line."""
    executor = Processes(options.workers) if options.workers and settings.method == "trained" else IN_ORDER
    start = time.perf_counter()
    lifted = lifted_copy(run, folder, settings, options.engine, executor)
    taken = time.perf_counter() - start
    result = evaluate(lifted, options.grounding, device="cuda" if options.engine == "cuda" else "cpu")
    mean = {metric: float(np.mean([row[metric] for row in result["rows"]])) for metric in ("tiou", "viou")}
    width = lifted.moving_codes(0)[0].shape[1]
    seconds = lifted.stages["lift"].seconds / lifted.num_frames
    print(
        f"{name:<44}{width:>5}{energy_of(lifted):>10}{mean['tiou']:>7.2f}{mean['viou']:>7.2f}"
        f"{bytes_of(lifted) / 1e6:>8.1f}{seconds:>9.2f}{taken:>10.1f}",
        flush=True,
    )
    said = f"{width} numbers, {mean['tiou']:.2f}, {mean['viou']:.2f}; {taken:.1f} s"
    figures.record("Routes of the lift", f"{name}: a code, tIoU, vIoU; in all", said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--grounding", type=Path, required=True)
    parser.add_argument("--dims", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--refine", type=int, nargs="*", default=[2])
    parser.add_argument("--trained-steps", type=int, default=0, help="0 leaves the paper's route out")
    parser.add_argument(
        "--neighbours", type=int, default=TrainedLiftSettings().neighbours, help="of its attention; 0: without it"
    )
    parser.add_argument("--only", nargs="+", help="routes whose name holds one of these")
    parser.add_argument("--engine", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that share the frames of the trained routes")
    parser.add_argument("--keep", type=Path, help="folder for the lifted runs, which must not be there yet")
    options = figures.parse(parser)
    run = Run.open(options.run)
    print(ROUTES_HEAD)
    chosen = routes(options.dims, options.refine, options.trained_steps, options.neighbours, str(run.info["encoder"]))
    for name, settings in chosen.items():
        if options.only and not any(part in name for part in options.only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            short = re.sub(r"[^\w.]+", "-", name).strip("-")
            compare(run, (options.keep or Path(folder)) / short, name, settings, options)


if __name__ == "__main__":
    main()
