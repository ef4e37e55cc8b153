"""The pictures by which a person judges a run: the photo, what was made of it, where they differ, what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from legs4d.effects.backdrop import backdrop_of, before
from legs4d.effects.highlight import highlight
from legs4d.effects.pages.contact_sheet import contact_sheet, error_picture
from legs4d.effects.pages.timeline import timeline
from legs4d.gaussians.store.run import Run
from legs4d.grounding.masks import render_views
from legs4d.grounding.query import Grounding
from legs4d.reconstruct.evaluation.evaluate import held_out
from legs4d.scene.sequence import Sequence

COLUMNS = ["photo", "reconstruction", "error", "highlight"]


def write_report(
    run: Run,
    sequence: Sequence,
    groundings: list[Grounding],
    folder: str | Path,
    device: torch.device,
    truth: dict[str, list[tuple[int, int]]] | None = None,
) -> None:
    """Write `contact_sheet.png` (test views: photo, reconstruction, error, highlight) and `timeline.png`.

    Args:
        groundings: at least one of this run; the first is the one that is lit up, at its peak.
        truth: prompt → true (first, last) frames, shown in the timeline.

    Raises:
        RunError: the run has no test cameras.
    """
    shown = groundings[0]
    tested = [frame for frame in range(run.num_frames) if len(run.cameras("test", frame))]
    peak = shown.intervals[0].peak if shown.intervals else run.num_frames - 1
    rows, behind = {}, backdrop_of(run)
    for wanted in sorted({0, peak, run.num_frames - 1}):
        frame = min(tested, key=lambda own: abs(own - wanted))  # a moving camera has a test picture now and then
        cameras, photos = run.cameras("test", frame), held_out(run, sequence, frame)
        with torch.no_grad():
            views = render_views(run, shown, frame, cameras, near=run.info["near"], device=device)
        made = before(behind, np.clip(views.color, 0, 1), views.alpha)
        for i, camera in enumerate(cameras.ids):
            rows[f"cam {camera}, frame {frame}"] = [
                photos[i],
                made[i],
                error_picture(photos[i], made[i]),
                before(behind, highlight(views.color[i], views.matte[i], float(shown.holds(frame))), views.alpha[i]),
            ]
    target = Path(folder)
    contact_sheet(target / "contact_sheet.png", rows, COLUMNS, title=f"{run.path.name}: {shown.prompt!r}")
    timeline(target / "timeline.png", groundings, truth)
