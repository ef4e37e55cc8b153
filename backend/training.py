"""Training jobs: what the server checks before it queues one, and what the worker process then does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from backend.errors import BackendError
from backend.paths import Roots
from backend.requests import Train
from backend.wire import Code
from legs4d.config import TrainSettings
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store import Run
from legs4d.progress import OnProgress, StopSignal

MAX_REQUEST = 4096
"""Characters of a request as JSON: every listing of the jobs repeats it."""


def make_spec(request: Train, roots: Roots) -> dict[str, Any]:
    """What a worker process is told: absolute paths under the roots, and settings.

    Raises BackendError `path`, DatasetError when the dataset is not there, RunError when the output is something else.
    """
    if len(request.model_dump_json()) > MAX_REQUEST:
        raise BackendError(f"has more than {MAX_REQUEST} characters", where="the body of 'train'", code=Code.BODY)
    dataset, out = roots.find(request.dataset), roots.output(request.out)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be trained")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    return {
        "dataset": str(dataset),
        "out": str(out),
        "run": request.out,
        "settings": make_settings(request).model_dump(mode="json"),
    }


def make_settings(request: Train) -> TrainSettings:
    """The settings asked for; `scale` and `encoder` are short for two of them. Raises BackendError `body`."""
    asked = copy.deepcopy(request.settings)
    try:
        for stage, field, value in (("dataset", "scale", request.scale), ("lift", "encoder", request.encoder)):
            if value is not None:
                asked.setdefault(stage, {})[field] = value
        return TrainSettings.model_validate(asked)
    except (ValidationError, TypeError) as error:
        raise BackendError(
            _first_problem(error),
            where="'settings' of 'train'",
            fix="legs4d/config.py lists them under TrainSettings",
            code=Code.BODY,
        ) from error


def _first_problem(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "a stage's settings are not a map"
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])[:80]
    return f"'{field}' is wrong: {first['msg'].lower()}"


def finished_frames(out: str) -> int:
    """Frames and stages that the run records as finished: grows whenever a process got anywhere."""
    try:
        stages = Run.open(Path(out)).stages.values()
    except RunError:
        return 0
    return sum(len(stage.done_frames) + stage.finished for stage in stages)


def train(spec: dict[str, Any], progress: OnProgress, stop: StopSignal) -> None:
    """Do the job, in the worker process. Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d import pipeline  # brings torch, which the server must not load

    engine = "cpu" if spec["device"] == "cpu" else "cuda"
    settings = TrainSettings.model_validate(spec["settings"])
    pipeline.train(spec["dataset"], spec["out"], settings, engine=engine, progress=progress, stop=stop)
