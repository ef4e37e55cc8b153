"""Time the tiny encoder's extraction on a CPU: what is embedded, what it costs, and the least that it could cost.

    .venv/bin/python scripts/training/tiny/bench_encoder.py [--dataset out/demo/capture] \
        [--weights FILE] [--batch 16 32 64 128]

The floor is the FLOPs of the nets at the rate of large matrix products on all cores. CPU seconds, over the cores, say
what a machine would need on which nothing else runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.server.query import best_of
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from legs4d.config import ExtractSettings
from legs4d.context import EncoderFiles
from legs4d.language.embedding.extract import Extractor, describe
from legs4d.language.embedding.grids import GridStore
from legs4d.language.embedding.pyramid import pyramid
from legs4d.language.encoders.tiny import sizes
from legs4d.language.encoders.tiny.encoder import TinyEncoder, TinyVision
from legs4d.scene.readers import open_sequence

GIVEN_RATE = 0.115e12
"""FLOP/s of two AVX2 cores, at best."""


def matrix_rate(side: int = 2048) -> float:
    """FLOP/s of a float32 product of random matrices on all threads, the best of several."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / best_of(lambda: a @ b, 10)[0]


def flops(body: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        body()
    return float(counter.get_total_flops())


class Counting:
    """A `FrameModel` that counts what it is shown."""

    def __init__(self, inner: TinyVision) -> None:
        self.inner, self.batch = inner, inner.batch
        self.frames = self.windows = 0

    def embed_frames(self, frames: Tensor) -> Tensor:
        self.frames += len(frames)
        return self.inner.embed_frames(frames)

    def embed_windows(self, frames: Tensor) -> Tensor:
        self.windows += len(frames)
        return self.inner.embed_windows(frames)


class CountingEncoder(TinyEncoder):
    seen: Counting

    def vision(self, device: torch.device) -> Counting:  # type: ignore[override]
        self.seen = Counting(super().vision(device))
        return self.seen


def bench_batches(vision: TinyVision, batches: list[int]) -> None:
    """Milliseconds of one thread for each frame and window."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for batch in batches:
        crops = torch.randn(batch, 3, sizes.SIDE, sizes.SIDE).contiguous(memory_format=torch.channels_last)
        rows = torch.randn(batch, sizes.FRAMES, sizes.WIDTH)
        each = [
            1e3 * best_of(work, max(5, 512 // batch))[0] / batch
            for work in (lambda c=crops: vision.embed_frames(c), lambda r=rows: vision.embed_windows(r))
        ]
        print(f"one thread, batch {batch:4}: {each[0]:.3f} ms a frame, {each[1]:.3f} ms a window", flush=True)
    torch.set_num_threads(threads)


def bench_extraction(dataset: Path, encoder: CountingEncoder, settings: ExtractSettings, rate: float) -> None:
    sequence = open_sequence(dataset)
    told = describe(sequence, encoder, settings)
    shape = pyramid(told.height, told.width)
    vision = encoder.vision(torch.device("cpu")).inner
    frame = flops(lambda: vision.embed_frames(torch.randn(1, 3, sizes.SIDE, sizes.SIDE)))
    window = flops(lambda: vision.embed_windows(torch.randn(1, sizes.FRAMES, sizes.WIDTH)))
    with tempfile.TemporaryDirectory() as folder:
        store = GridStore.begin(Path(folder), told)
        extractor = Extractor(store, sequence, encoder, settings, torch.device("cpu"))
        started, cpu = time.perf_counter(), time.process_time()
        for first in range(0, len(told.timesteps), settings.block):
            extractor.extract_block(first)
        took, spent = time.perf_counter() - started, time.process_time() - cpu
        extractor.close()
    seen, threads = encoder.seen, torch.get_num_threads()
    work = seen.frames * frame + seen.windows * window
    everything = told.cameras * shape.num_crops * len(told.timesteps)
    print(
        f"{told.cameras} cameras, {told.width}×{told.height}, {len(told.timesteps)} timesteps, {everything:,} windows\n"
        f"embedded: {seen.windows:,} windows of {window / 1e6:.1f} MFLOP, {seen.frames:,} frames' crops of "
        f"{frame / 1e6:.1f} MFLOP: {work / 1e12:.2f} TFLOP\n"
        f"took {took:.1f} s, {spent:.1f} CPU seconds: {spent / threads:.1f} s on {threads} cores with nothing else\n"
        f"floor {work / rate:.1f} s at the {rate / 1e12:.3f} TFLOP/s measured now, {work / GIVEN_RATE:.1f} s at "
        f"{GIVEN_RATE / 1e12:.3f}"
    )
    what = (
        f"extraction of {told.cameras} cameras, {len(told.timesteps)} timesteps: CPU; floor at the rate measured then"
    )
    figures.record("The tiny encoder in the product", what, f"{spent:.1f} s; {work * threads / rate:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, default=Path("out/demo/capture"))
    parser.add_argument("--weights", type=Path, help="by default the package's")
    parser.add_argument("--change", type=float, default=ExtractSettings().change)
    parser.add_argument("--batch", type=int, nargs="*", default=[16, 32, 64, 128])
    arguments = figures.parse(parser)
    encoder = CountingEncoder(EncoderFiles(arguments.weights))
    rate = matrix_rate()
    print(f"{torch.get_num_threads()} threads, float32 matrix rate {rate / 1e12:.3f} TFLOP/s")
    bench_batches(encoder.vision(torch.device("cpu")).inner, arguments.batch)
    bench_extraction(arguments.dataset, encoder, ExtractSettings(change=arguments.change), rate)


if __name__ == "__main__":
    main()
