"""How fast generated clips are made, and whether the kernel draws what the plain renderer does.

python scripts/training/tiny/bench_generator.py --device cuda
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures

from training.synthetic import scenes
from training.synthetic.pictures.render import render, render_plainly
from training.synthetic.pictures.scene import Pictures, Scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--count", type=int, default=8192)
    args = figures.parse(parser)
    device = torch.device(args.device)
    _compare(device)
    generator = scenes.Generator(5, device)
    generator.clips(64)
    for repeat in range(3):
        start = _now(device)
        generator.clips(args.count)
        seconds = _now(device) - start
        print(f"{args.count} clips in {seconds:.2f} s: {args.count / seconds:,.0f} a second (run {repeat})", flush=True)
    figures.record("Training the tiny encoder", f"clips a second, {args.count} at a time", args.count / seconds)


def _compare(device: torch.device) -> None:
    """The share of pixels that differ by more than 0.02 of light, or in what they belong to."""
    drawn: list[tuple[Scene, Pictures]] = []

    def kept(scene: Scene, side: int) -> Pictures:
        drawn.append((scene, render(scene, side)))
        return drawn[-1][1]

    scenes.render = kept
    scenes.Generator(11, device).clips(48)
    scenes.render = render
    scene, fast = drawn[0]
    slow = render_plainly(scene, fast.codes.shape[-1])
    values = ((fast.values.float() - slow.values).abs().amax(2) > 0.02).float().mean()
    codes = (fast.codes != slow.codes).float().mean()
    print(f"kernel against plain renderer: {codes:.2e} of pixels belong elsewhere, {values:.2e} differ", flush=True)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
