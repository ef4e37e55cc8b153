"""Whether predicted views in a wrong order or from below are told, and good ones are not.

    python scripts/bench/generate/orders.py --generated 96
    python scripts/bench/generate/orders.py --films FILMS --data DATA

--generated films so many things of `tiny4d`'s generator as pseudo views, as they are and as a prediction may show them
(each view bent, brighter or darker): on these `generate.subject.orders` and `shapes.consistency` were chosen. The other
one judges: glTF models of `film.py --below`, DATA/object_views (true and predicted) and DATA/object_orbit, whose twelve
cameras are others. Prints how many of each kind are refused, and how many go by without a word.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository
from training.synthetic.dice import Dice
from training.synthetic.pictures.render import render
from training.tiny4d import filming
from training.tiny4d.bodies import bodies

from bench import figures
from bench.generate.judged import read
from bench.generate.orbit import LENS, Filmed
from legs4d.errors import DatasetError
from legs4d.generate.lenses import FOURDGEN, SYNCDREAMER, Lens
from legs4d.generate.resizing import resized
from legs4d.generate.shapes.consistency import disagreement
from legs4d.generate.subject.background import cut_out
from legs4d.generate.subject.orders import AS_TEXT, COUNT, WRONG, check_orders, check_start
from legs4d.progress import StageReporter
from legs4d.scene.camera import Cameras
from legs4d.scene.images import as_bytes, as_unit, read_picture

SIDE, SEED = 64, 77
BENT, BRIGHTER = 0.012, 0.08
"""Of a picture's side that a prediction's points are off, and of their brightness."""
SMALLER = 8
"""Percent of its picture's side that are added around a video."""
REVERSED = np.array([(-number) % COUNT for number in range(COUNT)])

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """How views are wrong: the order that they stand in, and whether they are of the thing seen from below."""

    name: str
    order: NDArray[np.int64]
    below: bool = False


KINDS = (
    Kind("good order", np.arange(COUNT)),
    Kind("reversed", REVERSED),
    Kind("sorted as text", AS_TEXT),
    Kind("from below", np.arange(COUNT), below=True),
    Kind("from below, reversed", REVERSED, below=True),
)


class Told:
    """How many of each kind are refused, noted, and go by."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])

    def look(self, group: str, name: str, above: Pictures, below: Pictures, lens: Lens) -> None:
        for kind in KINDS:
            views = (below if kind.below else above).reshape(-1, COUNT, *above.shape[1:])[:, kind.order]
            try:
                found = 1 if check_orders(views.reshape(-1, *above.shape[1:]), lens, Path(name)) else 2
            except DatasetError as error:
                found = 0
                if kind.name == "good order":
                    print(f"  refused: {error}")
            if found and kind.name != "good order":
                print(f"  {name}, {kind.name}: {'only noted' if found == 1 else 'not told'}")
            self.counts[group, kind.name][found] += 1

    def start(self, group: str, name: str, views: Pictures, front: Pictures, lens: Lens) -> None:
        """The same of views that begin at the video's side, a quarter of a round from it, or behind; and of a video
        that shows the object smaller than the views' lens would."""
        edge = (SMALLER * len(front) // 100,) * 2
        small = resized(as_unit(np.pad(front, (edge, edge, (0, 0)))), len(front), len(front))
        for kind, turned, seen in (
            ("good start", 0, front),
            ("good start, video smaller", 0, as_bytes(small)),
            *((f"start at {90 * quarter}°", 4 * quarter, front) for quarter in (1, 2, 3)),
        ):
            try:
                check_start(np.roll(views, -turned, axis=0), seen, lens, Path(name))
                self.counts[group, kind][2] += 1
            except DatasetError as error:
                self.counts[group, kind][0] += 1
                if not turned:
                    print(f"  refused: {error}")

    def print(self) -> None:
        """A line a kind, and a figure a group: how many good ones are refused, and how many of the others are."""
        groups: dict[str, list[str]] = defaultdict(list)
        for (group, kind), (refused, noted, silent) in self.counts.items():
            told = f"{refused} of {refused + noted + silent}"
            print(f"{group:34}{kind:32}{told} refused, {noted} noted", flush=True)
            groups[group].append(f"{kind} {told}")
        for group, rows in groups.items():
            what = f"views refused, {group}"
            figures.record("Objects", what, "; ".join(rows), aim="no good ones, all others")


def predicted(pictures: Pictures, chance: np.random.Generator) -> Pictures:
    """Views [16, S, S, 4] as a prediction may show them: no two agree about where things are, nor how bright."""
    side, found = pictures.shape[1], pictures.astype(np.float32)
    for view in found:
        bend = np.stack([gaussian_filter(chance.normal(size=(side, side)), side / 8) for _ in range(2)])
        places = np.mgrid[:side, :side] + BENT * side * bend / bend.std()
        view[:] = np.stack([map_coordinates(view[..., c], places, order=1) for c in range(4)], axis=-1)
        view[..., :3] *= np.exp(BRIGHTER * chance.normal())
    found[..., :3] = np.minimum(found[..., :3], found[..., 3:])
    return found.round().clip(0, 255).astype(np.uint8)


@torch.no_grad()
def generated(count: int, lens: Lens, cameras: Cameras) -> Pictures:
    """[count, C, S, S, 4] things of the generator, at their first moment."""
    device = torch.device("cpu")
    studio = filming.Studio(SEED, device, SIDE, SIDE)
    dice = Dice(SEED, device)
    things, light = bodies(dice, count, studio._shapes), filming._light(dice, count)
    upright = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]).expand(count, 3, 3)
    poses = torch.as_tensor(cameras.world_to_camera).repeat(count, 1, 1, 1)
    wide = math.tan(math.radians(lens.angle / 2)) / math.tan(math.radians(filming.L4GM.angle / 2))
    poses[..., :3, 3] *= filming.L4GM.reach / lens.reach  # as large in the pictures
    made = np.empty((count, len(cameras), SIDE, SIDE, 4), np.uint8)
    for thing in range(count):
        views = torch.arange(len(cameras))
        scene = filming.scene_of(things, poses, upright, light, torch.full_like(views, thing), views)
        first = {"inverse": scene.inverse[:, :1], "alpha": scene.alpha[:, :1]}
        drawn = render(replace(scene, right=wide * scene.right, up=wide * scene.up, **first), filming.FINER * SIDE)
        there = (drawn.codes != filming.NOBODY)[:, :, None].float()
        both = torch.cat([drawn.values.float().clamp(0, 1) ** (1 / 2.2) * there, there], dim=2)[:, 0]
        small = torch.nn.functional.avg_pool2d(both, filming.FINER)
        made[thing] = (255 * small).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return made


def chosen_on(count: int, told: Told) -> None:
    """A thing upside down is its mirror image seen from below."""
    chance = np.random.default_rng(SEED)
    for name, lens in (("syncdreamer", SYNCDREAMER), ("4dgen", FOURDGEN)):
        every = Cameras.together([lens.pseudo(SIDE), lens.cameras(0, 0, SIDE)])
        for number, filmed in enumerate(generated(count, lens, every)):
            true, front = filmed[:COUNT], filmed[COUNT]
            for kind, views in (("true", true), ("predicted", predicted(true, chance))):
                told.start(f"generated, {kind}, {name}", f"thing {number}", views, front, lens)
                told.look(f"generated, {kind}, {name}", f"thing {number}", views, views[:, ::-1], lens)


def judged_on(films: Path, data: Path, told: Told) -> None:
    for folder in sorted(films.glob("*_below")):
        clip = folder.name.removesuffix("_below")
        above, below = (
            as_bytes(np.stack([read(films / f"{clip}_{where}" / f"0_0_{n}_rgba.png") for n in range(COUNT)]))
            for where in ("sync", "below")
        )
        told.look("glTF models", clip, above, below, FOURDGEN)
        told.start("glTF models", clip, above, as_bytes(read(films / f"{clip}_pose0" / "0.png")), FOURDGEN)
    for name in ("true", "predicted"):
        files = [data / "object_views" / name / f"{number}.png" for number in range(COUNT)]
        given = [as_bytes(as_unit(read_picture(file))) for file in files]
        views = cut_out(given, name, torch.device("cpu"), StageReporter("reading"))
        told.look("object_views", name, views.pictures, views.pictures[:, ::-1], SYNCDREAMER)
    around(Filmed.read(data / "object_orbit", 256))


def around(filmed: Filmed) -> None:
    """`object_orbit` has cameras of its own, all level: by how much more it disagrees with them in reverse."""
    azimuths = np.degrees(np.arctan2(filmed.around.centers[:, 0], filmed.around.centers[:, 2]))
    own, turned = (disagreement(filmed.first, LENS.cameras(0, sign * azimuths, 256), LENS.reach) for sign in (1, -1))
    print(f"object_orbit: disagreement {own:.3f}, in reverse {turned:.3f}; {WRONG} apart is told")
    what = "object_orbit's twelve views: disagreement as they are, in reverse"
    figures.record("Objects", what, f"{own:.3f}, {turned:.3f}", aim=f"{WRONG} apart")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--generated", type=int, default=0, metavar="THINGS")
    arguments.add_argument("--films", type=Path)
    arguments.add_argument("--data", type=Path)
    asked = figures.parse(arguments)
    told = Told()
    torch.set_num_threads(1)
    if asked.generated:
        chosen_on(asked.generated, told)
    if asked.films is not None and asked.data is not None:
        judged_on(asked.films, asked.data, told)
    told.print()


if __name__ == "__main__":
    main()
