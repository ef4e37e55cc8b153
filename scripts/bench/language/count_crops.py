"""Count the crops of a dataset that extraction embeds, by its settings, and how much the foreground changes by it.

    python scripts/bench/language/count_crops.py ../shared/data/basketball

The features are those of `shared/reference/pyramid.npz`, in which a crop's embedding is its mean colour, but with one
colour for each of the clip's 8 frames, so that what moves within a clip counts too.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from legs4d.config import ExtractSettings
from legs4d.context import EncoderFiles
from legs4d.language.calibration import CLIP
from legs4d.language.embedding.extract import Extractor, describe
from legs4d.language.embedding.features import ClipModel, FrameModel
from legs4d.language.embedding.grids import Grid, GridStore
from legs4d.language.embedding.pyramid import Pyramid, pyramid, window
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

PIXEL_STEP = 6
"""Features are compared at every so many pixels: crops are so large that those between say nothing else."""


class Counting:
    """An encoder of which only the plans are asked."""

    name, dim, version, calibration = "counting", 24, 1, CLIP
    files, weights_id, input_size = EncoderFiles(), "", 1
    mean = std = (1.0, 1.0, 1.0)

    def encode_text(self, phrases: list[str]) -> NDArray[np.float32]:
        raise NotImplementedError

    def vision(self, device: torch.device) -> ClipModel | FrameModel:
        raise NotImplementedError

    def save_text(self, folder: Path) -> None:
        raise NotImplementedError


def crop_colors(images: NDArray[np.float32], shape: Pyramid) -> NDArray[np.float32]:
    """[C, H, W, 3] → [C, R, 3] mean colour of each crop, zero outside the image."""
    sums = np.pad(images.astype(np.float64).cumsum(axis=1).cumsum(axis=2), ((0, 0), (1, 0), (1, 0), (0, 0)))
    top, left, size = shape.boxes.T
    y0, y1 = (np.clip(y, 0, shape.height) for y in (top, top + size))
    x0, x1 = (np.clip(x, 0, shape.width) for x in (left, left + size))
    inside = sums[:, y1, x1] - sums[:, y0, x1] - sums[:, y1, x0] + sums[:, y0, x0]
    return (inside / (size**2)[:, None]).astype(np.float32)


@dataclass
class Change:
    """Of the foreground's features: the sum of |difference| over pixels, the greatest of a pixel, the pixels."""

    total: float = 0.0
    worst: float = 0.0
    pixels: int = 0

    def add(self, full: NDArray[np.float32], reused: NDArray[np.float32]) -> None:
        change = np.abs(full - reused).mean(axis=-1)
        self.total, self.pixels = self.total + float(change.sum()), self.pixels + change.size
        self.worst = max(self.worst, float(change.max(initial=0)))


def plans(sequence: Sequence, settings: ExtractSettings) -> Iterator[tuple[int, Grid, int, float]]:
    """Of each timestep its grid, without rows; how many crops it embeds; and the seconds that planning it took."""
    told = describe(sequence, Counting(), settings)
    extractor = Extractor(GridStore(Path("nowhere"), told), sequence, Counting(), settings, torch.device("cpu"))
    previous: Grid | None = None
    for at, timestep in enumerate(told.timesteps):
        started = time.perf_counter()
        plan = extractor.plan(timestep, None if at % settings.block == 0 else previous)
        seconds = time.perf_counter() - started
        first = told.timesteps[at - at % settings.block]
        previous = Grid(np.zeros((0, 0), np.float16), *plan.places(timestep, first, previous, background=True))
        yield timestep, previous, int(plan.embed.sum()), seconds
    extractor.close()


def count(
    sequence: Sequence, settings: ExtractSettings, colors: list[NDArray[np.float32]]
) -> tuple[int, int, float, Change]:
    """(crops embedded, crops read by the foreground, seconds of planning, change of the foreground's features)."""
    cameras = sequence.cameras("train", 0)
    shape = pyramid(cameras.height, cameras.width)
    index, weight = shape.taps
    embedded = read = 0
    seconds, change = 0.0, Change()
    for timestep, grid, new, took in plans(sequence, settings):
        source = grid.source
        masks = sequence.masks("train", timestep)
        assert masks is not None, "the dataset has no masks"
        read += int(shape.read_by(masks > 0).sum())
        embedded, seconds = embedded + new, seconds + took
        frames = np.stack([colors[f] for f in window(timestep, sequence.num_frames)])
        for camera in range(len(cameras)):
            inside = np.zeros(masks[camera].shape, bool)
            inside[::PIXEL_STEP, ::PIXEL_STEP] = masks[camera, ::PIXEL_STEP, ::PIXEL_STEP] > 0
            now = np.concatenate(frames[:, camera], axis=-1)
            then = now.copy()
            for earlier in np.unique(source[camera][source[camera] >= 0]).tolist():
                some = source[camera] == earlier
                held = [colors[f][camera, some] for f in window(earlier, sequence.num_frames)]
                then[some] = np.concatenate(held, axis=-1)
            taps, shares = index[inside], weight[inside][..., None]
            change.add((now[taps] * shares).sum(1), (then[taps] * shares).sum(1))
    return embedded, read, seconds, change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--change", type=float, nargs="+", default=[0, 0.005, 0.01, 0.02])
    arguments = figures.parse(parser)
    sequence = open_sequence(arguments.dataset, arguments.scale)
    cameras = sequence.cameras("train", 0)
    shape = pyramid(cameras.height, cameras.width)
    everything = len(cameras) * shape.num_crops * sequence.num_frames
    print(f"{len(cameras)} cameras, {cameras.width}x{cameras.height}, {shape.num_crops} crops each,", end=" ")
    print(f"{sequence.num_frames} timesteps: {everything:,} crops")
    colors = [crop_colors(sequence.images("train", t), shape) for t in range(sequence.num_frames)]
    print(f"spread of the colours over crops: {np.std(np.stack(colors)):.3f}")
    print(f"{'change':>8}{'embedded':>12}{'share':>8}{'foreground':>12}{'mean diff':>11}{'worst':>8}{'plan s/t':>10}")
    for threshold in arguments.change:
        embedded, read, seconds, change = count(sequence, ExtractSettings(change=threshold), colors)
        print(
            f"{threshold:8.3f}{embedded:12,}{embedded / everything:8.1%}{read / everything:12.1%}"
            f"{change.total / change.pixels:11.5f}{change.worst:8.4f}{seconds / sequence.num_frames:10.2f}",
            flush=True,
        )
        said = f"{embedded / everything:.1%}, {change.total / change.pixels:.5f}, {change.worst:.4f}"
        what = f"change {threshold:g}: crops embedded; mean and worst change of colours"
        figures.record("Crops that are embedded again", what, said)


if __name__ == "__main__":
    main()
