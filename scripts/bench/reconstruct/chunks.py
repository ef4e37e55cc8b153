"""What tracking in chunks costs: PSNR against tracking in a row, jumps at the borders, and the scout's share of work.

    python scripts/bench/reconstruct/chunks.py DATASET --out FOLDER [--scale 0.5] [--length 8]

One thread throughout, and CPU seconds, so that a busy machine changes little. FOLDER keeps both runs: the same command
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d import pipeline
from legs4d.config import ChunkSettings, DatasetSettings, ReconstructSettings, TrainSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress
from legs4d.reconstruct.chunks import chunk_starts


class Stopwatch:
    """CPU seconds of each stage, from the progress that it reports."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def __call__(self, progress: Progress) -> None:
        now = time.process_time()
        self.seconds[progress.stage] = self.seconds.get(progress.stage, 0.0) + now - self._last
        self._last = now


def mean_steps(run: Run) -> np.ndarray:
    """[T] how far the moving Gaussians go to reach each frame, on average, scene units; 0 for the first."""
    means = [run.dynamic(frame).means for frame in range(run.num_frames)]
    return np.array([0.0] + [np.linalg.norm(b - a, axis=1).mean() for a, b in itertools.pairwise(means)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--length", type=int, default=8, help="frames of a chunk")
    options = figures.parse(parser)
    os.environ["LEGS4D_THREADS"] = "1"
    settings = TrainSettings(dataset=DatasetSettings(scale=options.scale))
    watch = Stopwatch()
    row = pipeline.reconstruct(options.dataset, options.out / "row", settings, Context("cpu", progress=watch))
    folder = options.out / f"chunks_of_{options.length}"
    if not folder.exists():
        shutil.copytree(row.path, folder)
    cut = settings.model_copy(update={"reconstruct": ReconstructSettings(chunks=ChunkSettings(length=options.length))})
    scouting = Stopwatch()
    chunks = pipeline.reconstruct(options.dataset, folder, cut, Context("cpu", progress=scouting))
    if "tracking" in watch.seconds and "scouting" in scouting.seconds:
        print(f"the scout takes {scouting.seconds['scouting'] / watch.seconds['tracking']:.2f} of tracking in a row")
    plain, pieces = (pipeline.evaluate(run.path, Context("cpu")) for run in (row, chunks))
    print(f"PSNR in a row {plain['psnr']:.2f}, in chunks {pieces['psnr']:.2f} dB")
    what = f"tracking in chunks of {options.length} against in a row, PSNR"
    said = f"{pieces['psnr']:.2f} against {plain['psnr']:.2f} dB"
    figures.record("More than one machine, and the browser", what, said)
    starts = chunk_starts(row.num_frames, options.length)
    for start, end in zip(starts, [*starts[1:], row.num_frames], strict=True):
        a, b = (np.mean(result["per_frame"][start:end]) for result in (plain, pieces))
        print(f"  frames {start} to {end - 1}: {a:.2f}, {b:.2f} dB")
    for start in starts[1:]:
        a, b = mean_steps(row)[start], mean_steps(chunks)[start]
        print(f"  step over the border at {start}: {1000 * a:.0f} thousandths of a unit in a row, {1000 * b:.0f} here")


if __name__ == "__main__":
    main()
