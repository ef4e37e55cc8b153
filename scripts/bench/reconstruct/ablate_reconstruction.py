"""Train variants of the reconstruction without some training cameras and compare them there: how settings are chosen.

    scripts/bench/reconstruct/ablate_reconstruction.py DATASET --frames 1 \
        --variant "more dropout: first_frame.dropout=0.2"

The test cameras are reported beside, never chosen by. A variant is a name and settings that differ from the preset's.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import Preset, ReconstructSettings
from legs4d.context import Context
from legs4d.gaussians.store.run import Run
from legs4d.progress import Progress, Stopped
from legs4d.raster import render
from legs4d.reconstruct.evaluation.evaluate import fit_gain, psnr
from legs4d.reconstruct.stages import Reconstruction, choose_device
from legs4d.reconstruct.vignette import as_filmed
from legs4d.scene.camera import Cameras
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence, Split
from legs4d.settings import read_settings

HELD_OUT = (8, 12, 18, 29)
"""Of the basketball capture: spread around it, and none with a player right in front."""


@dataclass
class Without:
    """A sequence that keeps some training cameras to itself."""

    sequence: Sequence
    held_out: tuple[int, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sequence, name)

    def kept(self, frame: int) -> list[int]:
        ids = self.sequence.cameras("train", frame).ids
        return [i for i, camera in enumerate(ids) if camera not in self.held_out]

    def cameras(self, split: Split, frame: int) -> Cameras:
        cameras = self.sequence.cameras(split, frame)
        return cameras.take(self.kept(frame)) if split == "train" else cameras

    def _positions(self, split: Split, frame: int, cameras: list[int] | None) -> list[int] | None:
        kept = self.kept(frame) if split == "train" else None
        if kept is None or cameras is None:
            return cameras if kept is None else kept
        return [kept[i] for i in cameras]

    def images(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32]:
        return self.sequence.images(split, frame, self._positions(split, frame, cameras))

    def in_bytes(self, split: Split, frame: int, camera: int) -> NDArray[np.uint8]:
        return self.sequence.in_bytes(split, frame, self.kept(frame)[camera] if split == "train" else camera)

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        return self.sequence.masks(split, frame, self._positions(split, frame, cameras))

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        return self.sequence.objects(split, frame, self._positions(split, frame, cameras))

    def fingerprint(self, *, language: bool = False) -> str:
        return f"{self.sequence.fingerprint(language=language)} without {self.held_out}"


class AfterFrames:
    """Told of progress, it stops the work when so many frames of a longer clip are done."""

    def __init__(self, frames: int, of: int) -> None:
        self.frames, self.of, self.reached = frames, of, False

    def __call__(self, progress: Progress) -> None:
        if self.frames == self.of:  # what comes after tracking is wanted too
            return
        enough = self.frames - 1 if progress.stage == "tracking" else progress.total if self.frames == 1 else math.inf
        self.reached |= progress.done >= enough

    def is_set(self) -> bool:
        return self.reached


def varied(preset: Preset, assignments: list[str]) -> ReconstructSettings:
    """The preset's settings, and on top of them `a.b=value`."""
    return ReconstructSettings(**read_settings(ReconstructSettings, assignments)).with_preset(preset)


def scores(
    run: Run,
    frames: int,
    sequence: Sequence,
    split: Split,
    cameras: list[int] | None,
    device: torch.device,
    sheet: Path | None,
) -> list[list[float]]:
    """PSNR in dB of every frame: plain, and with gain and offset fitted; means over the cameras."""
    table, rows = [], []
    for frame in range(frames):
        views = sequence.cameras(split, frame)
        views = views if cameras is None else views.take(cameras)
        truth = torch.as_tensor(sequence.images(split, frame, cameras), device=device)
        with torch.no_grad():
            plain = as_filmed(render(run.frame(frame).torch(device), views, near=run.info["near"]).color, run, views)
            fitted = fit_gain(plain, truth).clamp(0, 1)
        table.append([float(psnr(image, truth).mean()) for image in (plain, fitted)])
        if sheet is not None and frame in (0, frames // 2, frames - 1):
            error = (4 * (fitted - truth) + 0.5).clamp(0, 1)
            rows += [torch.cat(row, dim=1)[::2, ::2] for row in zip(truth, fitted, error, strict=True)]
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((torch.cat(rows) * 255).byte().cpu().numpy()).save(sheet)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--preset", default="full", choices=["quick", "full"])
    parser.add_argument("--hold", type=int, nargs="*", default=list(HELD_OUT), help="training cameras left out")
    parser.add_argument("--variant", action="append", default=[], help='"name: setting=value setting=value"')
    parser.add_argument("--pictures", type=Path, help="folder for truth, rendering and error of each variant")
    arguments = figures.parse(parser)
    device = choose_device(arguments.engine)
    whole = open_sequence(arguments.dataset, arguments.scale)
    sequence = Without(whole, tuple(arguments.hold))
    frames = min(arguments.frames, whole.num_frames)
    held = [i for i, camera in enumerate(whole.cameras("train", 0).ids) if camera in arguments.hold]
    print("dB plain/fitted, of the first and the last frame, and the mean: held-out cameras, then test cameras")
    print(f"{'variant':28}{'first s':>9}{'s/frame':>9}{'static':>9}{'moving':>8}", flush=True)
    for variant in arguments.variant or ["preset:"]:
        name, _, rest = variant.partition(":")
        settings = varied(arguments.preset, rest.split())
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(Path(folder) / "run")
            started = time.perf_counter()
            with run.lock():
                enough = AfterFrames(frames, whole.num_frames)
                with suppress(Stopped):
                    Reconstruction(run, sequence, settings, device, Context(progress=enough, stop=enough)).finish()
            seconds = time.perf_counter() - started
            line = f"{name:28}{run.stages['first_frame'].seconds:9.1f}"
            later = seconds - run.stages["first_frame"].seconds
            line += f"{later / max(frames - 1, 1):9.2f}{run.num_static:9}{run.num_dynamic:8}  "
            for split, cameras in (("train", held), ("test", None)):
                if split == "train" and not held:
                    continue
                sheet = arguments.pictures / f"{name.replace(' ', '_')}_{split}.png" if arguments.pictures else None
                table = scores(run, frames, whole, split, cameras, device, sheet)  # type: ignore[arg-type]
                ends = [f"{plain:.2f}/{fitted:.2f}" for plain, fitted in (table[0], table[-1])]
                mean = np.mean(table, axis=0)
                line += f" {ends[0]}..{ends[1]} mean {mean[0]:.2f}/{mean[1]:.2f} "
                views = "held out" if split == "train" else "test"
                what = f"{arguments.preset}, {name}, {views} cameras: PSNR plain / gain fitted"
                figures.record("Variants of reconstruction", what, f"{mean[0]:.2f} / {mean[1]:.2f} dB")
            print(line, flush=True)


if __name__ == "__main__":
    main()
