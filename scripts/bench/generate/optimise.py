"""4DGen's optimisation and the roads beside it: true views of glTF models, an object with an orbit, predicted views.

    python scripts/bench/generate/optimise.py FILMS DATA OUT [CASE…]

Cases: `expressive` and `robot` (filmed by `film.py --sync`: 17 cameras at 16 moments, judged from other cameras; other
clips that are filmed so are taken too), `orbit` (see `orbit.py`) and `views` (DATA/object_views: sixteen predicted
views, judged on the true ones). Prints dB, IoU and seconds (on a CPU those that it works), and when stages begin.
Without --small it is as large as the device allows.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from bench import figures
from bench.generate.judged import SIZE, Truth, judge, novel, page, read
from bench.generate.optimised import By, line, optimised, told
from bench.generate.orbit import orbit
from bench.generate.roads import small
from legs4d.commands import Object
from legs4d.gaussians.store.run import Run
from legs4d.generate.lenses import SYNCDREAMER
from legs4d.generate.optimise.road import QUICK, How
from legs4d.generate.resizing import scaled
from legs4d.generate.sizes import Sizes
from legs4d.generate.work import object_run
from legs4d.reconstruct.stages import choose_device
from legs4d.scene.images import as_bytes


def synced(films: Path, out: Path, clip: str, by: By) -> None:
    """4DGen's road and the nodes' on true sync views."""
    truth, rows, shown = novel(films, clip), {}, []
    for name, method in (("optimise", "optimise"), ("nodes", "roads")):
        if name in by.without:
            continue
        began, path = by.clock(), out / f"{clip}_{name}"
        asked = {"source": str(films / f"{clip}_pose0"), "views": str(films / f"{clip}_sync"), "out": str(path)}
        asked |= {"method": method, "lens": "4dgen", "prior": "given"}
        object_run(Object.model_validate(asked), by.context(), sizes=by.sizes)
        run = Run.open(path)
        rows[name] = {**judge(run, truth, run.info["near"], by.device), "seconds": by.clock() - began}
        line(name, rows[name])
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
    began = by.clock()
    how = replace(by.how, coarse=0, fine=0)
    rig = cameras.scaled(by.pixels / SIZE)
    given = scaled(as_bytes(predicted), by.pixels)
    fit = optimised(given, rig, np.zeros(16, np.int64), np.zeros(16, bool), SYNCDREAMER, how, by.device)
    rows["static stage"] = {
        **judge(fit.gaussians_at(0.0).numpy(), truth, SYNCDREAMER.near, by.device),
        "seconds": by.clock() - began,
    }
    apart = predicted[..., :3] - predicted[..., 3:] - truth.pictures[..., :3] + truth.pictures[..., 3:]
    best = -10 * np.log10(np.square(apart).mean(axis=(1, 2, 3)))
    one, other = predicted[..., 3] > 0.5, truth.pictures[..., 3] > 0.5
    overlap = (one & other).sum(axis=(1, 2)) / (one | other).sum(axis=(1, 2))
    rows["the prediction itself"] = {"psnr": float(best.mean()), "iou": float(overlap.mean()), "seconds": 0.0}
    told(out, "views", rows, by)


def _white(picture: np.ndarray) -> np.ndarray:
    """Of a picture without alpha: what is not white."""
    if picture[..., 3].min() < 1:
        return picture
    alpha = (picture[..., :3].min(axis=-1) < 0.97).astype(np.float32)
    return np.concatenate([picture[..., :3] * alpha[..., None], alpha[..., None]], axis=-1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("films", type=Path)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("cases", nargs="*", default=["expressive", "robot", "orbit", "views"])
    arguments.add_argument("--engine", default="auto")
    arguments.add_argument("--small", action="store_true", help="a few steps at 96 pixels, for two cores")
    arguments.add_argument("--steps", type=int, nargs=3, metavar=("STATIC", "COARSE", "FINE"), help="other numbers")
    arguments.add_argument("--shape", type=int, metavar="STEPS", help="of fits of a shape to views, in all roads")
    arguments.add_argument("--without", nargs="+", default=[], metavar="ROAD", help="roads that are not taken")
    arguments.add_argument("--pixels", type=int, help="another size of what is given")
    arguments.add_argument("--perceptual", type=float, metavar="TIMES", help="that LPIPS counts; 1 is 4DGen's")
    asked = figures.parse(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(asked.engine)
    few = replace(QUICK, static=60, coarse=30, fine=60, points=1500, most=2500)
    full = How() if device.type == "cuda" else QUICK
    how, pixels = (few, 96) if asked.small else (full, SIZE)
    if asked.steps is not None:
        how = replace(how, static=asked.steps[0], coarse=asked.steps[1], fine=asked.steps[2])
    if asked.perceptual is not None:
        how = replace(how, perceptual=asked.perceptual)
    pixels = asked.pixels or pixels
    sizes = replace(small() if asked.small else Sizes.of(device), optimise=how, picture=pixels)
    if asked.shape is not None:
        sizes = replace(sizes, shape=sizes.shape.model_copy(update={"steps": asked.shape}))
    by = By(device, sizes, pixels, tuple(asked.without))
    for case in asked.cases:
        if case in ("orbit", "views"):
            {"orbit": orbit, "views": views}[case](asked.data, asked.out, by)
        else:
            synced(asked.films, asked.out, case, by)


if __name__ == "__main__":
    main()
