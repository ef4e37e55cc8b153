"""The job that makes a run of an object from a video, a picture or words."""

from __future__ import annotations

import logging
from typing import Any

from backend.runs.paths import Roots
from legs4d.commands import Object
from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.progress import OnProgress, StopSignal

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_object(request: Object, roots: Roots) -> Spec:
    """Absolute paths under the roots; words, for which no file is there, stay what they are.

    Raises BackendError `path`, DatasetError when a file is meant that is not there.
    """
    out = roots.output(request.out)
    source = request.source
    found = roots.find(source)
    if found.exists():
        source = str(found)
    elif " " not in source.strip() or found.suffix:
        raise DatasetError("there is no such file or folder", where=source, fix="send it first, or check its name")
    fields = {name: getattr(request, name) for name in Object.model_fields}
    views = None if request.views is None else str(roots.find(request.views))
    weights = None if request.weights is None else [str(roots.find(path)) for path in request.weights]
    asked = {**fields, "source": source, "views": views, "weights": weights, "out": str(out)}
    return {"out": str(out), "run": request.out, "asked": asked, "again": request.again}


def make_object(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d.generate.work import object_run

    context = Context(spec["engine"], progress=progress, stop=stop, tell=log.info)
    again = spec["job"] if spec["again"] else False
    return {**object_run(Object.model_validate(spec["asked"]), context, again=again), "run": spec["run"]}
