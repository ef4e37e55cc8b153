"""How long one pass of sixteen frames takes, and the moments between two: `--device cpu` tells seconds of CPU.

    python scripts/bench/generate/onepass_time.py [--weights FILE] [--device cuda]

Pictures are noise, which takes as long as any other. On a CPU torch has one thread, as `legs4d object` gives it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.generate.onepass.checkpoint import open_networks
from legs4d.generate.onepass.passes import Passes
from legs4d.generate.onepass.stage import cameras_of

FRAMES = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = figures.parse(parser)
    device = torch.device(asked.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    passes = Passes(open_networks(asked.weights, device), cameras_of(None, 0.0), device)
    size, views = passes.variant.size, len(passes.cameras)
    random = torch.Generator().manual_seed(0)
    video = torch.rand(FRAMES, size, size, 4, generator=random)
    sides = torch.rand(2, views - 1, size, size, 4, generator=random)
    unit = "s of CPU, one thread" if device.type == "cpu" else "s"
    name, where = passes.variant.name, "CPU" if device.type == "cpu" else "GPU"
    on_gpu, on_cpu = ("0.3 s", "0.1 s"), ("20 s on two cores", "")
    aims = on_cpu if device.type == "cpu" else on_gpu
    for what, aim, work in (
        (f"one pass of {FRAMES} frames", aims[0], lambda: passes.moments(video, None)),
        ("interpolation of a pair", aims[1], lambda: passes.between(video[:2], (sides[0], sides[1]))),
    ):
        told = timed(work, device)
        print(f"{name}, {what} on a {where}: {told:.3f} {unit}")
        figures.record("Objects in one pass", f"{name}, {what} on a {where}", f"{told:.2g}", unit, aim=aim)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a few, after two that warm up where a GPU works."""
    on_gpu = device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    found = []
    for _ in range(12 if on_gpu else 3):
        began = clock()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        found.append(clock() - began)
    found = found[2:] if on_gpu else found
    return sorted(found)[len(found) // 2]


if __name__ == "__main__":
    main()
