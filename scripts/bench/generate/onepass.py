"""What a network makes of filmed glTF models in one pass, beside a card and a frozen first frame.

    .venv-blender/bin/python scripts/bench/generate/film_around.py GLTF_FOLDER FILMED
    .venv/bin/python scripts/bench/generate/onepass.py FILMED [--weights [FILE]] [--sheet SHEET.png] [--refine NAME…]

FILMED has four moments of each model from ten sides: the first is the video, the other nine judge. Without --weights
the two baselines alone are told: the card, which is the video's picture on a plane through the model's middle, and
frozen, the model's true look at the first moment, kept. With it also (alone it is the package's tiny4d), from the video
alone and from four views at the first moment: PSNR on white, masked PSNR (pixels that the model covers, or what was
made of it), LPIPS where the helper `lpips-alex` has its weights, the input view, and what the network's own first frame
would reach if it were kept. --refine adds, of the models that it names or of all, what the refinement of the video
alone gives, and by how much it surpasses the pass. `frozen`, `own frozen` and `later` count moments 1 to 3 alone.
--workers does several models at once, a process each.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.onepass.cameras import AZIMUTHS, L4GM
from legs4d.generate.onepass.checkpoint import Networks, open_networks
from legs4d.generate.onepass.mirrored import mirrored
from legs4d.generate.onepass.passes import NEAR, Passes
from legs4d.generate.onepass.refine import Refinement, Refining, Shown
from legs4d.generate.onepass.stage import cameras_of
from legs4d.priors.cache import is_there, open_prior, priors_folder
from legs4d.priors.protocols import PerceptualPrior
from legs4d.priors.registry import find_prior
from legs4d.progress import StageReporter
from legs4d.raster import render
from legs4d.scene.camera import Cameras

RING = len(AZIMUTHS)
SUBJECT = "Objects in one pass"


Made = Callable[[int, int], Tensor]
"""Frame and view → [S, S, 4] colours times alpha, 0..1."""


@dataclass(frozen=True)
class Clip:
    """A filmed model.

    Attributes:
        pictures: [T, V, S, S, 4] 0..1 RGBA, colours times alpha.
        cameras: V.
    """

    name: str
    pictures: Tensor
    cameras: Cameras

    def look(self, frame: int, view: int) -> Tensor:
        """What is true."""
        return self.pictures[frame, view]

    @classmethod
    def read(cls, folder: Path) -> Clip:
        views = json.loads((folder / "views.json").read_text())
        frames = len(list(folder.glob("*_0.png")))
        rows = []
        for frame in range(frames):
            shown = [np.asarray(Image.open(folder / f"{frame}_{view}.png")) for view in range(len(views))]
            values = torch.from_numpy(np.stack(shown)).float() / 255
            rows.append(torch.cat([values[..., :3] * values[..., 3:], values[..., 3:]], dim=-1))
        pictures = torch.stack(rows)
        elevations, azimuths = zip(*views, strict=True)
        return cls(folder.name, pictures, L4GM.cameras(elevations, azimuths, pictures.shape[2]))


@dataclass
class Score:
    """Means over pictures."""

    psnr: list[float] = field(default_factory=list)
    masked: list[float] = field(default_factory=list)
    lpips: list[float] = field(default_factory=list)

    def add(self, made: Tensor, truth: Tensor, perceptual: PerceptualPrior | None) -> None:
        first, second = (picture[..., :3] + 1 - picture[..., 3:] for picture in (made, truth))
        error = (first - second).square().mean(-1)
        covered = (made[..., 3] > 0.5) | (truth[..., 3] > 0.5)
        self.psnr.append(decibels(error.mean()))
        self.masked.append(decibels(error[covered].mean()) if covered.any() else 100.0)
        if perceptual is not None:
            self.lpips.append(perceptual.distance(first.numpy(), second.numpy()))

    def told(self) -> str:
        shown = [f"{np.mean(self.psnr):5.1f}", f"{np.mean(self.masked):5.1f}"]
        return " ".join([*shown, f"{np.mean(self.lpips):.3f}" if self.lpips else "  –  "])

    @property
    def mean(self) -> float:
        return float(np.mean(self.psnr))


def decibels(error: Tensor) -> float:
    return float(-10 * torch.log10(error.clamp(min=1e-10)))


def judge(
    clip: Clip, made: Made, perceptual: PerceptualPrior | None, frames: range, views: range | None = None
) -> Score:
    score = Score()
    for frame in frames:
        for view in views or range(1, len(clip.cameras)):
            score.add(made(frame, view), clip.pictures[frame, view], perceptual)
    return score


def card(clip: Clip) -> Made:
    """The video's picture on the plane through the origin that faces its camera, seen from both sides."""
    size, first = clip.pictures.shape[2], clip.cameras.world_to_camera[0].astype(np.float64)
    ahead, center = first[2, :3], clip.cameras.centers[0].astype(np.float64)
    line = np.arange(size) + 0.5

    def made(frame: int, view: int) -> Tensor:
        pose, lens = clip.cameras.world_to_camera[view].astype(np.float64), clip.cameras.intrinsics[view]
        column, row = np.meshgrid(line, line)
        own = np.stack([(column - lens[0, 2]) / lens[0, 0], (row - lens[1, 2]) / lens[1, 1], np.ones_like(row)], -1)
        along = own @ pose[:3, :3]
        eye = -pose[:3, :3].T @ pose[:3, 3]
        toward = along @ ahead
        far = -(eye @ ahead) / np.where(np.abs(toward) < 1e-9, np.inf, toward)
        seen = (eye + far[..., None] * along - center) @ first[:3, :3].T
        place = seen @ clip.cameras.intrinsics[0].T
        grid = place[..., :2] / place[..., 2:] / size * 2 - 1
        grid[(far <= 0) | (place[..., 2] <= 0)] = 9  # beside the picture
        picture = clip.pictures[frame, 0].permute(2, 0, 1)[None]
        sampled = torch.nn.functional.grid_sample(picture, torch.from_numpy(grid).float()[None], align_corners=False)
        return sampled[0].permute(1, 2, 0)

    return made


class Network:
    """What a network makes of a clip; `ring` tells whether it is given four views at the first moment."""

    def __init__(self, networks: Networks, clip: Clip, device: torch.device, ring: bool) -> None:
        self.clip, self.device = clip, device
        size = networks.variant.size
        self.passes = Passes(networks, cameras_of(None, 0.0), device)
        self.video, sides = (_sized(clip.pictures[part], size) for part in ((slice(None), 0), (0, slice(1, RING))))
        started = time.perf_counter()
        found = self.passes.moments(self.video, sides if ring else None)
        self.seconds = time.perf_counter() - started
        self.moments = [moment.gaussians.torch(device) for moment in found]

    def __call__(self, frame: int, view: int) -> Tensor:
        return _drawn(self.moments[frame], self.clip.cameras.take([view]))

    def refined(self) -> Made:
        """The same pass refined, as `legs4d object --method onepass --refine` does."""
        clip, device = self.clip, self.device
        video = (clip.pictures[:, 0] * 255).round().to(torch.uint8).numpy()
        shown = Shown.of(video, clip.cameras.take([0]), None, 0.0)
        began = time.process_time()
        loose = [[moment.numpy() for moment in self.moments]]
        if self.passes.variant.knows_what_is_missing:
            other = self.passes.moments(self.video.flip(2), None)
            loose.append([mirrored(moment.gaussians) for moment in other])
        with torch.inference_mode(False):
            seen = [moments.__getitem__ for moments in loose]
            work = Refinement(shown, seen, Refining.of(device), device, StageReporter("looking_around"))
            work.follow(StageReporter("following"))
            while work.fit.done < work.fit.total:
                work.fit.advance()
        took = time.process_time() - began
        print(f"{clip.name:12} refined: {work.fit.canonical.count} Gaussians, {took:.0f} s of CPU", flush=True)
        last = max(len(video) - 1, 1)
        return lambda frame, view: _drawn(work.fit.gaussians_at(frame / last), clip.cameras.take([view]))

    def kept(self, frame: int, view: int) -> Tensor:
        """The first moment, at any time."""
        return self(0, view)


def _drawn(gaussians: Gaussians, camera: Cameras) -> Tensor:
    """[S, S, 4] 0..1, colours times alpha."""
    drawn = render(gaussians, camera, near=NEAR)
    return torch.cat([drawn.color[0], drawn.alpha[0, ..., None]], dim=-1).clamp(0, 1).cpu()


def _sized(pictures: Tensor, size: int) -> Tensor:
    """[N, size, size, 4]."""
    values = pictures.permute(0, 3, 1, 2)
    if values.shape[-1] != size:
        values = torch.nn.functional.interpolate(values, (size, size), mode="bilinear", antialias=True)
    return values.permute(0, 2, 3, 1).clamp(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filmed", type=Path)
    parser.add_argument("--weights", type=Path, nargs="*")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-lpips", action="store_true", help="leave that out: it takes a second a picture on a CPU")
    parser.add_argument("--refine", nargs="*", metavar="NAME", help="refine these models too; alone all of them")
    parser.add_argument("--workers", type=int, default=1, help="models at once")
    parser.add_argument("--sheet", type=Path, help="a picture of what was made of every clip")
    asked = figures.parse(parser)
    if asked.refine is not None and asked.weights is None:
        parser.error("--refine needs what a network made: give --weights")
    work = _Work(asked.device, asked.weights, not asked.no_lpips, asked.refine)
    folders = [path.parent for path in sorted(asked.filmed.glob("*/views.json"))]
    means: dict[str, list[float]] = {}
    gains: dict[str, list[float]] = {}
    perceived: dict[str, list[float]] = {}
    print("dB on white, dB masked, LPIPS")
    for folder, found in zip(folders, _each(work, folders, asked.workers), strict=True):
        for name, score in found.items():
            means.setdefault(name, []).append(score.mean)
            if score.lpips:
                perceived.setdefault(f"{name}, LPIPS", []).append(float(np.mean(score.lpips)))
            print(f"{folder.name:12} {name:18} {score.told()}", flush=True)
        for name, (score, base) in compared(found).items():
            gains.setdefault(name, []).append(score.mean - base.mean)
            gains.setdefault(f"{name}, masked", []).append(float(np.mean(score.masked) - np.mean(base.masked)))
    for name, values in means.items():
        print(f"{'mean':12} {name:18} {np.mean(values):5.1f}, least {min(values):.1f}")
    for name, values in gains.items():
        print(f"{'gain':12} {name:32} {np.mean(values):5.1f}, least {min(values):.1f}")
    for name, values in perceived.items():
        print(f"{'mean':12} {name:18} {np.mean(values):.3f}, most {max(values):.3f}")
    record(means, gains, perceived, None if work.networks is None else work.networks.variant.name)
    if asked.sheet is not None:
        draw([Clip.read(folder) for folder in folders], work.networks, work.device).save(asked.sheet)


@dataclass(frozen=True)
class _Work:
    """What is done of every clip, as other processes are told it.

    Attributes:
        weights: None for no network; refine: names of models, all of them where it is empty, None for none.
    """

    device_name: str
    weights: list[Path] | None
    with_lpips: bool
    refine: list[str] | None

    @property
    def device(self) -> torch.device:
        return torch.device(self.device_name)

    @cached_property
    def networks(self) -> Networks | None:
        return None if self.weights is None else open_networks(self.weights, self.device)

    @cached_property
    def perceptual(self) -> PerceptualPrior | None:
        prior = find_prior("lpips-alex")
        there = self.with_lpips and is_there(prior, priors_folder())
        return open_prior(prior.name, self.device) if there else None

    def of(self, folder: Path) -> dict[str, Score]:
        clip = Clip.read(folder)
        refine = self.refine is not None and (not self.refine or clip.name in self.refine)
        with torch.inference_mode():
            return rows(clip, self.networks, self.device, self.perceptual, refine=refine)


def _each(work: _Work, folders: list[Path], workers: int) -> Iterator[dict[str, Score]]:
    """The scores of every clip, in order."""
    if workers == 1:
        yield from map(work.of, folders)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(work.of, folders)


def rows(
    clip: Clip,
    networks: Networks | None,
    device: torch.device,
    perceptual: PerceptualPrior | None,
    *,
    refine: bool = False,
) -> dict[str, Score]:
    """Every score of a clip."""
    whole = range(len(clip.pictures))
    later = range(1, len(clip.pictures))
    flat = card(clip)
    found = {
        "white": judge(clip, lambda frame, view: torch.zeros_like(clip.pictures[0, 0]), None, whole),
        "card": judge(clip, flat, perceptual, whole),
        "frozen": judge(clip, lambda frame, view: clip.pictures[0, view], perceptual, later),
    }
    for name, ring in (("one view", False), ("four views", True)) if networks else ():
        made = Network(networks, clip, device, ring)  # type: ignore[arg-type]
        found[name] = judge(clip, made, perceptual, whole)
        found[f"{name}, input"] = judge(clip, made, perceptual, whole, range(1))
        found[f"{name}, later"] = judge(clip, made, None, later)
        found[f"{name}, own frozen"] = judge(clip, made.kept, None, later)
        if refine and not ring:
            better = made.refined()
            found["refined"] = judge(clip, better, perceptual, whole)
            found["refined, input"] = judge(clip, better, perceptual, whole, range(1))
        print(f"{clip.name:12} {name}: one pass of {len(whole)} frames in {made.seconds:.2f} s")
    return found


def compared(found: dict[str, Score]) -> dict[str, tuple[Score, Score]]:
    """What is told as more than something else: of whose scores, and of whose."""
    pairs = {}
    for name in ("one view", "four views"):
        if name in found:
            pairs[f"{name} over the card"] = found[name], found["card"]
            pairs[f"{name} over its own frozen first frame"] = found[f"{name}, later"], found[f"{name}, own frozen"]
    if "refined" in found:
        pairs["refined over one view"] = found["refined"], found["one view"]
        pairs["refined over one view, input"] = found["refined, input"], found["one view, input"]
    return pairs


AIMS = {
    "four views": "18.5 dB",
    "one view, input": "26 dB",
    "one view over the card": "3 dB, least 1.5",
    "one view over the card, masked": "3 dB, least 1.5",
    "one view over its own frozen first frame": "0 dB, least",
    "refined over one view": "0 dB",
    "refined over one view, input": "1.5 dB",
}


def record(
    means: dict[str, list[float]],
    gains: dict[str, list[float]],
    perceived: dict[str, list[float]],
    network: str | None,
) -> None:
    made = network or "no network"
    for name, values in (means | gains | perceived).items():
        what = f"{made}, {len(values)} glTF models, nine novel views of four moments: {name}"
        if (network is None) == name.startswith(("white", "card", "frozen")):
            told = f"{np.mean(values):.1f} dB, least {min(values):.1f}"
            if name in perceived:
                told = f"{np.mean(values):.3f}, most {max(values):.3f}"
            figures.record(SUBJECT, what, told, aim=AIMS.get(name, ""))


def draw(clips: list[Clip], networks: Networks | None, device: torch.device) -> Image.Image:
    """A row a clip, the last moment: the video, then truth above card, and what the network makes, from other sides."""
    lines = []
    with torch.inference_mode():
        for clip in clips:
            last, views = len(clip.pictures) - 1, (1, 2, 3, 5, 7)
            made: list[Made] = [clip.look, card(clip)]
            if networks is not None:
                made += [Network(networks, clip, device, ring) for ring in (False, True)]
            strips = [torch.cat([each(last, view) for view in (0, *views)], dim=1) for each in made]
            lines.append(torch.cat(strips, dim=1))
    sheet = torch.cat(lines)
    shown = (sheet[..., :3] + 1 - sheet[..., 3:]).clamp(0, 1)
    return Image.fromarray((shown * 255).round().to(torch.uint8).numpy())


if __name__ == "__main__":
    main()
