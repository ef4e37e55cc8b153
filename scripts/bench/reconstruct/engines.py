"""Time gsplat on a CUDA device and csrc on the CPU over the same scene, forward and backward, in one run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.reconstruct.raster import NEAR, PARAMETERS, cameras, median_seconds, scene
from legs4d.executor import default_threads
from legs4d.raster import render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gaussians", type=int, default=100_000)
    parser.add_argument("--size", default="640x360", help="WIDTHxHEIGHT")
    parser.add_argument("--repeats", type=int, default=10)
    arguments = figures.parse(parser)
    width, height = (int(side) for side in arguments.size.split("x"))
    name = torch.cuda.get_device_name()
    print(f"{arguments.gaussians} Gaussians, {width}x{height}; {name} against {default_threads()} CPU threads")
    print(f"{'cameras':>8}{'step':>20}{'cuda ms':>10}{'cpu ms':>10}{'cpu/cuda':>10}")
    for count in (1, 9, 27):
        views = cameras(count, width, height)
        seconds: dict[tuple[str, str], float] = {}
        for device in ("cuda", "cpu"):
            base = scene(arguments.gaussians).torch(device)
            trained = base.replace(**{name: getattr(base, name).requires_grad_() for name in PARAMETERS})

            def forward(trained=trained, views=views) -> torch.Tensor:
                color = render(trained, views, near=NEAR).color
                if color.is_cuda:
                    torch.cuda.synchronize()
                return color

            def both(forward=forward) -> None:
                forward().square().sum().backward()
                torch.cuda.synchronize()

            seconds[device, "forward"] = median_seconds(forward, arguments.repeats)
            seconds[device, "forward + backward"] = median_seconds(both, arguments.repeats)
        for step in ("forward", "forward + backward"):
            cuda, cpu = seconds["cuda", step], seconds["cpu", step]
            print(f"{count:8}{step:>20}{cuda * 1e3:10.2f}{cpu * 1e3:10.1f}{cpu / cuda:10.1f}", flush=True)
            said = f"gsplat {cuda * 1e3:.2f} ms, csrc {cpu * 1e3:.1f} ms: {cpu / cuda:.0f} times"
            figures.record("Rasteriser on a GPU", f"{step}, {count} camera{'s' * (count > 1)}", said)


if __name__ == "__main__":
    main()
