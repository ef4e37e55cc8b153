"""Jobs that find the things in footage, and name those of a run: checked in the server, done in a worker process.

What is found appears whole, by rename; until then it grows in a hidden folder beside it, from which a killed job goes
on.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from backend.runs.paths import Roots
from legs4d.commands import Name, Objects
from legs4d.config import DatasetSettings
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.gaussians.objects import check_name, name_object
from legs4d.gaussians.store.run import Run
from legs4d.priors.objects.folder import TABLE, default_folder, unfinished_folder
from legs4d.progress import OnProgress, StopSignal

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_objects(request: Objects, roots: Roots) -> Spec:
    """Raises BackendError `path`, SettingsError, DatasetError when the dataset is not there or the output is something
    else."""
    dataset = roots.find(request.dataset)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be read")
    name = f"{request.dataset.rstrip('/')}.objects" if request.out is None else request.out
    if request.out is None and dataset in roots.folders:
        raise DatasetError(
            "is a root itself, and nothing can be made beside it", where=request.dataset, fix="give 'out'"
        )
    out = default_folder(dataset) if request.out is None else roots.output(name)
    if out.exists() and not (out / TABLE).is_file():
        raise DatasetError("is something else", where=name, fix="choose another name")
    return {
        "dataset": str(dataset),
        "out": str(out),
        "name": name,
        "reading": request.reading().model_dump(mode="json"),
        "prompts": list(request.prompt or ()),
        "again": request.again,
    }


def prepare_name(request: Name, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when there is no such run, or it has no such object."""
    run = Run.open(roots.find(request.run))
    check_name(run, request.number, request.called)
    return {"out": str(run.path), "run": request.run, "number": request.number, "called": request.called}


def found_files(spec: Spec) -> int:
    """Files that were made so far, in the hidden folder or, when all is done, in the other: grows with the work."""
    folder = unfinished_folder(Path(spec["out"]))
    return (
        sum(1 for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else int(Path(spec["out"]).exists())
    )


def discard(spec: Spec) -> None:
    """Delete what a job that is cancelled has begun."""
    shutil.rmtree(unfinished_folder(Path(spec["out"])), ignore_errors=True)


def objects(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d import pipeline

    context = Context(spec["engine"], tell=log.info, progress=progress, stop=stop)
    reading = DatasetSettings.model_validate(spec["reading"])
    told = pipeline.find_objects(
        spec["dataset"],
        spec["out"],
        context,
        reading=reading,
        prompts=tuple(spec.get("prompts", ())),
        again=spec["again"],
    )
    shown = ("id", "name", "confidence", "frames")
    objects = [{name: one[name] for name in shown} for one in told["objects"]]
    return {"folder": spec["name"], "objects": objects, "unsure": told["unsure"], "without": told["without"]}


def name(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises RunError when it cannot be written."""
    with Run.open(spec["out"]).lock() as run:
        return {"run": spec["run"], "objects": name_object(run, spec["number"], spec["called"]).table()}
