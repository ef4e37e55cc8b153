"""Reconstruct a dataset and print a table: time per stage, growth over the clip, memory, PSNR, tracking.

    scripts/bench/reconstruct/reconstruction.py DATASET [--engine cuda|cpu] [--scale S] [--frames N] [--track OBJECT_ID]
        [--before BUILD [--at-once]] [--loop FRAMES] [--profile]

On a CUDA device with the preset `full`, elsewhere with `quick` unless told otherwise. The floor beside each time is
what a step must at least move: the pictures of its cameras (read, rendered, compared) and the Gaussians' parameters
with Adam's state, over the copy bandwidth measured in the same run.

BUILD is a folder with another build's `legs4d` in it (`git worktree add BUILD COMMIT`, and `_csrc` built there), which
does the same before today's, or with `--at-once` meanwhile, on another GPU. `--loop` takes a clip that goes there and
back until it has so many frames, tracks it alone (no births, no refinement), and tells how time and memory go on; what
else is told is then of the clip's own frames.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import Preset, ReconstructSettings
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.camera import Cameras
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


def doubled(settings: ReconstructSettings) -> list[str]:
    """Twice the Gaussians, at the start and in the end, as assignments."""
    first = settings.first_frame
    more = {
        "num_foreground": first.num_foreground,
        "num_background": first.num_background,
        "densify.max_gaussians": first.densify.max_gaussians,
    }
    return [f"reconstruct.first_frame.{name}={2 * count}" for name, count in more.items()]


TRACKED_ALONE = ["reconstruct.births.frames=0", "reconstruct.refinement.steps=0"]


def looped(dataset: Path, folder: Path, frames: int) -> Path:
    """A dataset of Dynamic3DGS's layout that goes there and back until it has so many frames; pictures are linked."""
    folder.mkdir()
    for file in dataset.iterdir():
        if file.is_dir():
            (folder / file.name).symlink_to(file.resolve())
        if not file.name.endswith("_meta.json"):
            continue
        meta = json.loads(file.read_text())
        count = len(meta["fn"])
        there = [*range(count), *range(count - 2, 0, -1)]
        for key in ("k", "w2c", "fn", "cam_id"):
            meta[key] = [meta[key][there[frame % len(there)]] for frame in range(frames)]
        (folder / file.name).write_text(json.dumps(meta))
    return folder


def timed(build: Path, dataset: Path, run: Path, *words: str, gpu: str | None = None) -> dict[str, Any]:
    """What `one_build.py` says of a run by the legs4d in a folder; the rest of what it prints is printed.

    Args:
        gpu: that it sees, of several.
    """
    script = Path(__file__).with_name("one_build.py")
    places = [str(build), str(script.parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    command = [sys.executable, str(script), str(dataset), str(run), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode or not lines or not lines[-1].startswith("RESULT "):
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    for line in lines[:-1]:
        print(line, flush=True)
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--engine", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--preset", choices=["quick", "full"])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--frames", type=int, help="stop after so many; all by default")
    parser.add_argument("--track", type=int, help="object whose Gaussians are followed")
    parser.add_argument("--pictures", type=Path, help="folder for a page of test views of a whole run")
    parser.add_argument("--before", type=Path, help="folder of another build, timed too")
    parser.add_argument("--at-once", action="store_true", help="the other build on a GPU of its own, at the same time")
    parser.add_argument("--loop", type=int, default=0, help="frames of the clip there and back that are tracked")
    parser.add_argument("--profile", action="store_true", help="say what the device does in a tracked frame")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="other settings")
    arguments = figures.parse(parser)
    device = choose_device(arguments.engine)
    preset: Preset = arguments.preset or ("full" if device.type == "cuda" else "quick")
    settings = ReconstructSettings().with_preset(preset)
    sequence = open_sequence(arguments.dataset, arguments.scale)
    cameras = sequence.cameras("train", 0)
    frames = min(arguments.frames or sequence.num_frames, sequence.num_frames)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    bandwidth = copy_bandwidth(device)
    size = f"{len(cameras)} cameras, {cameras.width}x{cameras.height}, {frames} frames, {preset}"
    print(f"{name}, copies {bandwidth / 1e9:.0f} GB/s; {size}")
    tell = partial(figures.record, "Reconstruction on one GPU" if device.type == "cuda" else "The real clip on a CPU")
    common = ["--engine", arguments.engine, "--preset", preset]
    common += _set(f"dataset.scale={arguments.scale}", *arguments.set)
    today, long = Path(__file__).resolve().parents[3], arguments.loop > frames
    alone = _set(*(TRACKED_ALONE if long or frames < sequence.num_frames else ()))
    asked = [*common, *alone, "--eval", str(frames)]
    short = [] if not long and frames == sequence.num_frames else ["--frames", str(frames)]
    if not long and not short and arguments.track is not None:
        asked += ["--track", str(arguments.track)]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor() as pool:
        folder = Path(scratch)
        clip = looped(arguments.dataset, folder / "clip", arguments.loop) if long else arguments.dataset
        own, other = ("1", "0") if arguments.at_once else (None, None)

        def beside() -> list[dict[str, Any]]:
            """What the other build took, if there is one, and today's with twice the Gaussians."""
            found = []
            if arguments.before is not None:
                found.append(timed(arguments.before.resolve(), clip, folder / "before", *asked, *short, gpu=other))
                show("before", found[0], settings, cameras, bandwidth)
            few = ["--frames", str(min(8, frames))]
            more = [*common, *_set(*TRACKED_ALONE), *_set(*doubled(settings)), *few]
            return [*found, timed(today, clip, folder / "twice", *more, gpu=other)]

        others = pool.submit(beside)
        if not arguments.at_once:
            others.result()
        all_of_it = ["--frames", str(arguments.loop)] if long else short
        page = ["--pictures", str(arguments.pictures)] if arguments.pictures and not all_of_it else []
        found = {"today": timed(today, clip, folder / "run", *asked, *all_of_it, *page, gpu=own)}
        floors = show("today", found["today"], settings, cameras, bandwidth)
        if long:
            growth(tell, found["today"], arguments.loop)
        *before, twice = others.result()
        if before:
            found["before"] = before[0]
        record(tell, found, floors, settings, size)
        first, later = twice["first_frame"] / found["today"]["first_frame"], tracked(twice) / tracked(found["today"])
        said = f"first frame {first:.2f}, tracked frame {later:.2f} times the time"
        print(f"{twice['gaussians']} Gaussians: {said}", flush=True)
        tell(f"{twice['gaussians']} Gaussians instead of {found['today']['gaussians']}", said, aim="1.5 times")
        if arguments.profile:
            words = [*common, *_set(*TRACKED_ALONE)]
            timed(today, arguments.dataset, folder / "profile", *words, "--frames", "2")
            timed(today, arguments.dataset, folder / "profile", *words, "--frames", "4", "--profile")


def _set(*assignments: str) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


def tracked(found: dict[str, Any]) -> float:
    """Seconds of a tracked frame; the first, which compiles, is not among them."""
    return float(np.median(found["frames"]))


def show(
    build: str, found: dict[str, Any], settings: ReconstructSettings, cameras: Cameras, bandwidth: float
) -> dict[str, float]:
    """Print what a build took; the floors, by what took the time, in seconds."""
    first, tracking = settings.first_frame, settings.tracking
    print(f"{build}: {found['gaussians']} Gaussians, {found['moving']} of which move; {found['seconds']:.1f} s in all")
    steps, floors = tracking.nodes.steps + tracking.steps, {}
    for title, took, count, views, trained in (
        ("first frame", found["first_frame"], first.steps, first.cameras_per_step, found["gaussians"]),
        ("a tracked frame", tracked(found), steps, tracking.cameras_per_step, found["moving"]),
    ):
        picture_bytes = PICTURE_PASSES * min(views, len(cameras)) * cameras.width * cameras.height * 4 * 4
        least = count * (picture_bytes + ADAM_PASSES * PARAMETERS * 4 * trained) / bandwidth
        floors[title] = least
        print(
            f"  {title:16}{took:8.3f} s{count:6} steps of {views} cameras{took / count * 1e3:9.2f} ms a step"
            f"   floor {least:7.3f} s, {took / least:6.0f} times that"
        )
    if found.get("births") is not None:
        print(f"  {'births':16}{found['births']:8.3f} s")
    if found["refinement"] is not None:
        again = settings.refinement
        print(
            f"  {'refinement':16}{found['refinement']:8.3f} s{again.steps:6} steps of {again.cameras_per_step} cameras"
        )
    if "memory" in found:
        print(f"  most memory on the device: {found['memory']:.2f} GiB, {found['allocated']:.2f} of them in use")
    if "psnr" in found:
        mean = np.mean(found["psnr"], axis=0)
        print(f"  PSNR {mean[0]:.2f} dB, gain fitted {mean[1]:.2f}", end="")
        print("".join(f"; {name} frame {found['psnr'][at][0]:.2f}" for name, at in (("first", 0), ("last", -1))))
    if "tracking" in found:
        ball = found["tracking"]
        print(f"  object's centre misses by {ball['median_px']:.1f} px (median), of the pictures")
        print(f"    rendered {ball['median_rendered_px']:.1f} px; {100 * ball['stayed']:.0f} % stay on it")
    sys.stdout.flush()
    return floors


def record(
    tell: Any, found: dict[str, Any], floors: dict[str, float], settings: ReconstructSettings, size: str
) -> None:
    """Print and keep what there is to say of today's build, and of another beside it."""
    own, tracking = found["today"], settings.tracking
    steps = tracking.nodes.steps + tracking.steps
    seconds = {name: (one["first_frame"], tracked(one)) for name, one in found.items()}
    for i, (title, aim) in enumerate(
        (
            (f"first frame, {settings.first_frame.steps} steps, {size}", "8 s"),
            (f"a tracked frame, {steps} steps, {size}", "0.4 s, a third of before"),
        )
    ):
        least = list(floors.values())[i]
        said = f"{seconds['today'][i]:.3f} s; floor {least:.3f} s"
        if "before" in seconds:
            said += f"; the build of before in the same run {seconds['before'][i]:.3f} s, "
            said += f"{seconds['before'][i] / seconds['today'][i]:.1f} times as long"
        print(f"{title}: {said}", flush=True)
        tell(title, said, aim=aim)
    if "memory" in own:
        said = " GiB; before ".join(f"{found[name]['memory']:.2f}" for name in ("today", "before") if name in found)
        tell(f"memory that was taken, {size}", f"{said} GiB", aim="3 GB")
    for name, one in found.items():
        mean = np.mean(one["psnr"], axis=0)
        said = (
            f"{mean[0]:.2f} / {mean[1]:.2f} dB; first and last frame {one['psnr'][0][0]:.2f}, {one['psnr'][-1][0]:.2f}"
        )
        tell(f"PSNR, test cameras × frames, plain / gain fitted, {name}, {size}", said, aim="no lower than before")
    if "tracking" in own:
        ball = own["tracking"]
        said = f"{ball['median_px']:.1f} px; {100 * ball['stayed']:.0f} % of its Gaussians stay"
        tell(f"object's centre misses by, median, of the pictures, {size}", said, aim="3 px; 95 %")


def growth(tell: Any, long: dict[str, Any], frames: int) -> None:
    """How time and memory of a long clip go on."""
    seconds, memory = np.array(long["frames"]), long["reserved"]
    tenth = max(1, len(seconds) // 10)
    parts = [float(np.median(seconds[start : start + tenth])) for start in range(0, len(seconds), tenth)]
    print(f"{frames} frames there and back, s a frame over time: " + " ".join(f"{part:.3f}" for part in parts))
    print(
        f"  GiB over time: {' '.join(f'{value:.2f}' for value in memory[::tenth])}; {long['gaussians']} ids", flush=True
    )
    third = max(1, len(seconds) // 3)
    ratio = np.median(seconds[-third:]) / np.median(seconds[:third])
    said = f"{ratio:.2f} times the time a frame; memory {memory[0]:.2f} GiB at first, {memory[-1]:.2f} in the end"
    tell(f"last third against the first, {frames} frames there and back", said, aim="1; no growth")


if __name__ == "__main__":
    main()
