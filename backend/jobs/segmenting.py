"""Jobs that take runs apart, and move what is in them: checked in the server, done in a worker process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from backend.runs.paths import Roots
from legs4d.commands import Animate, Segment, Segments
from legs4d.context import Context
from legs4d.errors import RunError
from legs4d.gaussians.selections import read_selection
from legs4d.gaussians.store.run import Run
from legs4d.progress import OnProgress, StopSignal
from legs4d.segment.masks.sources import NAMED
from legs4d.segment.segments import has_segments

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_segments(request: Segments, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when there is no such run, or it has segments that are not to be made
    again."""
    run = Run.open(roots.find(request.run))
    if has_segments(run) and not (request.again or request.list or request.rename or request.delete or request.bitmaps):
        raise RunError("has segments already", where=request.run, fix="set 'again' to make them anew")
    places = {
        "masks": request.masks if request.masks in (None, *NAMED) else str(roots.find(str(request.masks))),
        "dataset": None if request.dataset is None else str(roots.find(request.dataset)),
        "bitmaps": None if request.bitmaps is None else str(roots.output(request.bitmaps)),
    }
    return _spec(request, run, places)


def prepare_segment(request: Segment, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when there is no such run."""
    run = Run.open(roots.find(request.run))
    return _spec(request, run, {"bitmap": None if request.bitmap is None else str(roots.find(request.bitmap))})


def _spec(request: Segments | Segment, run: Run, places: Spec) -> Spec:
    fields = {name: getattr(request, name) for name in type(request).model_fields if name not in _SUBMITTED}
    return {"out": str(run.path), "run": request.run, "asked": {**fields, **places, "run": str(run.path)}}


_SUBMITTED = ("priority", "ticket", "device")
"""What every submission has, beside its command's fields."""


def prepare_animate(request: Animate, roots: Roots) -> Spec:
    """Raises BackendError `path`, RunError when there is no such run or selection."""
    run = Run.open(roots.find(request.run))
    read_selection(run, request.selection)
    places = {
        name: None if getattr(request, name) is None else str(roots.find(getattr(request, name)))
        for name in ("motion", "camera_file", "depth")
    }
    out = roots.output(request.out)
    fields = {name: getattr(request, name) for name in type(request).model_fields if name not in _SUBMITTED}
    return {
        "out": str(out),
        "run": request.out,
        "asked": {**fields, **places, "run": str(run.path), "out": str(out)},
        "again": request.again,
    }


# -- in the worker process ---------------------------------------------------------------------------------------------


def segments(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d.segment.work import segments_of

    context = Context(progress=progress, stop=stop, tell=log.info)
    return {**segments_of(spec["out"], Segments.model_validate(spec["asked"]), context), "run": spec["run"]}


def segment(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `segments`."""
    from legs4d.grounding.selecting import select_in

    return {**select_in(spec["out"], Segment.model_validate(spec["asked"])), "run": spec["run"]}


def animate(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `segments`."""
    from legs4d.animate.work import animate_run

    context = Context(spec["engine"], progress=progress, stop=stop, tell=log.info)
    again = spec["job"] if spec["again"] else False
    made = animate_run(Animate.model_validate(spec["asked"]), context, again=again)
    return {**made, "run": spec["run"], "motion": f"{spec['run']}/{Path(made['motion']).name}"}
