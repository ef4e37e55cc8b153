"""The job that makes a 4D scene of one ordinary video: checked in the server, done in a worker process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from backend.jobs.training import finished_frames
from backend.runs.paths import Roots
from legs4d.commands import Video
from legs4d.context import Context
from legs4d.errors import DatasetError, RunError
from legs4d.progress import OnProgress, StopSignal
from legs4d.video.kept import FOLDER

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")

_SUBMITTED = ("priority", "ticket", "device")
"""What every submission has, beside its command's fields."""
_PLACES = ("masks", "boxes", "camera_file", "captions", "depth")


def prepare_video(request: Video, roots: Roots) -> Spec:
    """Raises BackendError `path`, DatasetError when there is no such video, RunError when `out` is something else."""
    source, out = roots.find(request.source), roots.output(request.out)
    if not source.exists():
        raise DatasetError("there is no such file or folder", where=request.source, fix="name one under the roots")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    fields = {name: getattr(request, name) for name in type(request).model_fields if name not in _SUBMITTED}
    places = {name: str(roots.find(value)) for name in _PLACES if (value := fields[name]) is not None}
    return {
        "out": str(out),
        "run": request.out,
        "asked": {**fields, **places, "source": str(source), "out": str(out)},
        "again": request.again,
    }


def finished(spec: Spec) -> int:
    """Grows whenever a stage has kept something."""
    folder = Path(spec["out"]) / FOLDER
    kept = sum(1 for _ in folder.glob("*.npz")) if folder.is_dir() else 0
    return finished_frames(spec) + kept


# -- in the worker process ---------------------------------------------------------------------------------------------


def video(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d.video.work import make_video_run

    context = Context(spec["engine"], progress=progress, stop=stop, tell=log.info)
    again = spec["job"] if spec["again"] else False
    made = make_video_run(Video.model_validate(spec["asked"]), context, again=again)
    report = {"report": f"{spec['run']}/{Path(made['report']).name}"} if "report" in made else {}
    return {**made, **report, "run": spec["run"]}
