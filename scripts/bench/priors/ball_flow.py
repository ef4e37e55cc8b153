"""How much of a fast ball optical flow carries into the ball of the next frame: GMFlow beside DIS, from true masks.

    python scripts/bench/priors/ball_flow.py DATASET --object 2 --cameras 3

For each camera the pair of neighbouring frames is taken between which the object moves farthest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.priors.cache import open_prior
from legs4d.priors.flow.dis import DisFlow
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence

SUBJECT = "Learned helpers"
LEAST = 40.0
"""Pixels between two frames: slower ones are no test."""
NEAR = 2
"""Pixels off the mask that still count."""


def landing(flow: NDArray[np.float32], mask: NDArray[np.bool_], then: NDArray[np.bool_]) -> float:
    """Share of a mask's pixels that flow carries into the mask of the next frame, or near it."""
    rows, columns = np.nonzero(mask)
    moved = np.rint(flow[rows, columns] + np.stack([columns, rows], axis=1)).astype(int)
    near = binary_dilation(then, iterations=NEAR)
    inside = (moved >= 0).all(axis=1) & (moved < [mask.shape[1], mask.shape[0]]).all(axis=1)
    moved = np.clip(moved, 0, [mask.shape[1] - 1, mask.shape[0] - 1])
    return float((near[moved[:, 1], moved[:, 0]] & inside).mean())


def fastest(sequence: Sequence, camera: int, identity: int) -> tuple[float, int]:
    """Pixels by which an object moves between a frame and the next, and that frame, where that is most."""
    middles = []
    for frame in range(sequence.num_frames):
        labels = sequence.objects("train", frame, [camera])
        assert labels is not None
        rows, columns = np.nonzero(labels[0] == identity)
        whole = len(rows) > 40 and rows.min() > 0 and columns.min() > 0
        middles.append([columns.mean(), rows.mean()] if whole else [np.nan, np.nan])
    steps = np.nan_to_num(np.linalg.norm(np.diff(middles, axis=0), axis=1))
    return float(steps.max()), int(steps.argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--object", type=int, default=2)
    parser.add_argument("--cameras", type=int, default=3, help="so many, those in which it moves farthest first")
    parser.add_argument("--priors", type=Path)
    asked = parse(parser)
    sequence = open_sequence(asked.dataset)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gmflow, dis = open_prior("gmflow", device, asked.priors), DisFlow()
    pairs = [(*fastest(sequence, camera, asked.object), camera) for camera in range(len(sequence.cameras("train", 0)))]
    print("camera  frame   px   GMFlow  DIS in crops  DIS   GMFlow s")
    for moved, frame, camera in sorted(pairs, reverse=True)[: asked.cameras]:
        if moved < LEAST:
            break
        first, second = (sequence.images("train", f, [camera])[0] for f in (frame, frame + 1))
        masks = [sequence.objects("train", f, [camera]) for f in (frame, frame + 1)]
        here, there = (labels[0] == asked.object for labels in masks if labels is not None)
        began = time.process_time()
        learned = gmflow.flow(first, second)
        took = time.process_time() - began
        shares = [landing(f, here, there) for f in (learned, dis.flow_of(first, second, here), dis.flow(first, second))]
        name = sequence.cameras("train", frame).ids[camera]
        print(
            f"{name:6} {frame:6} {moved:5.0f}  {shares[0]:6.2f}  {shares[1]:12.2f}  {shares[2]:4.2f} {took:9.1f}",
            flush=True,
        )
        record(
            SUBJECT,
            f"basketball, camera {name}, {moved:.0f} px from frame {frame} on: the pixels of the ball that land in it",
            f"GMFlow {shares[0]:.2f}, DIS in crops {shares[1]:.2f}, DIS {shares[2]:.2f}",
            aim="GMFlow 0.85",
        )


if __name__ == "__main__":
    main()
