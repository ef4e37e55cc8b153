"""One moving camera: held-out views, seconds and tracks of captures with known truth, beside a static model's.

    .venv/bin/python scripts/bench/reconstruct/one_camera.py CAPTURE… [--preset full] [--set KEY=VALUE] [--out FOLDER]
        [--keep FILE] [--prototype FILE --prototype-steps N --prototype-on NAME…]

CAPTURE is a folder that scripts/bench/blender/film_gltf.py made. PSNR is on white, and inside the true alpha; beside it
on white of every fifth picture that was trained on: what is lost between the two, motion tells wrongly of sides that a
moment's picture does not show, what is lost before, Gaussians or time do not suffice for. Tracks
are of vertices that move by more than a twentieth of the size, each carried by the Gaussian nearest to it in frame 0;
told is the median of how far off they are, in hundredths of the size. FOLDER gets a page per capture: truth, ours,
error. What `--keep FILE` tells of a capture with the same settings is not measured again, and what it does not tell is
written there: several devices may share the work, and the last call tells of all. A prototype (`FILE nodes STEPS
PACK.npz`, which prints its own figures) is run on the same pictures: how much sooner are we where it gets?
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.reconstruct.prototype import race
from legs4d.config import DeformSettings, Preset
from legs4d.deform.fit import Fit
from legs4d.deform.footage.pictures import all_cameras, moments, read_pictures
from legs4d.deform.footage.start import find_stage_of
from legs4d.deform.stage import begin_fit
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.reconstruct.stages import choose_device, torch_threads
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from legs4d.settings import read_settings

SUBJECT = "One moving camera"
MOVING = 0.05
"""Of the size: vertices that go farther are followed."""
AIMS = {"cuda": ("≥ 40 dB in 60 s", "≤ 60 s"), "cpu": ("≥ 28 dB", "≤ 240 s on two quiet cores")}
"""Of views on white and of the time, a kind of device."""
EVERY = 5
"""Of the pictures trained on, those that are looked at."""
STATIC_STEPS = 0.25
"""Of the steps: a static model settles sooner."""


@dataclass
class Figures:
    """Of one fit: dB on white and inside alpha, dB on white of pictures trained on, seconds, those of all cores,
    milliseconds a step, Gaussians, tracks in % of the size."""

    white: float
    inside: float
    trained: float
    seconds: float
    cpu: float
    step: float
    gaussians: int
    tracks: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--preset", choices=["quick", "full"])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the settings `deform`")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--no-static", action="store_true", help="no static model beside it")
    parser.add_argument("--keep", type=Path, help="a line of JSON for each capture measured")
    parser.add_argument("--prototype", type=Path)
    parser.add_argument("--prototype-steps", type=int, default=8000)
    parser.add_argument("--prototype-on", nargs="+", default=[], help="names of captures; all by default")
    asked = figures.parse(parser)
    device = choose_device(asked.engine)
    torch.empty(0, device=device)  # so that figures are told of this device though nothing is left to measure
    with torch_threads(device):
        tell(asked, device)


def tell(asked: argparse.Namespace, device: torch.device) -> None:
    """Measure what is asked for, and print and record it."""
    preset: Preset = asked.preset or ("full" if device.type == "cuda" else "quick")
    given = read_settings(DeformSettings, asked.set)
    settings = DeformSettings(**given | ({"steps": asked.steps} if asked.steps else {})).with_preset(preset)
    table = Table(title=f"{settings.steps} steps of {settings.pictures_per_step} pictures on {device}")
    for column in (
        "capture",
        "dB on white",
        "inside",
        "trained on",
        "s",
        "ms a step",
        "Gaussians",
        "tracks %",
        "static: dB",
        "tracks %",
    ):
        table.add_column(column, justify="left" if column == "capture" else "right")
    found: list[dict[str, Any]] = []
    for place in asked.captures:
        entry = kept(asked.keep, place.name, settings)
        if entry is None:
            ours = measure(place, settings, device, asked.out)
            still = None if asked.no_static else measure(place, as_static(settings), device, None)
            entry = {"capture": place.name, "ours": ours.__dict__, "static": still and still.__dict__}
            keep(asked.keep, entry | {"settings": settings.model_dump(mode="json")})
        found.append(entry)
        print(json.dumps({name: entry[name] for name in ("capture", "ours", "static")}), flush=True)
        ours = Figures(**entry["ours"])
        still = entry["static"] and Figures(**entry["static"])
        numbers = (
            ours.white,
            ours.inside,
            ours.trained,
            ours.seconds,
            ours.step,
            ours.gaussians,
            ours.tracks,
            still and still.white,
            still and still.tracks,
        )
        table.add_row(place.name, *("–" if n is None else f"{n:.2f}".removesuffix(".00") for n in numbers))
        steps = ", ".join([place.name, f"{settings.steps} steps of {settings.pictures_per_step} pictures", *asked.set])
        figures.record(SUBJECT, f"{steps}: on white", ours.white, "dB", aim=AIMS[device.type][0])
        figures.record(SUBJECT, f"{steps}: inside the mask", ours.inside, "dB")
        figures.record(SUBJECT, f"{steps}: pictures trained on, on white", ours.trained, "dB")
        took = f"{ours.seconds:.0f} s" + (f", {ours.cpu:.0f} s of CPU" if device.type == "cpu" else "")
        figures.record(SUBJECT, f"{steps}: time", took, aim=AIMS[device.type][1])
        if ours.tracks is not None:
            figures.record(SUBJECT, f"{steps}: tracks, median error", ours.tracks, "% of the size", aim="≤ 1 %")
        if still is not None:
            figures.record(SUBJECT, f"{steps}: a static model beside it, on white", still.white, "dB")
        if still is not None and still.tracks is not None:
            figures.record(SUBJECT, f"{steps}: tracks of the static model", still.tracks, "% of the size")
        if asked.prototype is not None and (not asked.prototype_on or place.name in asked.prototype_on):
            tell_race(asked.prototype, asked.prototype_steps, place, settings, device)
    means = {
        name: float(np.mean([entry["ours"][name] for entry in found]))
        for name in ("white", "inside", "trained", "seconds", "step")
    }
    tracked = [entry["ours"]["tracks"] for entry in found if entry["ours"]["tracks"] is not None]
    table.add_row(
        "mean", *(f"{value:.2f}" for value in means.values()), "", f"{np.mean(tracked):.2f}" if tracked else ""
    )
    if len(found) > 1:
        whole = ", ".join(["mean of " + ", ".join(e["capture"] for e in found), f"{settings.steps} steps", *asked.set])
        figures.record(SUBJECT, f"{whole}: on white", means["white"], "dB", aim="≥ 40 dB in 60 s")
        figures.record(SUBJECT, f"{whole}: time", means["seconds"], "s", aim="≤ 60 s each")
        if tracked:
            figures.record(
                SUBJECT, f"{whole}: tracks, median error", float(np.mean(tracked)), "% of the size", aim="≤ 1 %"
            )
    Console().print(table)


def kept(path: Path | None, capture: str, settings: DeformSettings) -> dict[str, Any] | None:
    """What was measured of a capture with these settings, if anything was."""
    if path is None or not path.exists():
        return None
    wanted = settings.model_dump(mode="json")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return next((e for e in entries if e["capture"] == capture and e["settings"] == wanted), None)


def keep(path: Path | None, entry: dict[str, Any]) -> None:
    """Add what was measured of a capture."""
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def as_static(settings: DeformSettings) -> DeformSettings:
    """The same for a model that never moves."""
    at_once = settings.following.model_copy(update={"share": 0.0})
    steps = max(1, round(STATIC_STEPS * settings.steps))
    return settings.model_copy(update={"deformation_start": 0.999, "following": at_once, "steps": steps})


def tell_race(program: Path, steps: int, place: Path, settings: DeformSettings, device: torch.device) -> None:
    """How much sooner we are where the prototype gets."""

    def fit(tried: int) -> tuple[float, float]:
        ours = measure(place, settings.model_copy(update={"steps": tried}), device, None)
        return ours.white, ours.seconds

    run, printed = race(program, steps, place, fit, settings.steps)
    print(printed)
    ours = "never" if run.ours is None else f"{run.ours:.1f} s ({run.steps} steps)"
    ratio = "" if run.ratio is None else f", {run.ratio:.1f} times as fast"
    print(f"{place.name}: {run.mark:.1f} dB: prototype {run.prototype:.1f} s, ours {ours}{ratio}")
    what = f"{place.name}: seconds to {run.mark:.1f} dB, prototype with a schedule of {steps} steps / legs4d"
    figures.record(SUBJECT, what, f"{run.prototype:.1f} s / {ours}{ratio}", aim="≥ 5 times as fast")


def measure(place: Path, settings: DeformSettings, device: torch.device, out: Path | None) -> Figures:
    """Fit one capture, and judge it."""
    sequence = open_sequence(place)
    pictures = read_pictures(sequence, device)
    stage = find_stage_of(all_cameras(sequence), str(place))
    began, worked = time.perf_counter(), time.process_time()
    torch.backends.cuda.matmul.allow_tf32 = True
    fit, _ = begin_fit(pictures, sequence, stage, settings, StageReporter("start"))
    while fit.done < fit.total:
        fit.advance()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    white, inside = judge(fit, sequence, place, out)
    trained = float(np.mean([one.on_white for one in shown(fit, sequence, "train", EVERY)]))
    step = 1000 * seconds / fit.total
    return Figures(white, inside, trained, seconds, cpu, step, fit.canonical.count, tracks(fit, sequence, place))


@dataclass
class Shown:
    """A moment as cameras show it and as it is fitted: both [C, H, W, 3] on white, and where alpha is more than a half
    [C, H, W, 1]."""

    truth: torch.Tensor
    made: torch.Tensor
    alpha: torch.Tensor

    @property
    def on_white(self) -> float:
        """dB, mean over the cameras."""
        return float((-10 * torch.log10((self.made - self.truth).square().mean(dim=(1, 2, 3)))).mean())

    @property
    def inside(self) -> float:
        """dB inside alpha, mean over the cameras."""
        wrong = ((self.made - self.truth).square() * self.alpha).sum(dim=(1, 2, 3))
        return float((-10 * torch.log10(wrong / (3 * self.alpha.sum(dim=(1, 2, 3))).clamp(min=1))).mean())


def shown(fit: Fit, sequence: Sequence, split: Literal["train", "test"], every: int = 1) -> Iterator[Shown]:
    """Every so many-th moment of which there are such pictures."""
    device, times = fit.canonical.device, moments(sequence)
    filmed = [frame for frame in range(sequence.num_frames) if len(sequence.cameras(split, frame))]
    for frame in filmed[::every]:
        truth = torch.as_tensor(sequence.images(split, frame), device=device)
        masks = sequence.masks(split, frame)
        assert masks is not None, f"{sequence.root}: has no alpha"
        alpha = torch.as_tensor(masks, device=device)[..., None] > 0.5
        white, cameras = torch.ones(3, device=device), sequence.cameras(split, frame)
        made = render(fit.gaussians_at(float(times[frame])), cameras, background=white, near=fit.near)
        yield Shown(truth, made.color.clamp(0, 1), alpha)


def judge(fit: Fit, sequence: Sequence, place: Path, out: Path | None) -> tuple[float, float]:
    """dB over the test pictures, on white and inside alpha; a page of them where it is wanted."""
    judged = list(shown(fit, sequence, "test"))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        rows = [
            torch.cat([one.truth[0], one.made[0], (4 * (one.made - one.truth).abs()).clamp(0, 1)[0]], dim=1)
            for one in judged[:: max(1, len(judged) // 5)]
        ]
        page = (torch.cat(rows).cpu().numpy() * 255).astype(np.uint8)
        Image.fromarray(page).save(out / f"{place.name}.png")
    return float(np.mean([one.on_white for one in judged])), float(np.mean([one.inside for one in judged]))


def tracks(fit: Fit, sequence: Sequence, place: Path) -> float | None:
    """Median distance of carried vertices from where they truly are, in % of the size; None without truth."""
    if not (place / "truth.npz").is_file():
        return None
    with np.load(place / "truth.npz", allow_pickle=False) as file:
        truth: NDArray[np.float32] = file["vertices"]
    size = float((truth[0].max(axis=0) - truth[0].min(axis=0)).max())
    moving = np.linalg.norm(truth - truth[:1], axis=-1).max(axis=0) > MOVING * size
    times = moments(sequence)
    first = fit.gaussians_at(0.0).numpy()
    solid = np.flatnonzero(first.opacities > 0.1)
    nearest = solid[cKDTree(first.means[solid]).query(truth[0, moving])[1]]
    local = truth[0, moving] - first.means[nearest]
    before = Rotation.from_quat(first.quats[nearest], scalar_first=True).inv()
    errors = []
    for frame in range(1, sequence.num_frames):
        now = fit.gaussians_at(float(times[frame])).numpy()
        turn = Rotation.from_quat(now.quats[nearest], scalar_first=True) * before
        errors.append(np.linalg.norm(now.means[nearest] + turn.apply(local) - truth[frame, moving], axis=-1))
    return 100 * float(np.median(errors)) / size


if __name__ == "__main__":
    main()
