"""Training jobs: what the server checks before it queues one, and what the worker process then does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.paths import Roots
from backend.requests import Train
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store import Run


def make_spec(request: Train, roots: Roots) -> dict[str, Any]:
    """What a worker process is told: absolute paths under the roots, and settings.

    Raises BackendError `path`, DatasetError when the dataset is not there, RunError when the output is something else.
    """
    dataset, out = roots.find(request.dataset), roots.output(request.out)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be trained")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    return {
        "dataset": str(dataset),
        "out": str(out),
        "run": request.out,
        "settings": request.settings,
        "force": request.force,
    }


def finished_frames(out: str) -> int:
    """Frames and stages that the run records as finished: grows whenever a process got anywhere."""
    try:
        stages = Run.open(Path(out)).stages.values()
    except RunError:
        return 0
    return sum(len(stage.done_frames) + stage.finished for stage in stages)
