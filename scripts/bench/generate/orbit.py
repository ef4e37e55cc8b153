"""DATA/object_orbit: an object's front at all times and an orbit of the first moment, judged on another at all times.

Nothing is made from what judges. 4DGen's road is the command, given the front and the orbit of the first moment; beside
it stand what fits each moment anew to its front and that orbit, the hull of their silhouettes, and the roads that need
no weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.generate.judged import SIZE, Truth, aligned, judge, page, read
from bench.generate.optimised import By, line, told
from legs4d.commands import Object
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.generate.fitting import from_views, pictures_of
from legs4d.generate.lenses import Lens
from legs4d.generate.resizing import scaled
from legs4d.generate.subject.source import read_subject
from legs4d.generate.work import object_run
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_bytes

LENS = Lens(float(2 * np.degrees(np.arctan(128 / 355.5555))), 2.0)
"""Of its pictures: see its SOURCES.md."""
COUNT = 24
SOLID = 0.95
"""Opacity of a hull's Gaussians."""


@dataclass(frozen=True)
class Filmed:
    """The object's pictures.

    Attributes:
        folder: that they are read from.
        front: [T, S, S, 4] uint8, from `camera`; first: [V, S, S, 4] of the first moment, from `around`.
        numbers: [V] of the views around; view n of `truth` shows moment numbers[n].
    """

    folder: Path
    front: NDArray[np.uint8]
    camera: Cameras
    first: NDArray[np.uint8]
    around: Cameras
    numbers: list[int]
    truth: Truth

    @classmethod
    def read(cls, folder: Path, pixels: int) -> Filmed:
        """With what is given at `pixels` a side; what judges keeps its own."""
        cameras = json.loads((folder / "cameras.json").read_text())
        numbers = sorted(map(int, cameras["orbit_moving"]))

        def at(told_of: dict[str, Any], number: int) -> Cameras:
            pose, lens = (np.array([told_of[key]], np.float32) for key in ("w2c_opencv", "k"))
            return Cameras(pose, lens, cameras["w"], cameras["h"], (number,))

        def given(names: list[str]) -> NDArray[np.uint8]:
            return scaled(as_bytes(np.stack([read(folder / name) for name in names])), pixels)

        around = Cameras.together([at(cameras["orbit_moving"][str(n)], n) for n in numbers])
        truth = Truth(np.stack([read(folder / "orbit_moving" / f"{n}.png") for n in numbers]), around, numbers)
        share = pixels / cameras["w"]
        return cls(
            folder,
            given([f"front/{moment}.png" for moment in range(COUNT)]),
            at(cameras["front"], 0).scaled(share),
            given([f"orbit_frame0/{number}.png" for number in numbers]),
            around.scaled(share),
            numbers,
            truth,
        )

    def moment(self, number: int) -> tuple[NDArray[np.uint8], Cameras]:
        """What is known of one moment: its front, and the first moment's sides."""
        return np.concatenate([self.front[number : number + 1], self.first]), Cameras.together(
            [self.camera, self.around]
        )


def orbit(data: Path, out: Path, by: By) -> None:
    """All roads, in one table."""
    filmed, rows = Filmed.read(data / "object_orbit", by.pixels), {}
    for name, road in (
        ("optimise", _optimised),
        ("each moment fitted", _each_fitted),
        ("each moment's hull", _each_hull),
        ("given, then followed", _given),
        ("inflate", _inflated),
    ):
        if name in by.without:
            continue
        began = by.clock()
        at, truth, near = road(filmed, out, by)
        seconds = by.clock() - began
        rows[name] = {**_judged(at, truth, near, by.device), "seconds": seconds}
        line(name, rows[name])
        if name in ("optimise", "given, then followed"):
            held = at(0)
            still = _judged(lambda _, held=held: held, truth, near, by.device)  # type: ignore[misc]
            rows[f"{name}: its first moment, held"] = {**still, "seconds": 0.0}
    on_white = filmed.truth.pictures[..., :3] + 1 - filmed.truth.pictures[..., 3:]
    page([on_white, *(row["shown"] for name, row in rows.items() if "held" not in name)], out / "orbit.png")
    told(out, "orbit", rows, by)


Roads = tuple[Callable[[int], Gaussians], Truth, float]
"""Gaussians of a moment, what they are judged on, and the near plane."""


def _optimised(filmed: Filmed, out: Path, by: By) -> Roads:
    return _commanded(filmed, out / "orbit_optimise", by, views=str(_views(filmed, out)), method="optimise")


def _each_fitted(filmed: Filmed, out: Path, by: By) -> Roads:
    return lambda moment: _still(filmed, moment, by, hull=False), filmed.truth, LENS.near


def _each_hull(filmed: Filmed, out: Path, by: By) -> Roads:
    return lambda moment: _still(filmed, moment, by, hull=True), filmed.truth, LENS.near


def _still(filmed: Filmed, moment: int, by: By, *, hull: bool) -> Gaussians:
    """One moment by itself: what its silhouettes' hull begins with, or what is fitted from that."""
    pictures, cameras = filmed.moment(moment)
    of = pictures_of(pictures, cameras, np.zeros(len(pictures), np.int64), 1, by.device)
    settings = by.sizes.shape
    if hull:
        settings = settings.model_copy(update={"start_opacity": SOLID})
    fit = from_views(of, LENS.stage, settings, "object_orbit", StageReporter("fitting"))
    while not hull and fit.done < fit.total:
        fit.advance()
    return fit.gaussians_at(0.0).numpy()


def _given(filmed: Filmed, out: Path, by: By) -> Roads:
    return _commanded(filmed, out / "orbit_given", by, views=str(_views(filmed, out)))


def _views(filmed: Filmed, out: Path) -> Path:
    """What shows the first moment's sides, as footage with cameras."""
    given = out / "orbit_views"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir(parents=True)
    told_of = []
    for row, number in enumerate(filmed.numbers):
        shutil.copy(filmed.folder / "orbit_frame0" / f"{number}.png", given / f"{number}.png")
        pose = np.linalg.inv(filmed.around.world_to_camera[row].astype(np.float64)) @ np.diag([1.0, -1, -1, 1])
        told_of.append({"file_path": f"./{number}", "transform_matrix": pose.tolist(), "time": 0.0})
    angle = float(np.radians(LENS.angle))
    (given / "transforms_train.json").write_text(json.dumps({"camera_angle_x": angle, "frames": told_of}))
    return given


def _inflated(filmed: Filmed, out: Path, by: By) -> Roads:
    at, _, near = _commanded(filmed, out / "orbit_inflate", by, prior="inflate")
    crop = read_subject(filmed.folder / "front", SIZE, by.device, StageReporter("reading")).crop
    return at, aligned(filmed.truth, crop, filmed.truth.cameras.width, LENS), near


def _commanded(filmed: Filmed, path: Path, by: By, **how: str) -> Roads:
    """The command's, in the axes of the views' cameras."""
    asked = {"source": str(filmed.folder / "front"), "out": str(path), "again": True, **how}
    object_run(Object.model_validate(asked), by.context(), sizes=by.sizes)
    run = Run.open(path)
    return run.frame, filmed.truth, run.info["near"]


def _judged(at: Callable[[int], Gaussians], truth: Truth, near: float, device: torch.device) -> dict[str, Any]:
    found = []
    for number, moment in enumerate(truth.frames):
        one = Truth(truth.pictures[number : number + 1], truth.cameras.take([number]), [moment])
        found.append(judge(at(moment), one, near, device))
    means = {key: float(np.mean([one[key] for one in found])) for key in ("psnr", "iou")}
    return {**means, "shown": np.concatenate([one["shown"] for one in found])}
