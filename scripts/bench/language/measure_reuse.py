"""Measure what an encoder's features of the foreground lose by not seeing crops anew in which little has moved.

    python scripts/bench/language/measure_reuse.py ../shared/data/basketball --encoder tiny [--weights FILE] \
        [--change 0.01]

At some timesteps, in every few cameras, all crops that the foreground reads are seen; beside them stands what
extraction would have kept. `count_crops.py` says how many it leaves out, and the same of mean colours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.language.count_crops import PIXEL_STEP, plans
from legs4d.config import ExtractSettings
from legs4d.context import EncoderFiles
from legs4d.language.embedding.changes import StillCrops
from legs4d.language.embedding.crops import FrameRing
from legs4d.language.embedding.embed import CropEmbedder
from legs4d.language.embedding.extract import choose_device
from legs4d.language.embedding.pyramid import pyramid, window
from legs4d.language.encoders import get_encoder, sees
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence


class Seen:
    """Embeddings of crops of any timestep."""

    def __init__(self, sequence: Sequence, encoder: str, weights: Path | None, engine: str) -> None:
        found, device = get_encoder(encoder, EncoderFiles(weights)), choose_device(engine)
        assert sees(found), encoder
        cameras = sequence.cameras("train", 0)
        self.sequence, self.shape = sequence, pyramid(cameras.height, cameras.width)
        self._ring = FrameRing(sequence, self.shape, device)
        still = StillCrops(self.shape, len(cameras), self._ring.means, threshold=0)
        self._embedder = CropEmbedder(found, self.shape, self._ring, device, still)

    def rows(self, timestep: int, cameras: NDArray[np.integer], crops: NDArray[np.integer]) -> NDArray[np.float32]:
        frames = window(timestep, self.sequence.num_frames)
        self._ring.keep(self._embedder.needs(frames))
        return self._embedder.embed(frames, cameras, crops, lambda: None).astype(np.float32)

    def close(self) -> None:
        self._embedder.close()
        self._ring.close()


def features_then_and_now(
    seen: Seen, timestep: int, source: NDArray[np.int32], cameras: Iterable[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features [n, D] of pixels of the foreground: of crops embedded at `source` [C, R], and at this timestep."""
    masks = seen.sequence.masks("train", timestep)
    assert masks is not None, "the dataset has no masks"
    index, weight = seen.shape.taps
    then: list[NDArray[np.float32]] = []
    now: list[NDArray[np.float32]] = []
    for camera in cameras:
        inside = np.zeros(masks[camera].shape, bool)
        inside[::PIXEL_STEP, ::PIXEL_STEP] = masks[camera, ::PIXEL_STEP, ::PIXEL_STEP] > 0
        crops = np.unique(index[inside][weight[inside] > 0])
        place = np.zeros(seen.shape.num_crops, np.intp)
        place[crops] = np.arange(len(crops))
        fresh = seen.rows(timestep, np.full(len(crops), camera), crops)
        kept = fresh.copy()
        for earlier in np.unique(source[camera, crops]).tolist():
            some = source[camera, crops] == earlier
            if earlier != timestep:
                kept[some] = seen.rows(earlier, np.full(some.sum(), camera), crops[some])
        taps, shares = place[index[inside]], weight[inside][..., None]
        for rows, features in ((kept, then), (fresh, now)):
            features.append((rows[taps] * shares).sum(axis=1))
    return np.concatenate(then), np.concatenate(now)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-12))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--engine", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--change", type=float, default=ExtractSettings().change)
    parser.add_argument("--timesteps", type=int, nargs="+", default=[6, 12, 18, 24])
    parser.add_argument("--camera-step", type=int, default=5)
    options = figures.parse(parser)
    sequence = open_sequence(options.dataset, options.scale)
    seen = Seen(sequence, options.encoder, options.weights, options.engine)
    cameras = range(0, len(sequence.cameras("train", 0)), options.camera_step)
    then, now = [], []
    for timestep, grid, _, _ in plans(sequence, ExtractSettings(change=options.change)):
        if timestep in options.timesteps:
            both = features_then_and_now(seen, timestep, grid.source, cameras)
            print(f"timestep {timestep}: cosine in the mean {cosine(*both).mean():.4f}", flush=True)
            then.append(both[0])
            now.append(both[1])
    seen.close()
    kept, fresh = np.concatenate(then), np.concatenate(now)
    same = cosine(kept, fresh)
    others = cosine(fresh, fresh[torch.randperm(len(fresh), generator=torch.Generator().manual_seed(0)).numpy()])
    lost = (1 - same.mean()) / (1 - others.mean())
    print(f"{len(same)} pixels of the foreground in {len(cameras)} cameras, cosine to what is seen anew:")
    print(f"{same.mean():.5f} in the mean, {np.quantile(same, 0.01):.4f} at the worst hundredth")
    print(f"between pixels at random {others.mean():.4f}: so {lost:.1%} of what tells two pixels apart")
    what = f"what crops that are not embedded again change, {options.encoder}, change {options.change:g}: cosine"
    said = f"{same.mean():.5f} in the mean, {np.quantile(same, 0.01):.4f} at the worst hundredth"
    figures.record("Crops that are embedded again", what, f"{said}: {lost:.1%} of what tells two pixels apart")


if __name__ == "__main__":
    main()
