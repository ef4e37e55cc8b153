"""How long one pass of sixteen frames takes, and the moments between two: `--device cpu` tells seconds of CPU.

    python scripts/bench/generate/onepass_time.py [--weights FILE] [--device cuda]
    python scripts/bench/generate/onepass_time.py --device cpu --memory 16 160

Pictures are noise, which takes as long as any other. On a CPU torch has one thread, as `legs4d object` gives it.
--memory instead has `legs4d object --method onepass` make videos of so many frames, pictures of 512², each in a process
of its own, and tells the most memory that it had.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.generate.onepass.checkpoint import open_networks
from legs4d.generate.onepass.passes import Passes
from legs4d.generate.onepass.stage import cameras_of

FRAMES = 16
SIDE, CIRCLE = 512, 40
"""Pixels of a picture, and frames in which the disc is where it was."""
TOLD = (
    sys.executable,
    "-c",
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
)
"""Runs a command, and prints the kilobytes that it had at most."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="*", default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory", type=int, nargs="+", metavar="FRAMES", help="measure memory, of such videos")
    asked = figures.parse(parser)
    if asked.memory is not None:
        for frames in asked.memory:
            memory(frames, asked.device, asked.weights)
        return
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


def memory(frames: int, device: str, weights: list[Path]) -> None:
    """Tell how much of the host's memory a video of a disc that wanders takes."""
    with TemporaryDirectory() as folder:
        video = Path(folder) / "video"
        video.mkdir()
        row, column = np.mgrid[:SIDE, :SIDE]
        for frame in range(frames):
            angle = 2 * np.pi * frame / CIRCLE
            middle = SIDE / 2 + SIDE / 10 * np.array([np.sin(angle), np.cos(angle)])
            disc = np.hypot(row - middle[0], column - middle[1]) < SIDE / 4
            shown = np.stack([row * 255 // SIDE, column * 255 // SIDE, 0 * row + 90, 255 * disc], axis=-1)
            Image.fromarray(shown.astype(np.uint8)).save(video / f"{frame:04}.png")
        given = [f"--weights={path}" for path in weights]
        made = ["object", video, "--out", Path(folder) / "run", "--method", "onepass", "--fps", "15", *given]
        engine = "cpu" if device == "cpu" else "cuda"
        words = [sys.executable, "-m", "legs4d", *map(str, made), "--engine", engine]
        told = subprocess.run([*TOLD, *words], check=True, capture_output=True, text=True).stdout
    where = "CPU" if device == "cpu" else "GPU"
    gigabytes = int(told.splitlines()[-1]) / 1e6
    print(f"a video of {frames} frames on a {where}: {gigabytes:.2f} GB at most")
    figures.record("Objects in one pass", f"most memory, a video of {frames} frames on a {where}", gigabytes, "GB")


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
