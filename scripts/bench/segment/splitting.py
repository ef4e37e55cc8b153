"""What splitting border Gaussians would bring: those that lie across an outline become halves, which are labelled anew.

scripts/bench/segment/splitting.py CAPTURE RUN [--rounds 3]

As `segments.py --demo`, with and without. A Gaussian that is partly in a thing is cut in two along its longest axis
(means apart by 0.7 of its standard deviation to either side, so that the halves have its variance), and again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.segment.segments import Scene, tell
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.gaussians.store.run import Run
from legs4d.reconstruct.fitting.quaternions import rotation_matrices
from legs4d.scene.camera import Cameras
from legs4d.segment.masks.frame_masks import masks_of_labels

APART = 0.7
"""Of the standard deviation; also the share of the opacity that a half keeps, so that both together show as much."""
ACROSS = 0.12
"""Share of a Gaussian in a thing, and out of it, from which it lies across the outline."""
LEAST_MASS = 0.5
"""Pixels that it has to fill."""


def halved(gaussians: Gaussians, which: NDArray[np.bool_]) -> Gaussians:
    """Those that are not meant, then two for each that is."""
    parts = gaussians.take(which)
    row, longest = np.arange(len(parts)), parts.scales.argmax(axis=1)
    axes = rotation_matrices(torch.from_numpy(parts.quats)).numpy()[row, :, longest]
    offset = (APART * parts.scales[row, longest])[:, None] * axes
    scales = parts.scales.copy()
    scales[row, longest] *= np.sqrt(1 - APART**2)
    halves = [
        parts.replace(means=(parts.means + sign * offset).astype(np.float32), scales=scales) for sign in (1.0, -1.0)
    ]
    halves = [half.replace(opacities=half.opacities * np.float32(APART)) for half in halves]
    return concatenate(gaussians.take(~which), *halves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    asked = figures.parse(parser)
    run = Run.open(asked.run)
    train, test, near = run.cameras("train"), run.cameras("test"), float(run.info["near"])
    number = int(run.info["frame_numbers"][0])

    def labels(cameras: Cameras) -> NDArray[np.uint8]:
        places = [asked.capture / "objects" / str(camera) / f"{number:06d}.png" for camera in cameras.ids]
        return np.stack([np.asarray(Image.open(place)) for place in places])

    true, truth = labels(train), labels(test)
    for count in (3, len(train)):
        views = np.linspace(0, len(train), count, endpoint=False).astype(int)
        masks = replace(masks_of_labels(0, train.take(views), true[views]), unsure=None)  # halves are told by outlines
        scene = Scene(run.frame(0), near, test, truth, "cpu")
        tell(f"demo, {count} views, no Gaussian split", scene.judge(scene.segments(masks)), "")
        for turn in range(asked.rounds):
            evidence = scene.evidence(masks)
            shares = evidence.shares().toarray()
            across = ((shares > ACROSS) & (shares < 1 - ACROSS)).any(axis=1) & (evidence.mass > LEAST_MASS)
            scene = Scene(halved(scene.gaussians, across), near, test, truth, "cpu")
            what = f"demo, {count} views, border Gaussians split {turn + 1} × ({int(across.sum())} now)"
            tell(what, scene.judge(scene.segments(masks)), "")


if __name__ == "__main__":
    main()
