"""Time the CPU rasteriser against its plain PyTorch twin in float32, forward and backward, side by side in one run."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d import _csrc
from legs4d.executor import default_threads
from legs4d.gaussians.gaussians import SH_C0, Gaussians
from legs4d.raster import render
from legs4d.raster.constants import ALPHA_MIN
from legs4d.raster.kernel_views import camera_options
from legs4d.raster.reference import render_reference
from legs4d.scene.camera import Cameras

NEAR = 0.2
PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def scene(count: int, seed: int = 0) -> Gaussians:
    """`count` Gaussians in a unit ball, sized so that they overlap about as a trained scene's do."""
    generator = torch.Generator().manual_seed(seed)
    size = 1.2 * count ** (-1 / 3)
    return Gaussians(
        means=torch.randn(count, 3, generator=generator) * 0.5,
        quats=torch.randn(count, 4, generator=generator),
        scales=size * (0.1 + 0.5 * torch.rand(count, 3, generator=generator)),
        opacities=0.1 + 0.9 * torch.rand(count, generator=generator),
        colors=(torch.rand(count, 3, generator=generator) - 0.5) / SH_C0,
        is_foreground=torch.ones(count, dtype=torch.bool),
    )


def cameras(count: int, width: int, height: int) -> Cameras:
    """A ring of cameras that looks at the origin from 3 units away."""
    poses = np.repeat(np.eye(4, dtype=np.float32)[None], count, 0)
    for i in range(count):
        angle = 2 * math.pi * i / count
        sine, cosine = math.sin(angle), math.cos(angle)
        poses[i, :3, :3] = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
        poses[i, 2, 3] = 3
    intrinsics = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float32)
    return Cameras(poses, np.repeat(intrinsics[None], count, 0), width, height, tuple(range(count)))


def median_seconds(body: Callable[[], object], repeats: int) -> float:
    body()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--size", default="160x120", help="WIDTHxHEIGHT")
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--no-twin", action="store_true", help="time csrc alone; the twin needs memory and patience")
    arguments = figures.parse(parser)
    width, height = (int(side) for side in arguments.size.split("x"))
    base, views = scene(arguments.gaussians), cameras(arguments.cameras, width, height)
    trained = base.replace(**{name: getattr(base, name).requires_grad_() for name in PARAMETERS})

    def ours_forward() -> torch.Tensor:
        return render(trained, views, near=NEAR).color

    def twin_forward() -> torch.Tensor:
        return render_reference(trained, views, trained.rgb, None, NEAR)[0][..., :3]

    def with_backward(forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
        return lambda: forward().square().sum().backward()

    seconds = {
        "forward": median_seconds(lambda: ours_forward().detach(), arguments.repeats),
        "forward + backward": median_seconds(with_backward(ours_forward), arguments.repeats),
    }
    arrays = {name: getattr(base.numpy(), name) for name in ("means", "quats", "scales", "opacities")}
    rendering = _csrc.project(
        channels=base.numpy().rgb,
        **arrays,
        **camera_options(views, NEAR),
        depth_channel=False,
        antialiased=False,
        frozen=None,
        active_tiles=None,
        threads=1,
    )
    pixels, splats = arguments.cameras * width * height, rendering.num_splats
    print(f"{arguments.gaussians} Gaussians, {arguments.cameras} x {width}x{height}, {default_threads()} threads")
    print(f"{splats} splats in view, {rendering.num_tile_splats} splat-tile pairs, alpha >= {ALPHA_MIN:.4f}")
    print(f"{'':20}{'ms':>9}{'Mpixel/s':>10}{'Msplat/s':>10}{'twin ms':>10}{'twin/csrc':>10}")
    for name, taken in seconds.items():
        row = f"{name:20}{taken * 1e3:9.2f}{pixels / taken / 1e6:10.2f}{splats / taken / 1e6:10.2f}"
        if not arguments.no_twin:
            forward = name == "forward"
            twin = median_seconds(twin_forward if forward else with_backward(twin_forward), 1)
            row += f"{twin * 1e3:10.0f}{twin / taken:10.1f}"
            said = f"{taken * 1e3:.2f} ms; the twin {twin:.1f} s, {twin / taken:,.0f} times"
            figures.record("Rasteriser on a CPU", name, said, aim="50 times the twin")
        print(row, flush=True)


if __name__ == "__main__":
    main()
