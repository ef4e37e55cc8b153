"""Time lifting by every route, in one run: synthetic Gaussians, the cameras of a real capture, a pyramid of 5 levels.

scripts/bench/language/lift.py --dataset ../shared/data/basketball      (needs a CUDA device, gsplat, csrc/cuda)
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import TrainedLiftSettings
from legs4d.gaussians.gaussians import Gaussians
from legs4d.language.embedding.features import FeatureMap
from legs4d.language.embedding.pyramid import pyramid
from legs4d.language.lift.pixels import PixelCodes
from legs4d.language.lift.refine import refine
from legs4d.language.lift.trained import FeatureTraining
from legs4d.raster import cuda_lift, render
from legs4d.raster.cuda import CHANNELS_AT_ONCE
from legs4d.scene.camera import Cameras

NEAR = 0.3
FEATURE_DIM, CODE_DIM, PAPER_DIM, PAPER_STEPS = 768, 64, 128, 2000
ROOM_RADIUS = 6.0
BANDWIDTH = 3.0e12
"""Bytes a second of an H100's memory, as a copy reaches it."""


def real_cameras(dataset: Path, scale: float) -> Cameras:
    """The training cameras of the first frame."""
    meta = json.loads((dataset / "train_meta.json").read_text())
    cameras = Cameras(
        np.array(meta["w2c"][0], np.float32),
        np.array(meta["k"][0], np.float32),
        int(meta["w"]),
        int(meta["h"]),
        tuple(meta["cam_id"][0]),
    )
    return cameras.scaled(scale)


def room(count: int) -> Gaussians:
    """A floor (y = 0), a dome over it and a crowd in the middle, opaque from everywhere, as reconstructions are."""
    random = np.random.default_rng(0)
    on_dome, on_floor = int(0.5 * count), int(0.2 * count)
    direction = random.normal(size=(on_dome, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    dome = ROOM_RADIUS * direction * np.where(direction[:, 1:2] > 0, [1, -1, 1], 1)
    reach, angle = ROOM_RADIUS * np.sqrt(random.random(on_floor)), random.uniform(0, 2 * np.pi, on_floor)
    floor = np.stack([reach * np.cos(angle), 0 * reach, reach * np.sin(angle)], axis=1)
    crowd = random.normal(size=(count - on_dome - on_floor, 3)) * [0.8, 0.4, 0.8] - [0, 0.9, 0]
    quats = random.normal(size=(count, 4))
    spacing = np.sqrt(2 * np.pi * ROOM_RADIUS**2 / max(on_dome, 1))
    return Gaussians(
        means=np.concatenate([dome, floor, crowd]).astype(np.float32),
        quats=(quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32),
        scales=(spacing * random.uniform(0.2, 0.7, (count, 3))).astype(np.float32),
        opacities=random.uniform(0.4, 1.0, count).astype(np.float32),
        colors=np.zeros((count, 3), np.float32),
        is_foreground=np.arange(count) >= on_dome + on_floor,
    )


def pyramid_features(cameras: Cameras, width: int) -> FeatureMap:
    """Random unit rows, mixed by every pixel as a pyramid of crops is."""
    crops = pyramid(cameras.height, cameras.width)
    index, weight = crops.taps
    first = (np.arange(len(cameras)) * crops.num_crops).astype(np.int32)
    rows = np.random.default_rng(1).normal(size=(len(cameras) * crops.num_crops, width)).astype(np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True) + np.float32(0.5 / np.sqrt(width))
    every = np.broadcast_to(weight, (len(cameras), *weight.shape))
    return FeatureMap(rows, index[None] + first[:, None, None, None], np.ascontiguousarray(every))


def milliseconds(work: Callable[[], object], repeats: int, warm_up: int = 2) -> float:
    """Median over repeats, the device's queue empty before and after each."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        taken.append(start.elapsed_time(end))
    return float(np.median(taken))


class Bench:
    """One scene, and what has been measured on it."""

    def __init__(self, count: int, cameras: Cameras, repeats: int) -> None:
        self.cameras, self.repeats = cameras, repeats
        self.gaussians = room(count).torch("cuda")
        self.features = pyramid_features(cameras, FEATURE_DIM)
        self.rows = torch.as_tensor(self.features.rows, device="cuda")
        self.results: dict[str, float] = {}

    def note(self, name: str, value: float, unit: str = "ms", more: str = "") -> float:
        self.results[name] = value
        figures.record("Lift", name.strip(), value, unit, aim=more.removeprefix("aim ") if "aim" in more else "")
        print(f"{name:<52}{value:12.3f} {unit}  {more}" if unit else f"{name:<52}{value:12.1e}     {more}", flush=True)
        return value

    def grid_lift(self) -> None:
        pixels = PixelCodes.of(self.features, self.rows, "cuda")

        def tile() -> cuda_lift.TiledPixelMap:
            return cuda_lift.tile_pixel_map(pixels.index, pixels.weight, len(self.rows))

        self.tiled = tile()
        self.note("bringing the pixel map into tiles, once a sequence", milliseconds(tile, 3, 0))
        lists = cuda_lift.list_tiles(self.gaussians, self.cameras, NEAR)
        listing = milliseconds(lambda: cuda_lift.list_tiles(self.gaussians, self.cameras, NEAR), self.repeats)
        pairs, splats = len(lists.pair_splat), lists.num_splats
        self.note("  of it: projection, sorting, tile lists", listing, more=f"{splats:,} splats, {pairs:,} pairs")
        codes = self.rows[:, :CODE_DIM].contiguous()
        for name, table, aim in ((f"{FEATURE_DIM}-d", self.rows, 50), (f"{CODE_DIM}-d codes", codes, 10)):
            taken = milliseconds(lambda table=table: self.lift(table), self.repeats)  # type: ignore[misc]
            self.note(f"grid lift, {name}", taken, more=f"aim {aim} ms")
        self.floors(pairs)

    def lift(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return cuda_lift.lift_table(self.gaussians, self.cameras, self.tiled, table, NEAR)

    def where_time_goes(self, width: int) -> None:
        """The kernels that take longest in one lift."""
        table = self.rows[:, :width].contiguous()
        print(f"longest of a grid lift at {width}-d:")
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            self.lift(table)
            torch.cuda.synchronize()
        longest = sorted(profile.key_averages(), key=lambda event: -event.device_time_total)[:6]
        for event in longest:
            print(f"    {event.device_time_total / 1e3:8.3f} ms  {event.key[:80]}", flush=True)

    def floors(self, pairs: int) -> None:
        """What must cross the memory bus: Gaussians and map in, the result out; and what this design moves besides."""
        given = 44 * len(self.gaussians.means) + self.tiled.mixture.numel() * 2 + self.rows.numel() * 2
        for width in (FEATURE_DIM, CODE_DIM):
            moved = given + 4 * width * len(self.gaussians.means)
            added = 4 * width * pairs
            print(
                f"  floor at {width}-d: {moved / 1e9:.2f} GB in and out, {1e3 * moved / BANDWIDTH:.2f} ms;"
                f" added to the result tile by tile: at most {added / 1e9:.1f} GB through the cache"
            )

    def per_pixel(self) -> None:
        """(Wᵀ F) through gsplat's backward, one camera after the other, F written out at full width."""
        pixels = PixelCodes.of(self.features, self.rows, "cuda")
        sums = torch.zeros((len(self.gaussians.means), FEATURE_DIM), device="cuda")
        taken = 0.0
        for camera in range(len(self.cameras)):
            said, _ = pixels.sums([camera])

            def pull(camera: int = camera, said: torch.Tensor = said) -> None:
                leaf = torch.zeros_like(sums).requires_grad_()
                picture = render(self.gaussians, self.cameras.take([camera]), leaf, near=NEAR)
                assert picture.features is not None
                sums.add_(torch.autograd.grad(picture.features, leaf, said)[0])

            taken += milliseconds(pull, 1, 0)
        more = f"{CHANNELS_AT_ONCE} channels at once: more have crashed gsplat"
        self.note(f"closed form through gsplat's backward, {FEATURE_DIM}-d", taken, more=more)
        found, mass = self.lift(self.rows)
        error = float((found - sums).norm() / sums.norm())
        self.note("grid lift against it: relative error of all sums", error, "", "aim 1e-3")
        seen = mass > 1
        each = (found - sums)[seen].norm(dim=1) / sums[seen].norm(dim=1)
        self.note("  of a Gaussian that fills a pixel: 99th percentile", float(each.quantile(0.99)), "")

    def training(self, neighbours: int, steps: int) -> float:
        """Extrapolated from `steps` steps to the paper's number of them."""
        pixels = PixelCodes.of(self.features, self.rows[:, :PAPER_DIM].contiguous(), "cuda")
        settings = TrainedLiftSettings(neighbours=neighbours)
        training = FeatureTraining(self.gaussians, self.cameras, pixels, settings, NEAR)
        step = milliseconds(training.step, steps, 3)
        name = "the paper's training" if neighbours else "  without its attention"
        return self.note(
            f"{name}, {PAPER_DIM}-d, {PAPER_STEPS} steps",
            step * PAPER_STEPS,
            more=f"from {steps} steps of {step:.1f} ms",
        )

    def refinement(self, steps: int) -> None:
        codes = self.rows[:, :CODE_DIM].contiguous()
        pixels = PixelCodes.of(self.features, codes, "cuda")
        sums, mass = self.lift(codes)
        start = sums / mass[:, None].clamp(min=1e-6)

        def refined(count: int) -> Callable[[], object]:
            return lambda: refine(self.gaussians, self.cameras, pixels, start, mass, count, NEAR)

        none, some = (milliseconds(refined(count), 1, 1) for count in (0, steps))
        self.note(
            f"refinement, {CODE_DIM}-d, a step", (some - none) / steps, more=f"and {none:.0f} ms before the first"
        )

    def relevancy_picture(self) -> None:
        one = self.cameras.take([0])
        relevancy = torch.rand(len(self.gaussians.means), 1, device="cuda")

        def picture() -> torch.Tensor:
            shown = render(self.gaussians, one, relevancy, near=NEAR)
            assert shown.features is not None
            return shown.features[..., 0] / shown.alpha.clamp(min=0.5)

        with torch.no_grad():
            taken = milliseconds(picture, 20, 5)
        self.note(f"relevancy picture, {one.width}×{one.height}", taken, more="aim 2 ms")

    def ratios(self) -> None:
        print("ratios, baseline / grid lift:")
        baselines = [name for name in self.results if any(word in name for word in ("training", "attention", "closed"))]
        for lifted in (name for name in self.results if name.startswith("grid lift,")):
            for baseline in baselines:
                print(f"  {baseline.strip()} / {lifted}: {self.results[baseline] / self.results[lifted]:,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True, help="a folder with train_meta.json")
    parser.add_argument("--gaussians", type=int, default=300_000)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--training-steps", type=int, default=10)
    arguments = figures.parse(parser)
    cameras = real_cameras(arguments.dataset, arguments.scale)
    print(
        f"{torch.cuda.get_device_name()}; {arguments.gaussians:,} Gaussians, {len(cameras)} × {cameras.width}×"
        f"{cameras.height}, {pyramid(cameras.height, cameras.width).num_crops} crops a camera"
    )
    bench = Bench(arguments.gaussians, cameras, arguments.repeats)
    bench.grid_lift()
    bench.relevancy_picture()
    bench.per_pixel()
    for neighbours in (0, TrainedLiftSettings().neighbours):
        bench.training(neighbours, arguments.training_steps)
    bench.ratios()
    bench.refinement(3)
    for width in (FEATURE_DIM, CODE_DIM):
        bench.where_time_goes(width)


if __name__ == "__main__":
    main()
