"""The test cameras' pictures beside what a run makes of them."""

from __future__ import annotations

from pathlib import Path

import torch

from legs4d.effects.pages.contact_sheet import contact_sheet, error_picture
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.reconstruct.vignette import as_filmed
from legs4d.scene.sequence import Sequence

COLUMNS = ["truth", "rendered", "error"]


def write_test_views(run: Run, sequence: Sequence, path: str | Path, device: torch.device) -> None:
    """Write a page with truth, rendering and error of every test camera, in the first, middle and last frame with any.

    Args:
        path: a .png.
    """
    rows = {}
    seen = [frame for frame in range(run.num_frames) if len(sequence.cameras("test", frame))]
    for frame in sorted({seen[0], seen[(len(seen) - 1) // 2], seen[-1]}):
        cameras, photos = sequence.cameras("test", frame), sequence.images("test", frame)
        with torch.no_grad():
            rendered = render(run.frame(frame).torch(device), cameras, near=run.info["near"])
        made = as_filmed(rendered.color, run, cameras).cpu().numpy()
        for i, camera in enumerate(cameras.ids):
            rows[f"cam {camera}, frame {frame}"] = [photos[i], made[i], error_picture(photos[i], made[i])]
    contact_sheet(path, rows, COLUMNS, title=run.path.resolve().name)
