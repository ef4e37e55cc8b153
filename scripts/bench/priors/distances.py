"""What LPIPS says of real pictures that are nearly alike: two frames apart, and blurred.

    python scripts/bench/priors/distances.py DATASET [--network lpips-vgg] [--cameras 1,11,13]

Floors are a picture's distance to itself, 0, and to noise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import uniform_filter

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench.figures import parse, record
from legs4d.config import DatasetSettings
from legs4d.priors.cache import open_prior
from legs4d.scene.readers import open_sequence

SUBJECT = "Learned helpers"
APART, BLUR = 2, 5
"""Frames, and pixels of a box that blurs."""
AIMS = {"lpips-alex": ("0.044 ± 0.01", "0.27 ± 0.03"), "lpips-vgg": ("", "")}
"""Of the basketball."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--network", default="lpips-alex", choices=sorted(AIMS))
    parser.add_argument("--cameras", default="", metavar="NAME,…", help="all for training by default")
    parser.add_argument("--priors", type=Path, help="folder of weights, if not the usual one")
    asked = parse(parser)
    sequence = open_sequence(asked.dataset, DatasetSettings(cameras=asked.cameras.split(",") if asked.cameras else []))
    first, later = (sequence.images("train", frame) for frame in (0, APART))
    noise = np.random.default_rng(0).random(first.shape[1:]).astype(np.float32)
    network = open_prior(asked.network, torch.device("cpu"), asked.priors)
    apart = [network.distance(a, b) for a, b in zip(first, later, strict=True)]
    blurred = [network.distance(a, uniform_filter(a, (BLUR, BLUR, 0), mode="mirror")) for a in first]
    told = f"{network.distance(first[0], first[0]):.3f} to itself, {network.distance(first[0], noise):.2f} to noise"
    for what, values, aim in zip(
        (f"frames {APART} apart", f"blurred over {BLUR} px"), (apart, blurred), AIMS[asked.network], strict=True
    ):
        measured = f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f}); {told}"
        print(f"{asked.network}, {what}: {measured}", flush=True)
        record(SUBJECT, f"basketball, {len(values)} cameras, {asked.network}, {what}", measured, aim=aim)


if __name__ == "__main__":
    main()
