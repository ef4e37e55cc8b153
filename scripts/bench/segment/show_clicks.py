"""Clicks and what they mean as one picture: a row a scale, a column a click, the segment lit up and the click marked.

scripts/bench/segment/show_clicks.py RUN OUT.png [--clicks 6] [--frame 0] [--scales 0,0.5,1]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from legs4d.effects.highlight import highlight
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.segment.choose import at_click, weights_of
from legs4d.segment.segments import read_segments, slots_of
from legs4d.segment.views import clicked, near_of

MARK = 3
"""Pixels from a click to the end of its cross."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clicks", type=int, default=6)
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--scales", default="0,0.5,1")
    asked = parser.parse_args()
    run, rng = Run.open(asked.run), np.random.default_rng(0)
    segments, gaussians = read_segments(run), run.frame(asked.frame)
    cameras = run.cameras("test" if run.has_test_cameras else "train", asked.frame)
    inside = np.asarray(segments.members.sum(axis=1)) >= 0.5
    columns = []
    for _ in range(asked.clicks):
        view = cameras.take([int(rng.integers(len(cameras)))])
        pixel = _on_something(run, view, asked.frame, inside, rng)
        filled, pictures = clicked(run, view, asked.frame, pixel), []
        for scale in map(float, asked.scales.split(",")):
            try:
                chosen = at_click(segments, filled, scale).segments
            except Legs4dError as error:
                print(error)
                chosen = ()
            part = (weights_of(segments, chosen)[slots_of(run, asked.frame)] >= 0.5).astype(np.float32)
            with torch.no_grad():
                seen = render(gaussians.torch(), view, torch.from_numpy(part)[:, None], near=near_of(run))
            assert seen.features is not None
            matte = (seen.features[0, ..., 0] >= 0.5 * seen.alpha[0].clamp(min=0.5)).float().numpy()
            picture = highlight(seen.color[0].numpy(), matte)
            x, y = (int(value) for value in pixel)
            picture[max(0, y - MARK) : y + MARK + 1, x] = picture[y, max(0, x - MARK) : x + MARK + 1] = (0, 1, 1)
            pictures.append(picture)
        columns.append(np.concatenate(pictures))
    sheet = np.concatenate(columns, axis=1)
    Image.fromarray(np.rint(np.clip(sheet, 0, 1) * 255).astype(np.uint8)).save(asked.out)
    print(f"wrote {asked.out}: {len(segments)} segments")


def _on_something(
    run: Run, view: Cameras, frame: int, inside: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float]:
    """A pixel most of which is in some segment; the last that was tried where none is found."""
    for _ in range(60):
        pixel = float(rng.integers(view.width)), float(rng.integers(view.height))
        if clicked(run, view, frame, pixel)[inside].sum() > 0.6:
            break
    return pixel


if __name__ == "__main__":
    main()
