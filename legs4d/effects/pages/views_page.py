"""The test cameras' pictures beside what a run makes of them."""

from __future__ import annotations

from pathlib import Path

import torch

from legs4d.effects.pages.contact_sheet import contact_sheet, error_picture
from legs4d.gaussians.nodes import frame_between, read_nodes
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.reconstruct.evaluation.evaluate import held_out
from legs4d.reconstruct.vignette import as_filmed, background_of
from legs4d.scene.sequence import Sequence

COLUMNS = ["truth", "rendered", "error"]


def write_test_views(run: Run, sequence: Sequence, path: str | Path, device: torch.device) -> None:
    """Write a page with truth, rendering and error of every test camera, in the first, middle and last frame with any.

    Args:
        path: a .png.
    """
    rows = {}
    nodes, behind = read_nodes(run), background_of(run, device)
    seen = [frame for frame in range(run.num_frames) if len(sequence.cameras("test", frame))]
    for frame in sorted({seen[0], seen[(len(seen) - 1) // 2], seen[-1]}):
        cameras, photos = sequence.cameras("test", frame), held_out(run, sequence, frame)
        for i, (camera, moment) in enumerate(zip(cameras.ids, sequence.taken_at("test", frame), strict=True)):
            one, shown = cameras.take([i]), frame_between(run, float(moment), nodes).torch(device)
            with torch.no_grad():
                rendered = render(shown, one, background=behind, near=run.info["near"])
            made = as_filmed(rendered.color, run, one)[0].cpu().numpy()
            rows[f"cam {camera}, frame {moment:.4g}"] = [photos[i], made, error_picture(photos[i], made)]
    contact_sheet(path, rows, COLUMNS, title=run.path.resolve().name)
