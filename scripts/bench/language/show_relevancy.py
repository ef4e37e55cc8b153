"""A page of how relevant a run's Gaussians are to prompts, over time: a row for each prompt, one test camera.

    .venv/bin/python scripts/bench/language/show_relevancy.py out/demo/sight/run out/relevancy.png \
        --prompt "a door opening" [...]

Relevancy is laid over the grey picture from blue (little) to red (most); frames in which the prompt is found have a
white edge.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.effects.highlight import LUMA
from legs4d.effects.pages.contact_sheet import contact_sheet
from legs4d.gaussians.store.run import Run
from legs4d.grounding import Grounding, query
from legs4d.grounding.masks import render_views

EDGE = 2
"""Pixels."""
LABEL_CHARACTERS = 16


def write_relevancy(run: Run, groundings: list[Grounding], path: Path, columns: int = 8) -> None:
    """Write the page, of evenly spread frames."""
    from matplotlib import colormaps

    frames = np.linspace(0, run.num_frames - 1, min(columns, run.num_frames)).round().astype(int).tolist()
    camera, device = run.cameras("test").take([0]), torch.device("cpu")
    rows: dict[str, list[NDArray[np.floating]]] = {}
    for grounding in groundings:
        spans = ", ".join(f"{i.start} to {i.end}" for i in grounding.intervals) or "not found"
        rows["\n".join([*textwrap.wrap(grounding.prompt, LABEL_CHARACTERS), spans])] = [
            _picture(run, grounding, frame, camera, device, colormaps["turbo"]) for frame in frames
        ]
    contact_sheet(path, rows, [f"frame {frame}" for frame in frames], title=f"{run.path}: relevancy")


def _picture(run: Run, grounding: Grounding, frame: int, camera, device: torch.device, colors) -> NDArray[np.floating]:
    with torch.no_grad():
        views = render_views(run, grounding, frame, camera, near=run.info["near"], device=device)
    gray = np.repeat((np.clip(views.color[0], 0, 1) @ LUMA)[..., None], 3, axis=-1)
    relevancy = np.clip(views.relevancy[0], 0, 1)[..., None]
    picture = gray + np.minimum(2 * relevancy, 0.8) * (colors(relevancy[..., 0])[..., :3] - gray)
    if grounding.holds(frame):
        inside = np.zeros(picture.shape[:2], bool)
        inside[EDGE:-EDGE, EDGE:-EDGE] = True
        picture[~inside] = 1.0
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--prompt", action="append", required=True)
    parser.add_argument("--columns", type=int, default=8)
    options = parser.parse_args()
    run = Run.open(options.run)
    write_relevancy(run, query(run, options.prompt), options.picture, options.columns)


if __name__ == "__main__":
    main()
