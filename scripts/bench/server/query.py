"""Time prompts over a synthetic run of many frames (150 × 300,000 by default), made on the fly, on the CPU or a GPU."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.grounding import query
from legs4d.language.calibration import CAPTIONS
from legs4d.language.codec.linear import LinearCodec
from legs4d.language.field import LanguageField

FEATURE_DIM = 768
PROMPTS = [f"prompt number {i}" for i in range(10)]
CANONICAL = ("object", "things", "stuff", "texture")
"""LERF's four, so that the arithmetic is that of the paper."""


class RandomPhrases:
    """Stands in for a text encoder, whose time is not what is measured: each phrase is a fixed random direction."""

    name = "random"
    dim = FEATURE_DIM
    version = 1
    calibration = CAPTIONS

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(zlib.crc32(phrase.encode())).normal(size=self.dim) for phrase in phrases]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)


def make_run(folder: Path, frames: int, gaussians: int, code_dim: int, distinct: int) -> Run:
    """A run whose Gaussians all move. Of its frames of codes `distinct` are files, the others are links to them."""
    random = np.random.default_rng(0)
    run = Run.create(folder)
    nobody, all_of_them = (_gaussians(count) for count in (0, gaussians))
    run.begin_stage("first_frame", "a")
    run.write_geometry(nobody, all_of_them, frames)
    run.finish_stage("first_frame")
    basis = np.linalg.qr(random.normal(size=(FEATURE_DIM, code_dim)))[0].T.astype(np.float32)
    mean = (RandomPhrases().encode_text([PROMPTS[0]])[0] * 0.3).astype(np.float32)
    arrays, attributes = LinearCodec(mean, np.ascontiguousarray(basis), 1.0).to_arrays()
    run.begin_stage("lift", "b")
    run.set_info(encoder="random")
    run.write_codec(attributes["name"], arrays, attributes)
    run.write_static_codes(np.zeros((0, code_dim)), np.zeros(0))
    codes = (0.1 * random.normal(size=(gaussians, code_dim))).astype(np.float16)
    for frame in range(distinct):
        run.write_codes(frame, np.roll(codes, 977 * frame, axis=0), np.ones(gaussians))
    for name, written in (("means", 1), ("quats", 1), ("colors", 1), ("codes", distinct), ("confidence", distinct)):
        for frame in range(written, frames):
            os.link(_chunk(folder, name, frame % written), _chunk(folder, name, frame))
    run.finish_stage("lift")
    return Run.open(folder)


def _chunk(folder: Path, name: str, frame: int) -> Path:
    """Where the store keeps a frame."""
    return folder / "run.zarr" / "dynamic" / name / (f"c.{frame}.0" if name == "confidence" else f"c.{frame}.0.0")


def _gaussians(count: int) -> Gaussians:
    shape = {"means": 3, "quats": 4, "scales": 3, "colors": 3}
    arrays = {name: np.full((count, width), 0.5, np.float32) for name, width in shape.items()}
    return Gaussians(**arrays, opacities=np.full(count, 0.5, np.float32), is_foreground=np.arange(count) % 2 == 0)


def best_of(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Shortest seconds by the clock, and of all processors' work, of some repeats after one that warms up: other
    programs only ever make either longer."""
    work()
    clock, worked = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start[0])
        worked.append(time.process_time() - start[1])
    return min(clock), min(worked)


def read_seconds(run: Run) -> float:
    """Seconds to read all codes, as a query does, and do nothing with them."""
    start = time.perf_counter()
    for frame in range(run.num_frames):
        run.moving_codes(frame)
    return time.perf_counter() - start


def report(run: Run, field: LanguageField, repeats: int, floor: float, where: str) -> None:
    one, one_worked = best_of(lambda: query(run, PROMPTS[:1], field=field), repeats)
    ten, ten_worked = best_of(lambda: query(run, PROMPTS, field=field), repeats)
    print(f"one prompt  {1e3 * one:9.1f} ms   {one / floor:6.1f} × floor;       {1e3 * one_worked:9.1f} ms of CPU")
    print(
        f"ten prompts {1e3 * ten:9.1f} ms   {ten / one:6.2f} × one prompt;  {1e3 * ten_worked:9.1f} ms of CPU, "
        f"{ten_worked / one_worked:.2f} × one prompt"
    )
    aim = "2 s" if where == "CPU" else "50 ms"
    figures.record("Queries", f"{where}, one prompt", f"{1e3 * one:.1f} ms; {one / floor:.1f} × floor", aim=aim)
    figures.record("Queries", f"{where}, ten prompts", f"{1e3 * ten:.1f} ms, {ten / one:.2f} × one", aim="2 × one")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gpu", action="store_true", help="keep the codes on a CUDA device")
    arguments = figures.parse(parser)
    folder = Path(tempfile.mkdtemp(prefix="bench_query_"))
    try:
        # On a GPU it does not matter what the files hold; on the CPU, frames that are one file would stay in its cache.
        distinct = 1 if arguments.gpu else arguments.frames
        run = make_run(folder / "run", arguments.frames, arguments.gaussians, arguments.dim, distinct)
        size = 2 * arguments.frames * arguments.gaussians * arguments.dim
        print(f"{arguments.frames} × {arguments.gaussians} codes of {arguments.dim}: {size / 1e9:.2f} GB")
        if arguments.gpu:
            _on_gpu(run, size, arguments.repeats)
        else:
            _on_cpu(run, size, arguments.repeats)
    finally:
        shutil.rmtree(folder)


def _on_cpu(run: Run, size: int, repeats: int) -> None:
    print(f"{default_threads()} CPU threads, load {os.getloadavg()[0]:.1f}")
    field = LanguageField(run, encoder=RandomPhrases(), canonical=CANONICAL)
    reading = min(read_seconds(run) for _ in range(2))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # The floor: every byte comes once from the system's file cache.
    print(f"floor: reading the codes alone takes {1e3 * reading:.1f} ms, {size / reading / 1e9:.1f} GB/s")
    report(run, field, repeats, reading, "CPU")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"peak memory beyond that of reading: {grown / 1e6:.2f} GB")
    figures.record("Queries", "CPU, extra memory, ten prompts", grown / 1e6, "GB", aim="1 GB")


def _on_gpu(run: Run, size: int, repeats: int) -> None:
    import torch

    from legs4d.language.resident import ResidentField

    start = time.perf_counter()
    field = ResidentField(run, encoder=RandomPhrases(), canonical=CANONICAL)
    print(f"{torch.cuda.get_device_name()}: loading {time.perf_counter() - start:.2f} s, once")
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    # The floor: every byte crosses the memory bus once.
    bandwidth = 3.0e12
    report(run, field, repeats, size / bandwidth, "GPU")
    extra = (torch.cuda.max_memory_allocated() - held) / 1e9
    print(f"floor {1e3 * size / bandwidth:.1f} ms at 3 TB/s; peak extra memory {extra:.2f} GB")
    figures.record("Queries", "GPU, extra memory, ten prompts", extra, "GB", aim="1 GB")


if __name__ == "__main__":
    main()
