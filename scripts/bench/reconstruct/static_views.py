"""A static object, transforms.json with masks/ beside it: held-out views and seconds.

    .venv/bin/python scripts/bench/reconstruct/static_views.py ../shared/data/tankard [--scale 0.3] [--out FOLDER]

What masks leave out is nothing, so truth and model are on black. dB are inside the mask grown by three pixels, as hand-
drawn outlines are no better, and of the whole picture beside it. FOLDER gets a page: truth, ours, error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import DeformSettings, Preset
from legs4d.deform.pictures import all_cameras, read_pictures
from legs4d.deform.stage import begin_fit
from legs4d.deform.start import find_stage_of
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence

SUBJECT = "One moving camera"
GROWN = 3
"""Pixels around the mask that count as inside."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--preset", choices=["quick", "full"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path)
    asked = figures.parse(parser)
    device = choose_device(asked.engine)
    preset: Preset = asked.preset or ("full" if device.type == "cuda" else "quick")
    settings = DeformSettings(**({"steps": asked.steps} if asked.steps else {})).with_preset(preset)
    with torch_threads(1 if device.type == "cpu" else torch.get_num_threads()):
        inside, whole, seconds, cpu, count = measure(asked.capture, asked.scale, settings, device, asked.out)
    print(f"inside {inside:.2f} dB, whole {whole:.2f} dB, {seconds:.1f} s ({cpu:.1f} s of CPU), {count} Gaussians")
    name = f"{asked.capture.name} at scale {asked.scale:g}, {device.type}"
    aims = ("≥ 30 dB", "") if device.type == "cuda" else ("≥ 27 dB", "≤ 180 s")
    figures.record(SUBJECT, f"{name}: held out, inside the mask grown by 3 px", inside, "dB", aim=aims[0])
    figures.record(SUBJECT, f"{name}: whole pictures on black", whole, "dB")
    figures.record(SUBJECT, f"{name}: time", f"{seconds:.0f} s, {cpu:.0f} s of CPU", aim=aims[1])


def measure(
    place: Path, scale: float, settings: DeformSettings, device: torch.device, out: Path | None
) -> tuple[float, float, float, float, int]:
    """dB inside the grown mask, dB of whole pictures, seconds, CPU seconds, and Gaussians of a fit."""
    sequence = open_sequence(place, scale)
    cameras = all_cameras(sequence)
    began, worked = time.perf_counter(), time.process_time()
    pictures = read_pictures(sequence, device, removed=not sequence.see_through)
    stage = find_stage_of(cameras, str(place))
    fit, _ = begin_fit(pictures, sequence, stage, settings, StageReporter("start"))
    while fit.done < fit.total:
        fit.advance()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    views = sequence.cameras("test", 0)
    mask = torch.as_tensor(held_out_masks(place, views), device=device)
    truth = torch.as_tensor(sequence.images("test", 0), device=device) * mask[..., None]
    with torch.no_grad():
        made = render(fit.gaussians_at(0.0), views, near=fit.near).color.clamp(0, 1)
    wrong = (made - truth).square()
    grown = torch.nn.functional.max_pool2d(mask[:, None], 2 * GROWN + 1, 1, GROWN)[:, 0, ..., None] > 0.5
    within = (wrong * grown).sum(dim=(1, 2, 3)) / (3 * grown.sum(dim=(1, 2, 3))).clamp(min=1)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        rows = [torch.cat([truth[i], made[i], (4 * (made[i] - truth[i]).abs()).clamp(0, 1)], 1) for i in (0, 3, 6)]
        page = (torch.cat(rows).cpu().numpy() * 255).astype(np.uint8)
        Image.fromarray(page).save(out / f"{place.name}-{scale:g}.png")
    inside, whole = (float((-10 * torch.log10(x)).mean()) for x in (within, wrong.mean(dim=(1, 2, 3))))
    return inside, whole, seconds, cpu, fit.canonical.count


def held_out_masks(place: Path, views: Cameras) -> NDArray[np.float32]:
    """[C, H, W] 0..1 of held-out pictures, which a reader does not give: they are not for training."""
    frames = json.loads((place / "transforms.json").read_text())["frames"]
    size, found = (views.width, views.height), []
    for number in views.ids:
        file = place / "masks" / f"{Path(frames[number]['file_path']).stem}.png"
        with Image.open(file) as mask:
            found.append(np.asarray(mask.convert("L").resize(size, Image.Resampling.BOX), np.float32) / 255)
    return np.stack(found)


if __name__ == "__main__":
    main()
