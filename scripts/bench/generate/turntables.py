"""A page of runs of objects as they look from all around: a row a run, the first and the last frame.

python scripts/bench/generate/turntables.py PAGE.png RUN…
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.gaussians.store.run import Run
from legs4d.generate.onepass.cameras import L4GM
from legs4d.raster import render

SIZE, ELEVATION = 128, 10.0
AZIMUTHS = tuple(45.0 * number for number in range(8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    asked = parser.parse_args()
    rows = []
    for path in asked.runs:
        run = Run.open(path)
        strips = [turned(run, frame) for frame in (0, run.num_frames - 1)]
        rows.append(np.concatenate(strips, axis=1))
    Image.fromarray(np.concatenate(rows)).save(asked.page)


def turned(run: Run, frame: int) -> np.ndarray:
    """[S, 9 · S, 3] uint8: from the video's camera, then all around."""
    gaussians = run.frame(frame).torch(torch.device("cpu"))
    white = torch.ones(3)
    cameras = [L4GM.cameras(0.0, 0.0, SIZE), L4GM.cameras(ELEVATION, AZIMUTHS, SIZE)]
    shown = torch.cat([render(gaussians, each, background=white, near=run.info["near"]).color for each in cameras])
    return (torch.cat(list(shown.clamp(0, 1)), dim=1) * 255).round().to(torch.uint8).numpy()


if __name__ == "__main__":
    main()
