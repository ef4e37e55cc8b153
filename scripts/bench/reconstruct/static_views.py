"""A static object, transforms.json with masks/ beside it: held-out views and seconds.

    .venv/bin/python scripts/bench/reconstruct/static_views.py ../shared/data/tankard [--scale 0.3] [--out FOLDER]

What masks leave out is nothing, so truth and model are on black. dB are inside the mask grown by three pixels, and of
the whole picture. Beside these, what limits them: dB inside the mask shrunk by four pixels, the same with each
picture's colours fitted, and inside the grown mask with these colours, or if truth were cut out by the model's own
alpha in place of its hand-drawn mask. FOLDER gets a page: truth, ours, error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import DeformSettings, Preset
from legs4d.deform.footage.pictures import all_cameras, read_pictures
from legs4d.deform.footage.start import find_stage_of
from legs4d.deform.stage import begin_fit
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.images import area_resize
from legs4d.scene.readers import open_sequence
from legs4d.settings import read_settings

SUBJECT = "One moving camera"
GROWN, SHRUNK = 3, 4
"""Pixels around the mask that count as inside, and within it that count as away from outlines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--preset", choices=["quick", "full"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the settings `deform`")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path)
    asked = figures.parse(parser)
    device = choose_device(asked.engine)
    preset: Preset = asked.preset or ("full" if device.type == "cuda" else "quick")
    given = read_settings(DeformSettings, asked.set)
    settings = DeformSettings(**given | ({"steps": asked.steps} if asked.steps else {})).with_preset(preset)
    with torch_threads(device):
        found = measure(asked.capture, asked.scale, settings, device, asked.out)
    print(
        f"inside {found.inside:.2f} dB, whole {found.whole:.2f} dB, {found.seconds:.1f} s ({found.cpu:.1f} s of CPU), "
        f"{found.count} Gaussians; away from outlines {found.away:.2f} dB, colours fitted {found.fitted:.2f} dB; "
        f"cut out by the model's alpha {found.own_alpha:.2f} dB; inside, colours fitted {found.toned:.2f} dB"
    )
    name = ", ".join([f"{asked.capture.name} at scale {asked.scale:g}, {device.type}", *asked.set])
    aims = ("≥ 30 dB", "") if device.type == "cuda" else ("≥ 27 dB", "≤ 180 s")
    figures.record(SUBJECT, f"{name}: held out, inside the mask grown by 3 px", found.inside, "dB", aim=aims[0])
    what = f"{name}: held out, inside the mask grown by 3 px, each picture's colours fitted"
    figures.record(SUBJECT, what, found.toned, "dB")
    figures.record(SUBJECT, f"{name}: whole pictures on black", found.whole, "dB")
    figures.record(SUBJECT, f"{name}: cut out by the model's alpha, not the masks", found.own_alpha, "dB")
    figures.record(SUBJECT, f"{name}: away from outlines", found.away, "dB")
    figures.record(SUBJECT, f"{name}: away from outlines, each picture's colours fitted", found.fitted, "dB")
    figures.record(SUBJECT, f"{name}: time", f"{found.seconds:.0f} s, {found.cpu:.0f} s of CPU", aim=aims[1])


@dataclass(frozen=True)
class Found:
    """dB, means over held-out pictures; seconds, CPU seconds, and Gaussians of the fit."""

    inside: float
    toned: float
    whole: float
    away: float
    fitted: float
    own_alpha: float
    seconds: float
    cpu: float
    count: int


def measure(place: Path, scale: float, settings: DeformSettings, device: torch.device, out: Path | None) -> Found:
    """Fit a capture, and compare it with its held-out pictures."""
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
    photo = torch.as_tensor(sequence.images("test", 0), device=device)
    cut = torch.as_tensor(held_out(place, views), device=device)
    truth, mask = cut[..., :3], cut[..., 3]
    with torch.no_grad():
        rendered = render(fit.gaussians_at(0.0), views, near=fit.near)
    made, alpha = rendered.color.clamp(0, 1), rendered.alpha[..., None]
    grown = _widest(mask, GROWN)[..., None] > 0.5
    away = -_widest(-mask, SHRUNK)[..., None] > 0.5
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        rows = [torch.cat([truth[i], made[i], (4 * (made[i] - truth[i]).abs()).clamp(0, 1)], 1) for i in (0, 3, 6)]
        page = (torch.cat(rows).cpu().numpy() * 255).astype(np.uint8)
        Image.fromarray(page).save(out / f"{place.name}-{scale:g}.png")
    return Found(
        inside=_decibels(made, truth, grown),
        toned=_decibels(_toned(made, alpha, truth, away).clamp(0, 1), truth, grown),
        whole=_decibels(made, truth, torch.ones_like(grown)),
        away=_decibels(made, truth, away),
        fitted=_decibels(_fitted(made, truth, away), truth, away),
        own_alpha=_decibels(made, photo * alpha, grown),
        seconds=seconds,
        cpu=cpu,
        count=fit.canonical.count,
    )


def _decibels(made: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> float:
    """Mean over pictures [C, H, W, 3] of what is where [C, H, W, 1]."""
    wrong = ((made - truth).square() * where).sum(dim=(1, 2, 3)) / (3 * where.sum(dim=(1, 2, 3))).clamp(min=1)
    return float((-10 * torch.log10(wrong)).mean())


def _tone(made: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(gain, offset) [C, 1, 1, 3] of each picture that come closest where it counts: its exposure and tint."""
    count = where.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    means = [(image * where).sum(dim=(1, 2), keepdim=True) / count for image in (made, truth)]
    x, y = (made - means[0]) * where, (truth - means[1]) * where
    gain = (x * y).sum(dim=(1, 2), keepdim=True) / (x * x).sum(dim=(1, 2), keepdim=True).clamp(min=1e-9)
    return gain, means[1] - gain * means[0]


def _fitted(made: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Each picture under its tone where it counts."""
    gain, offset = _tone(made, truth, where)
    return gain * made + offset


def _toned(made: torch.Tensor, alpha: torch.Tensor, truth: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Each picture on black under its tone where it counts, which is that of what is filmed and not of the black."""
    gain, offset = _tone(made, truth, where)
    return gain * made + offset * alpha


def _widest(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(mask[:, None], 2 * pixels + 1, 1, pixels)[:, 0]


def held_out(place: Path, views: Cameras) -> NDArray[np.float32]:
    """[C, H, W, 4] held-out pictures on black and their masks, which a reader does not give: they are not for training.

    Cut out at full size, so that what lies beside a mask does not mix into its edge.
    """
    frames = json.loads((place / "transforms.json").read_text())["frames"]
    found = []
    for number in views.ids:
        file = place / frames[number]["file_path"]
        with Image.open(file) as picture, Image.open(place / "masks" / f"{file.stem}.png") as mask:
            inside = np.asarray(mask.convert("L"), np.float32)[..., None] > 127
            whole = np.asarray(picture.convert("RGB"), np.float32) / 255
        found.append(area_resize(np.concatenate([whole * inside, inside], axis=-1), views.width, views.height))
    return np.stack(found)


if __name__ == "__main__":
    main()
