"""4DGen's optimisation and the roads beside it: true views of glTF models, an object with an orbit, predicted views.

    python scripts/bench/generate/optimise.py FILMS DATA OUT [CASE…]

Cases: `expressive` and `robot` (filmed by `film.py --sync`: 17 cameras at 16 moments, judged from other cameras),
`orbit` (DATA/object_orbit: the front at all times and an orbit of the first, judged on an orbit at other times) and
`views` (DATA/object_views: sixteen predicted views, judged on the true ones). Prints dB and seconds; one line a case.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench import figures
from bench.generate.judged import SIZE, Truth, judge, novel, page, read
from bench.generate.roads import small
from legs4d.commands import Object
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.generate.fitting import pictures_of
from legs4d.generate.lenses import FOURDGEN, SYNCDREAMER, UP, Lens
from legs4d.generate.optimise.road import QUICK, How, Optimise, scaled_to
from legs4d.generate.sizes import Sizes
from legs4d.generate.work import object_run
from legs4d.priors.cache import best_prior
from legs4d.priors.perceptual.lpips import open_lpips
from legs4d.progress import StageReporter
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

AIMS = {("expressive", "optimise"): "≥ 24 dB", ("robot", "optimise"): "≥ 24 dB"}


@dataclass(frozen=True)
class By:
    """With what: the device, sizes of the command's work (None: its own), and the optimisation's numbers."""

    device: torch.device
    sizes: Sizes | None
    how: How


def told(out: Path, case: str, rows: dict[str, dict[str, Any]], by: By) -> None:
    size = "full" if by.sizes is None else "small"
    kept = {name: {key: row[key] for key in ("psnr", "iou", "seconds")} for name, row in rows.items()}
    (out / f"{case}.json").write_text(json.dumps(kept))
    texts = [
        f"{name}: {row['psnr']:.2f} dB, IoU {row['iou']:.3f}, {row['seconds']:.0f} s" for name, row in kept.items()
    ]
    print(f"{case}: " + "; ".join(texts), flush=True)
    for name, r in kept.items():
        measured = f"{r['psnr']:.2f} dB, IoU {r['iou']:.3f}, {r['seconds']:.0f} s"
        figures.record("Objects", f"{case}: {name}, {size}", measured, aim=AIMS.get((case, name), ""))


def synced(films: Path, out: Path, clip: str, by: By) -> None:
    """4DGen's road and the nodes' on true sync views."""
    truth, rows, shown = novel(films, clip), {}, []
    for name, method in (("optimise", "optimise"), ("nodes", "roads")):
        began, path = time.perf_counter(), out / f"{clip}_{name}"
        asked = {"source": str(films / f"{clip}_pose0"), "views": str(films / f"{clip}_sync"), "out": str(path)}
        asked |= {"method": method, "lens": "4dgen", "prior": "given"}
        object_run(Object.model_validate(asked), Context(by.device.type), sizes=by.sizes)
        run = Run.open(path)
        rows[name] = {**judge(run, truth, run.info["near"], by.device), "seconds": time.perf_counter() - began}
        shown.append(rows[name]["shown"][:8])
    on_white = truth.pictures[..., :3] + 1 - truth.pictures[..., 3:]
    page([on_white[:8], *shown], out / f"{clip}.png")
    told(out, clip, rows, by)


def views(data: Path, out: Path, by: By) -> None:
    """The static stage alone, of predicted views, judged on the true ones."""
    folder, rows = data / "object_views", {}
    names = [f"{number}.png" for number in range(16)]
    cameras = SYNCDREAMER.pseudo(SIZE)
    truth = Truth(np.stack([_white(read(folder / "true" / name)) for name in names]), cameras, [0] * 16)
    predicted = np.stack([_white(read(folder / "predicted" / name)) for name in names])
    began = time.perf_counter()
    how = replace(by.how, coarse=0, fine=0)
    fit = _fit(predicted, cameras, np.zeros(16, np.int64), np.zeros(16, bool), SYNCDREAMER, how, by.device)
    rows["static stage"] = {
        **judge(fit.gaussians_at(0.0).numpy(), truth, SYNCDREAMER.near, by.device),
        "seconds": time.perf_counter() - began,
    }
    apart = predicted[..., :3] - predicted[..., 3:] - truth.pictures[..., :3] + truth.pictures[..., 3:]
    best = -10 * np.log10(np.square(apart).mean(axis=(1, 2, 3)))
    one, other = predicted[..., 3] > 0.5, truth.pictures[..., 3] > 0.5
    overlap = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
    rows["the prediction itself"] = {"psnr": float(best.mean()), "iou": float(overlap.mean()), "seconds": 0.0}
    told(out, "views", rows, by)


def orbit(data: Path, out: Path, by: By) -> None:
    """The front at all times and an orbit of the first moment, judged at other times from other sides."""
    folder = data / "object_orbit"
    cameras = json.loads((folder / "cameras.json").read_text())
    numbers = sorted(map(int, cameras["orbit_moving"]))

    def at(told_of: dict[str, Any], number: int) -> Cameras:
        pose, lens = (np.array([told_of[key]], np.float32) for key in ("w2c_opencv", "k"))
        return Cameras(pose, lens, cameras["w"], cameras["h"], (number,))

    front, count = at(cameras["front"], 0), 24
    around = [at(cameras["orbit_moving"][str(n)], n) for n in numbers]
    orbits = Cameras.together(around)
    shown = np.stack([read(folder / "front" / f"{t}.png") for t in range(count)])
    first = np.stack([read(folder / "orbit_frame0" / f"{n}.png") for n in numbers])
    truth = Truth(np.stack([read(folder / "orbit_moving" / f"{n}.png") for n in numbers]), orbits, numbers)
    lens = Lens(float(2 * np.degrees(np.arctan(128 / 355.5555))), 2.0)
    rows: dict[str, dict[str, Any]] = {}
    # 4DGen's static views, repeated at every time.
    began = time.perf_counter()
    pictures = np.concatenate([shown, *[first] * count])
    rig = Cameras.together([*[front] * count, *[orbits] * count])
    frames = np.concatenate([np.arange(count), np.repeat(np.arange(count), len(numbers))])
    how = scaled_to(by.how, count)
    fit = _fit(pictures, rig, frames, np.arange(len(pictures)) < count, lens, how, by.device)
    run = out / "orbit_optimise"
    rows["optimise"] = {**_judged(fit, truth, count, by.device), "seconds": time.perf_counter() - began}
    still = fit.gaussians_at(0.0).numpy()
    rows["its first moment, held"] = {**judge(still, truth, lens.near, by.device), "seconds": 0.0}
    # The command: given views of the first frame as footage, then the video.
    began = time.perf_counter()
    given = out / "orbit_views"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir(parents=True)
    told_of = []
    for number, camera in zip(numbers, around, strict=True):
        shutil.copy(folder / "orbit_frame0" / f"{number}.png", given / f"{number}.png")
        pose = np.linalg.inv(camera.world_to_camera[0].astype(np.float64)) @ np.diag([1.0, -1, -1, 1])
        told_of.append({"file_path": f"./{number}", "transform_matrix": pose.tolist(), "time": 0.0})
    angle = float(np.radians(lens.angle))
    (given / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": told_of}))
    run = out / "orbit_given"
    asked = {"source": str(folder / "front"), "views": str(given), "out": str(run), "prior": "given"}
    object_run(Object.model_validate(asked), Context(by.device.type), sizes=by.sizes)
    made = Run.open(run)
    rows["given, then followed"] = {
        **judge(made, truth, made.info["near"], by.device),
        "seconds": time.perf_counter() - began,
    }
    rows["given, held still"] = {**judge(made.frame(0), truth, made.info["near"], by.device), "seconds": 0.0}
    began, run = time.perf_counter(), out / "orbit_inflate"
    asked = {"source": str(folder / "front"), "out": str(run), "prior": "inflate"}
    object_run(Object.model_validate(asked), Context(by.device.type), sizes=by.sizes)
    made = Run.open(run)
    crop = _crop(folder / "front", by.device)
    same = Truth(truth.pictures, _of_lens(orbits, crop, lens), truth.frames)
    rows["inflate"] = {**judge(made, same, made.info["near"], by.device), "seconds": time.perf_counter() - began}
    on_white = truth.pictures[..., :3] + 1 - truth.pictures[..., 3:]
    page(
        [on_white, rows["optimise"]["shown"], rows["given, then followed"]["shown"], rows["inflate"]["shown"]],
        out / "orbit.png",
    )
    told(out, "orbit", rows, by)


def _white(picture: np.ndarray) -> np.ndarray:
    """Of a picture without alpha: what is not white."""
    if picture[..., 3].min() < 1:
        return picture
    alpha = (picture[..., :3].min(axis=-1) < 0.97).astype(np.float32)
    return np.concatenate([picture[..., :3] * alpha[..., None], alpha[..., None]], axis=-1)


def _fit(
    pictures: np.ndarray,
    cameras: Cameras,
    frames: np.ndarray,
    is_reference: np.ndarray,
    lens: Lens,
    how: How,
    device: torch.device,
) -> Optimise:
    values = (pictures * 255).round().astype(np.uint8)
    of = pictures_of(values, cameras, frames, int(frames.max()) + 1, device)
    seeing = best_prior("perceptual")
    lpips = None if seeing is None else open_lpips(seeing.name.removeprefix("lpips-"), device)
    stage = Stage(np.zeros(3, np.float32), lens.distance, -UP.astype(np.float32), lens.near)
    fit = Optimise(of, is_reference, stage, lens, how, lpips, None, StageReporter("optimising"))
    while fit.done < fit.total:
        fit.advance()
    return fit


def _judged(fit: Optimise, truth: Truth, count: int, device: torch.device) -> dict[str, Any]:
    found = []
    for number, frame in enumerate(truth.frames):
        one = Truth(truth.pictures[number : number + 1], truth.cameras.take([number]), [0])
        found.append(judge(fit.gaussians_at(frame / (count - 1)).numpy(), one, fit.near, device))
    means = {key: float(np.mean([one[key] for one in found])) for key in ("psnr", "iou")}
    return {**means, "shown": np.concatenate([one["shown"] for one in found])}


def _crop(source: Path, device: torch.device) -> tuple[float, float, float]:
    from legs4d.generate.subject.source import read_subject

    return read_subject(source, SIZE, device, StageReporter("reading")).crop


def _of_lens(cameras: Cameras, crop: tuple[float, float, float], lens: Lens) -> Cameras:
    """True cameras in the axes of a relief that was made for 4DGen's lens of a cut picture: at the object's middle both
    show the same size."""
    left, top, side = crop
    pixel = 2 * lens.reach / cameras.width
    middle = np.array([left + side / 2 - cameras.width / 2, cameras.width / 2 - top - side / 2, 0]) * pixel
    scale = FOURDGEN.reach / (lens.reach * side / cameras.width)
    poses = cameras.world_to_camera.astype(np.float64)
    poses[:, :3, 3] = scale * (poses[:, :3, 3] + poses[:, :3, :3] @ middle)
    return Cameras(poses.astype(np.float32), cameras.intrinsics, cameras.width, cameras.height, cameras.ids)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("films", type=Path)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("cases", nargs="*", default=["expressive", "robot", "orbit", "views"])
    arguments.add_argument("--engine", default="auto")
    arguments.add_argument("--small", action="store_true", help="a few steps at 96 pixels, for two cores")
    asked = figures.parse(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(asked.engine)
    few = replace(QUICK, static=60, coarse=30, fine=60, points=1500, most=2500)
    full = How() if device.type == "cuda" else QUICK
    by = By(device, small() if asked.small else None, few if asked.small else full)
    for case in asked.cases:
        if case in ("orbit", "views"):
            {"orbit": orbit, "views": views}[case](asked.data, asked.out, by)
        else:
            synced(asked.films, asked.out, case, by)


if __name__ == "__main__":
    main()
