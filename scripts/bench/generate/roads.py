"""The roads of `legs4d object` that need no weights, on glTF models that `film.py` filmed, beside a flat card.

    python scripts/bench/generate/roads.py FILMS OUT [CLIP…] [--workers N]

Silhouettes (IoU) at the first moment on views that were not given, and PSNR on grey at all times from cameras that
nothing uses. `auto` is what the command takes by itself, of the video alone and with views, and how far that is below
the best of the roads that the same source allows. The relief is judged once more at the depth that fits best, which no
picture tells. OUT gets a run a road, of which `turntables.py` makes a page, and
results.json; clips that are in there are not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench import figures
from bench.generate.judged import Truth, aligned, judge, novel, sides
from legs4d.commands import Object
from legs4d.config import DeformSettings
from legs4d.config.deform import GrowthSettings
from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.generate.fitting import Following
from legs4d.generate.lenses import FOURDGEN, PSEUDO_AZIMUTHS, PSEUDO_ELEVATION
from legs4d.generate.roads import ROUND
from legs4d.generate.shapes.inflate import inflate
from legs4d.generate.shapes.revolve import roundness
from legs4d.generate.sizes import Sizes
from legs4d.generate.subject.source import read_subject
from legs4d.generate.work import object_run
from legs4d.progress import StageReporter
from legs4d.reconstruct.stages import choose_device

CLIPS = ("fox", "man", "truck", "expressive", "kenney", "knight", "mannequin", "robot", "morph", "sphere")
GIVEN = {"4 views": (0, 4, 8, 12), "8 views": tuple(range(0, 16, 2))}
"""Which of the sixteen views of the first moment are given."""
SOURCE, GREY = 256, 0.5
"""Pixels of the films; what is behind objects where they are compared: two of them are white."""
DEPTHS = (0.8, 0.84, 0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12, 1.16, 1.2)
"""Of the camera's distance, at which a relief is tried."""
AIMS = {
    "flat card": "",
    "inflate": "IoU ≥ 0.63 to 0.73",
    "revolve": "0.93, of solids of revolution",
    "4 views": "IoU ≥ 0.80 to 0.84",
    "8 views": "IoU ≥ 0.90 to 0.95",
    "turntable": "IoU ≥ 0.92 to 0.95",
}


def footage(films: Path, clip: str, which: tuple[int, ...], out: Path) -> Path:
    """Some of the first moment's views as footage with cameras, in NeRF's layout."""
    out.mkdir(parents=True, exist_ok=True)
    frames = []
    flip = np.diag([1.0, -1, -1, 1])
    for number in which:
        camera = FOURDGEN.cameras(PSEUDO_ELEVATION, PSEUDO_AZIMUTHS[number], SOURCE)
        pose = np.linalg.inv(camera.world_to_camera[0].astype(np.float64)) @ flip
        picture = (films / f"{clip}_sync" / f"0_0_{number}_rgba.png").resolve()
        link = out / f"{number}.png"
        if not link.exists():
            link.write_bytes(picture.read_bytes())
        frames.append({"file_path": f"./{number}", "transform_matrix": pose.tolist(), "time": 0.0})
    told = {"camera_angle_x": float(np.radians(FOURDGEN.angle)), "frames": frames}
    (out / "transforms_train.json").write_text(json.dumps(told))
    return out


def small() -> Sizes:
    """So small that two cores do all clips in minutes."""
    growth = GrowthSettings(max_gaussians=2500)
    shape = DeformSettings(steps=100, num_points=1500, enough_pixels=1, sh_degree=0, static_sh_degree=0, growth=growth)
    return Sizes(96, 64, 2500, Following(steps=40, nodes=48), shape)


def measure(films: Path, out: Path, clip: str, engine: str, is_small: bool) -> dict[str, Any]:
    """All roads of one clip: name → {iou, psnr, seconds}."""
    sizes = small() if is_small else None
    torch.set_num_threads(1)
    device = choose_device(engine)
    context = Context(engine)
    video = films / f"{clip}_pose0"
    subject = read_subject(video, 256, device, StageReporter("reading"))
    found: dict[str, Any] = {}

    def told(name: str, run: Any, near: float, still: Truth, moving: Truth | None, began: float) -> None:
        row: dict[str, Any] = {"iou": judge(run, still, near, device)["iou"]}
        row["psnr"] = None if moving is None else judge(run, moving, near, device, GREY)["psnr"]
        found[name] = {**row, "seconds": time.perf_counter() - began}

    every, moving = (aligned(truth, subject.crop, SOURCE) for truth in (sides(films, clip), novel(films, clip)))
    began = time.perf_counter()
    card = inflate(subject.pictures[0], FOURDGEN, 20_000).gaussians
    card = card.replace(means=(card.means * np.array([1, 1, 0.02])).astype(np.float32))
    told("flat card", card, FOURDGEN.near, every, moving, began)
    for prior in ("inflate", "revolve"):
        began = time.perf_counter()
        path = out / clip / prior
        asked = {"source": str(video), "out": str(path), "prior": prior}
        object_run(Object.model_validate(asked), context, sizes=sizes)
        run = Run.open(path)
        told(prior, run, run.info["near"], every, moving, began)
    for name, which in GIVEN.items():
        began = time.perf_counter()
        path = out / clip / name.replace(" ", "_")
        views = footage(films, clip, which, out / clip / f"footage_{len(which)}")
        asked = {"source": str(video), "out": str(path), "prior": "given", "views": str(views)}
        try:
            object_run(Object.model_validate(asked), context, sizes=sizes)
        except Legs4dError as error:  # a road that ends in a sentence has made nothing
            print(f"{clip}, {name}: {error}", flush=True)
            found[name] = {"iou": 0.0, "psnr": 0.0, "seconds": time.perf_counter() - began}
            continue
        run = Run.open(path)
        told(name, run, run.info["near"], sides(films, clip, which), novel(films, clip), began)
    began, path = time.perf_counter(), out / clip / "turntable"
    source = films / f"{clip}_turntable"
    told_of = object_run(Object.model_validate({"source": str(source), "out": str(path)}), context, sizes=sizes)
    run = Run.open(path)
    turned = read_subject(source, 256, device, StageReporter("reading"))
    told("turntable", run, run.info["near"], aligned(sides(films, clip), turned.crop, SOURCE), None, began)
    found["turntable"]["taken by auto"] = told_of["prior"] == "turntable"
    alone = "revolve" if roundness(subject.pictures[0]) >= ROUND else "inflate"
    best = max(found[name]["psnr"] for name in ("inflate", "revolve"))
    found["auto"] = {"prior": alone, "psnr": found[alone]["psnr"], "off": best - found[alone]["psnr"]}
    best = max(found[name]["psnr"] for name in ("inflate", "revolve", "8 views"))
    found["auto, 8 views"] = {
        "prior": "given",
        "psnr": found["8 views"]["psnr"],
        "off": best - found["8 views"]["psnr"],
    }
    return found


def at_best_depth(films: Path, out: Path, clip: str, device: torch.device) -> float:
    """IoU of the relief where it is as far from its picture's camera as fits the sides best.

    How far an object stands in front of what it turns about no single picture tells; what is left is the shape's.
    """
    subject = read_subject(films / f"{clip}_pose0", 256, device, StageReporter("reading"))
    truth = aligned(sides(films, clip), subject.crop, SOURCE)
    relief = Run.open(out / clip / "inflate").frame(0)
    eye = np.array([0, 0, FOURDGEN.distance])
    found = []
    for share in DEPTHS:
        means = (eye + share * (relief.means - eye)).astype(np.float32)
        moved = relief.replace(means=means, scales=(share * relief.scales).astype(np.float32))
        found.append(judge(moved, truth, FOURDGEN.near, device)["iou"])
    return max(found)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("films", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("clips", nargs="*", default=[*CLIPS])
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--engine", default="auto")
    arguments.add_argument("--small", action="store_true", help="work at 96 pixels, a hundred steps a shape")
    asked = figures.parse(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        how, left = (asked.films, asked.out), [clip for clip in asked.clips if clip not in results]
        work = {pool.submit(measure, *how, clip, asked.engine, asked.small): clip for clip in left}
        for future in as_completed(work):
            results[work[future]] = future.result()
            kept.write_text(json.dumps(results, indent=1))
    results = {clip: results[clip] for clip in asked.clips}
    device = choose_device(asked.engine)
    depths = {clip: at_best_depth(asked.films, asked.out, clip, device) for clip in asked.clips}
    print_table(results)
    print("relief at the depth that fits best: " + ", ".join(f"{clip} {iou:.2f}" for clip, iou in depths.items()))
    size = "96 pixels" if asked.small else "512 pixels"
    keep_figures(results, size)
    told = f"{np.mean([*depths.values()]):.2f} ({min(depths.values()):.2f} to {max(depths.values()):.2f})"
    what = f"inflate at the depth that fits best, {len(depths)} models, {size}: IoU"
    figures.record("Objects", what, told, aim=AIMS["inflate"])


def keep_figures(results: dict[str, Any], size: str) -> None:
    """Means over the clips, for docs/figures.md."""
    for road, aim in AIMS.items():
        rows = [results[clip][road] for clip in results]
        overlap = [row["iou"] for row in rows]
        told = f"{np.mean(overlap):.2f} ({min(overlap):.2f} to {max(overlap):.2f})"
        if rows[0]["psnr"] is not None:
            told += f", {np.mean([row['psnr'] for row in rows]):.1f} dB"
        figures.record("Objects", f"{road}, {len(rows)} models, {size}: IoU, PSNR of novel views", told, aim=aim)
    for road in ("auto", "auto, 8 views"):
        near = sum(results[clip][road]["off"] <= 1 for clip in results)
        figures.record("Objects", f"{road}: within 1 dB of the best road", f"{near} of {len(results)}", aim="9 of 10")


def print_table(results: dict[str, Any]) -> None:
    """A line a road: IoU at the first moment, dB at all times, seconds; of each clip and on average."""
    clips = [*results]
    print(f"{'':14}" + "".join(f"{clip[:11]:>13}" for clip in clips) + f"{'mean':>13}")
    for road in ("flat card", "inflate", "revolve", "4 views", "8 views", "turntable"):
        rows = [results[clip][road] for clip in clips]
        texts = [f"{r['iou']:.2f}" + (f" {r['psnr']:.1f} dB" if r["psnr"] is not None else "") for r in rows]
        texts.append(f"{np.mean([r['iou'] for r in rows]):.3f}")
        print(
            f"{road:14}" + "".join(f"{text:>13}" for text in texts) + f"  {np.mean([r['seconds'] for r in rows]):.0f} s"
        )
    for road in ("auto", "auto, 8 views"):
        rows = [results[clip][road] for clip in clips]
        print(f"{road:14}" + "".join(f"{r['prior'][:5]:>6} {-r['off']:5.1f}" for r in rows))
    sure = sum(results[clip]["turntable"]["taken by auto"] for clip in clips)
    print(f"turntables that auto takes by itself: {sure} of {len(clips)}")


if __name__ == "__main__":
    main()
