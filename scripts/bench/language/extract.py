"""Time ViCLIP-L/14 on crops with random weights: crops a second, share of the matrix rate, seconds per timestep.

    python scripts/bench/language/extract.py [--dataset DIR] [--share 0.231] [--lift 0.02] [--training 93.8]

Needs a CUDA device. Without --dataset only the model is timed; with it, the stage too, as `legs4d extract` does it.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import ExtractSettings
from legs4d.context import EncoderFiles
from legs4d.language.embedding.extract import Extractor
from legs4d.language.embedding.grids import Grid, GridsDescription, GridStore
from legs4d.language.embedding.pyramid import WINDOW, pyramid
from legs4d.language.encoders.viclip import ViclipEncoder, ViclipSize
from legs4d.language.encoders.viclip_vision import ViclipVision
from legs4d.scene.readers import open_sequence

CAMERAS, HEIGHT, WIDTH = 27, 360, 640
FIRST = 10
"""The timestep with which the whole stage begins: one with a full window."""


def seconds(body: Callable[[], object], repeats: int) -> float:
    """Of one call, the mean of several after one that warms up."""
    body()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        body()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def matrix_rate(side: int = 8192) -> float:
    """FLOP/s of a bf16 product of random matrices."""
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds(lambda: a @ b, 10)


def flops(size: ViclipSize) -> float:
    """Of one clip's matrix products and attention, in the half that sees."""
    patches = WINDOW * (size.input_size // size.patch) ** 2
    tokens, width = patches + 1, size.width
    layer = 2 * tokens * 12 * width**2 + 4 * tokens**2 * width
    return size.layers * layer + 2 * patches * width * 3 * size.patch**2


def random_vision(
    size: ViclipSize, device: torch.device, batch: int | None = None, *, plain: bool = False
) -> ViclipVision:
    """The model with random weights that keep its activations in range."""
    generator = torch.Generator().manual_seed(0)
    prefix = "vision_encoder."
    weights = {
        name.removeprefix(prefix): torch.randn(shape, generator=generator) / math.sqrt(math.prod(shape[1:]) or 1)
        for name, shape in size.shapes().items()
        if name.startswith(prefix)
    }
    return ViclipVision(weights, size.heads, device, batch, compiled=False if plain else None)


class RandomViclip(ViclipEncoder):
    def __init__(self, model: ViclipVision) -> None:
        super().__init__(EncoderFiles())
        self._vision = model

    def vision(self, device: torch.device) -> ViclipVision:
        return self._vision


def agreement(device: torch.device) -> float:
    """Least cosine between what the device says in half precision and the CPU in float32, on a small model."""
    size = ViclipSize(input_size=56, width=128, layers=4, heads=2, dim=64)
    clips = torch.randn(6, WINDOW, 3, 56, 56)
    on_cpu = random_vision(size, torch.device("cpu")).embed_clips(clips)
    on_device = random_vision(size, device, 8).embed_clips(clips.to(device)).cpu()
    return float((on_cpu * on_device).sum(-1).min())


def bench_attention(batch: int, size: ViclipSize) -> None:
    tokens = WINDOW * (size.input_size // size.patch) ** 2 + 1
    qkv = torch.randn(batch, tokens, 3, size.heads, size.width // size.heads, device="cuda", dtype=torch.float16)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        with sdpa_kernel(backend):
            took = seconds(lambda: F.scaled_dot_product_attention(q, k, v), 5)
        rate = 4 * batch * tokens**2 * size.width / took
        print(f"attention by {backend.name:20} {took * 1e3:7.2f} ms {rate / 1e12:6.0f} TFLOP/s", flush=True)


def bench_model(name: str, model: ViclipVision, size: ViclipSize, peak: float) -> float:
    """Crops a second."""
    clips = torch.randn(model.batch, WINDOW, 3, size.input_size, size.input_size, device="cuda", dtype=model.dtype)
    started = time.perf_counter()
    model.embed_clips(clips)
    torch.cuda.synchronize()
    first = time.perf_counter() - started
    took = seconds(lambda: model.embed_clips(clips), 4)
    rate = model.batch / took
    achieved = rate * flops(size)
    memory = torch.cuda.max_memory_allocated() / 2**30
    print(
        f"{name:24} batch {model.batch:4} {took * 1e3:8.1f} ms {rate:7.1f} crops/s {achieved / 1e12:6.0f} TFLOP/s "
        f"{achieved / peak:6.1%} of the matrix rate; first call {first:.1f} s, {memory:.1f} GiB",
        flush=True,
    )
    return rate


def bench_stage(dataset: Path, model: ViclipVision, timesteps: int, device: torch.device, scale: float = 1.0) -> float:
    """Crops a second of the extract stage, from footage to files: planning, decoding, cutting, resizing, reading back.

    All crops count as embedded at the timestep before the first, so that only those that have changed since are left.
    """
    sequence = open_sequence(dataset, scale)
    cameras = sequence.cameras("train", 0)
    encoder, every = RandomViclip(model), tuple(range(sequence.num_frames))
    told = GridsDescription("", "", "bench", encoder.dim, len(cameras), cameras.height, cameras.width, every)
    shape = len(cameras), pyramid(cameras.height, cameras.width).num_crops
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        store = GridStore.begin(Path(folder), told)
        before = np.full(shape, FIRST - 1, np.int32)
        nothing = np.zeros((1, encoder.dim), np.float16)
        store.write(FIRST - 1, Grid(nothing, before, np.zeros_like(before), before >= 0))
        extractor = Extractor(store, sequence, encoder, ExtractSettings(), device)
        for timestep in range(FIRST, FIRST + timesteps):
            started = time.perf_counter()
            crops = len(extractor.extract_frame(timestep).rows)
            took = time.perf_counter() - started
            rates.append(crops / took)
            print(
                f"extract stage, timestep {timestep}: {crops} crops in {took:.2f} s, {rates[-1]:.1f} a second",
                flush=True,
            )
        extractor.close()
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--share", type=float, default=0.231, help="of the crops left, as count_crops.py prints it")
    parser.add_argument("--lift", type=float, default=0.02, help="s of the lift a timestep, as lift_run.py prints it")
    parser.add_argument(
        "--training", type=float, default=93.8, help="s of the paper's training a timestep, as lift.py prints it"
    )
    parser.add_argument(
        "--timesteps", type=int, default=3, help="of the whole stage; in the first nothing is ready yet"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[64])
    arguments = figures.parse(parser)
    size, device = ViclipSize(), torch.device("cuda")
    peak = matrix_rate()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; bf16 matrix rate {peak / 1e12:.0f} TFLOP/s")
    print(f"{flops(size) / 1e12:.3f} TFLOP a crop; cosine of half precision and float32 {agreement(device):.6f}")
    tell = partial(figures.record, "Extraction with ViCLIP")
    tell("bf16 matrix rate, 8192³", peak / 1e12, "TFLOP/s")
    bench_attention(arguments.batch[0], size)
    plain = bench_model("layer by layer", random_vision(size, device, 8, plain=True), size, peak)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = random_vision(size, device, arguments.batch[0])
    rate = bench_model("as it is used", model, size, peak)
    for batch in arguments.batch[1:]:
        model.batch = batch
        rate = max(rate, bench_model("as it is used", model, size, peak))
    if arguments.dataset is not None:
        model.batch = arguments.batch[0]
        rate = bench_stage(arguments.dataset, model, arguments.timesteps, device)
        print(f"{rate:.1f} crops/s, {rate * flops(size) / peak:.1%} of the matrix rate")
    tell("crops a second; share of the matrix rate", f"{rate:.0f}; {rate * flops(size) / peak:.0%}", aim="50 %")
    crops = CAMERAS * pyramid(HEIGHT, WIDTH).num_crops
    all_of_them, left = crops / rate, arguments.share * crops / rate
    print(f"{crops:,} crops a timestep: {all_of_them:.1f} s, with a share of {arguments.share:.1%} left {left:.1f} s")
    tell(f"a timestep of {CAMERAS} cameras, all {crops:,} crops", all_of_them, "s", aim="60 s")
    before, after = crops / plain + arguments.training, left + arguments.lift
    print(f"extraction and lift: {before:.0f} s (layer by layer, trained) → {after:.2f} s: {before / after:.1f}x")
    tell("extraction and lift, layer by layer and trained against this", before / after, "times")
    print(f"of which the extraction alone: {crops / plain:.1f} → {left:.2f} s: {crops / plain / left:.1f}x")


if __name__ == "__main__":
    main()
