"""Reconstruct a dataset and print a table: time per stage, growth over the clip, memory, PSNR, tracking.

    scripts/bench/reconstruct/reconstruction.py DATASET [--engine cuda|cpu] [--scale S] [--frames N] [--track OBJECT_ID]

On a CUDA device with the preset `full`, elsewhere with `quick` unless told otherwise. The floor beside each time is
what a step must at least move: the pictures of its cameras (read, rendered, compared) and the Gaussians' parameters
with Adam's state, over the copy bandwidth measured in the same run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.reconstruct.ablate_reconstruction import AfterFrames
from legs4d import pipeline
from legs4d.config import DatasetSettings, Preset, ReconstructSettings, TrainSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.readers import open_sequence

PICTURE_PASSES = 6
"""Of a step's pictures of 4 channels: truth read; rendering and its gradient written and read; once to spare."""
PARAMETERS, ADAM_PASSES = 14, 7
"""Floats of a Gaussian; reads and writes of value, gradient and two moments."""


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second, reads and writes, of a copy on the device."""
    source = torch.ones(1 << 28 if device.type == "cuda" else 1 << 24, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * source.nbytes / min(seconds)


def doubled(settings: ReconstructSettings) -> ReconstructSettings:
    """Twice the Gaussians, at the start and in the end."""
    first = settings.first_frame
    more = {
        "num_foreground": 2 * first.num_foreground,
        "num_background": 2 * first.num_background,
        "densify": first.densify.model_copy(update={"max_gaussians": 2 * first.densify.max_gaussians}),
    }
    return settings.model_copy(update={"first_frame": first.model_copy(update=more)})


def timed(
    dataset: Path, out: Path, settings: TrainSettings, engine: str, frames: int, of: int
) -> tuple[Run, list[float], float]:
    """The run, seconds of each tracked frame, and seconds of all; stopped after `frames` of so many."""
    ends: list[float] = []
    enough = AfterFrames(frames, of)

    def on_progress(progress: Progress) -> None:
        enough(progress)
        if progress.stage == "tracking" and progress.done > len(ends):
            ends.extend([time.perf_counter()] * (progress.done - len(ends)))

    started = time.perf_counter()
    try:
        run = pipeline.reconstruct(dataset, out, settings, Context(engine, progress=on_progress, stop=enough))
    except Stopped:
        run = Run.open(out)
    return run, list(np.diff(ends)), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--engine", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--preset", choices=["quick", "full"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--frames", type=int, help="stop after so many; all by default")
    parser.add_argument("--track", type=int, help="object whose Gaussians are followed")
    parser.add_argument("--pictures", type=Path, help="folder for a page of test views")
    arguments = figures.parse(parser)
    device = choose_device(arguments.engine)
    preset: Preset = arguments.preset or ("full" if device.type == "cuda" else "quick")
    settings = ReconstructSettings().with_preset(preset)
    sequence = open_sequence(arguments.dataset, arguments.scale)
    cameras = sequence.cameras("train", 0)
    frames = min(arguments.frames or sequence.num_frames, sequence.num_frames)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    bandwidth = copy_bandwidth(device)
    print(
        f"{name}, copies {bandwidth / 1e9:.0f} GB/s; {len(cameras)} cameras, {cameras.width}x{cameras.height}, {preset}"
    )
    tell = partial(figures.record, "Reconstruction on one GPU" if device.type == "cuda" else "The real clip on a CPU")
    with tempfile.TemporaryDirectory() as folder:
        train = TrainSettings(dataset=DatasetSettings(scale=arguments.scale), reconstruct=settings)
        length = sequence.num_frames
        run, seconds, whole = timed(arguments.dataset, Path(folder) / "run", train, arguments.engine, frames, length)
        first, tracking = settings.first_frame, settings.tracking

        def floor(count: int, trained: int) -> float:
            picture_bytes = PICTURE_PASSES * min(count, len(cameras)) * cameras.width * cameras.height * 4 * 4
            return (picture_bytes + ADAM_PASSES * PARAMETERS * 4 * trained) / bandwidth

        steps = tracking.nodes.steps + tracking.steps
        print(
            f"{run.num_gaussians} Gaussians, {run.num_dynamic} of which move; {whole:.1f} s in all, {frames} frames",
            flush=True,
        )
        first_seconds = run.stages["first_frame"].seconds
        for title, took, count, views, trained in (
            ("first frame", first_seconds, first.steps, first.cameras_per_step, run.num_gaussians),
            ("a tracked frame", float(np.median(seconds)), steps, tracking.cameras_per_step, run.num_dynamic),
        ):
            least = count * floor(views, trained)
            print(
                f"{title:16}{took:8.2f} s{count:6} steps of {views} cameras{took / count * 1e3:9.2f} ms a step"
                f"   floor {least:7.3f} s, {took / least:6.0f} times that"
            )
            what = f"{title}, {count} steps of {views} cameras"
            tell(
                what,
                f"{took:.2f} s; {took / least:.0f} times the floor",
                aim="60 s" if title == "first frame" else "1 s",
            )
        if "refinement" in run.stages:
            again = settings.refinement
            took = run.stages["refinement"].seconds
            print(f"{'refinement':16}{took:8.2f} s{again.steps:6} steps of {again.cameras_per_step} cameras")
        third = max(1, len(seconds) // 3)
        growth = np.median(seconds[-third:]) / np.median(seconds[:third])
        print(f"last third of the frames against the first: {growth:.2f} times the time a frame")
        tell("last third of the frames against the first third, time a frame", float(growth), aim="1")
        if device.type == "cuda":
            print(f"most memory on the device: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
            tell("memory, evaluation included", torch.cuda.max_memory_allocated() / 2**30, "GiB", aim="8 GB")
        if frames == length:
            result = pipeline.evaluate(
                run.path, Context(arguments.engine), track=arguments.track, pictures=arguments.pictures
            )
            fitted = result["gain_fitted"]
            print(f"PSNR {result['psnr']:.2f} dB, gain fitted {fitted['psnr']:.2f}; SSIM {result['ssim']:.3f}")
            said = f"{result['psnr']:.2f} / {fitted['psnr']:.2f} dB; SSIM {result['ssim']:.3f}"
            tell("PSNR, test cameras × frames, plain / gain fitted", said, aim="30 dB")
            print(f"  first frame {result['per_frame'][0]:.2f} / {fitted['per_frame'][0]:.2f}", end="")
            print(f", last {result['per_frame'][-1]:.2f} / {fitted['per_frame'][-1]:.2f}")
            for camera, value in result["per_camera"].items():
                print(f"  camera {camera}: {value:.2f} / {fitted['per_camera'][camera]:.2f}")
            if arguments.track is not None:
                found = result["tracking"]
                print(
                    f"object {arguments.track}: centre misses by {found['median_px']:.1f} px (median), of the pictures"
                )
                print(f"  rendered {found['median_rendered_px']:.1f} px; {100 * found['stayed']:.0f} % stay on it")
                tell("object's centre misses by, median, of the pictures", found["median_px"], "px", aim="4 px")
        more = train.model_copy(update={"reconstruct": doubled(settings)})
        few = min(5, frames)
        twice, slower, _ = timed(arguments.dataset, Path(folder) / "twice", more, arguments.engine, few, length)
        ratios = twice.stages["first_frame"].seconds / first_seconds, np.median(slower) / np.median(seconds)
        print(
            f"{twice.num_gaussians} Gaussians: first frame {ratios[0]:.2f}, later frames {ratios[1]:.2f} times the time"
        )


if __name__ == "__main__":
    main()
