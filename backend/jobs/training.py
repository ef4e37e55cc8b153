"""Jobs that make runs: what the server checks before it queues one, and what the worker process then does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from backend.runs.paths import Roots
from legs4d.commands import Extract, Lift, Reconstruct, Train
from legs4d.config import ExtractSettings, LiftSettings, TrainSettings
from legs4d.context import Context, EncoderFiles
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store.footage import travelling
from legs4d.gaussians.store.recorded import differences_of_settings
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import WITHOUT_OUT, RunDiffers
from legs4d.gaussians.store.swap import REMADE
from legs4d.progress import OnProgress, StopSignal

FILE_SETTINGS = frozenset({"weights"})
"""Settings that name a file, at any depth; clients name it relative to a root. A test finds new ones."""

Spec = dict[str, Any]

log = logging.getLogger("legs4d.worker")


def prepare_train(request: Train, roots: Roots) -> Spec:
    """Absolute paths under the roots, and the settings that were asked for.

    Raises BackendError `path`, SettingsError, DatasetError when the dataset is not there, RunError when the output is
    something else.
    """
    return {**_on_footage(request, roots, ("reconstruct", "lift")), "weights": _weights(request, roots)}


def prepare_reconstruct(request: Train | Reconstruct, roots: Roots) -> Spec:
    """As `prepare_train`."""
    return _on_footage(request, roots, ("reconstruct",))


def _on_footage(request: Train | Reconstruct, roots: Roots, parts: tuple[str, ...]) -> Spec:
    dataset, out = roots.find(request.dataset), roots.output(request.out)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be trained")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    settings = request.geometry()
    if (out / "run.json").exists():
        _check_same(Run.open(out), settings, parts, request.again)
    return {
        "dataset": str(dataset),
        "out": str(out),
        "run": request.out,
        "weights": None,
        "settings": _settings(settings, roots),
        "objects": not request.no_objects if request.objects is None else str(roots.find(request.objects)),
        "again": request.again,
    }


def prepare_lift(request: Lift, roots: Roots) -> Spec:
    """Raises BackendError `path`, SettingsError, RunError when there is no such run."""
    return _on_run(request, roots, request.lifting(), ("lift",))


def prepare_extract(request: Extract, roots: Roots) -> Spec:
    """As `prepare_lift`."""
    return {**_on_run(request, roots, request.extraction(), ()), "encoder": request.encoder}


def _on_run(request: Extract | Lift, roots: Roots, settings: BaseModel, parts: tuple[str, ...]) -> Spec:
    run = Run.open(roots.find(request.run))
    if isinstance(settings, LiftSettings):
        _check_same(run, TrainSettings(lift=settings), parts, request.again)
    return {
        "dataset": None if request.dataset is None else str(roots.find(request.dataset)),
        "again": request.again,
        "out": str(run.path),
        "run": request.run,
        "weights": _weights(request, roots),
        "settings": _settings(settings, roots),
    }


def _check_same(run: Run, settings: TrainSettings, parts: tuple[str, ...], again: bool) -> None:
    """Say now what the job would fail on; what differs in the footage is found by the job, as that has to be read."""
    found = [] if again else differences_of_settings(run, settings, parts)
    if found:
        raise RunDiffers.of(run.path, found, fix="" if "reconstruct" in parts else WITHOUT_OUT)


def _settings(settings: BaseModel, roots: Roots) -> dict[str, Any]:
    """Those that were asked for, as JSON: what is left out is decided where the work is done, by its device."""
    confined: dict[str, Any] = _confined(settings.model_dump(mode="json", exclude_unset=True), roots)
    return confined


def _weights(request: Train | Extract | Lift, roots: Roots) -> str | None:
    return None if request.weights is None else str(roots.find(request.weights))


def _confined(settings: Any, roots: Roots) -> Any:
    """Settings in which what names a file names one under the roots. Raises BackendError `path`."""
    if not isinstance(settings, dict):
        return settings
    return {
        key: str(roots.find(value)) if key in FILE_SETTINGS and isinstance(value, str) else _confined(value, roots)
        for key, value in settings.items()
    }


def finished_frames(spec: Spec) -> int:
    """Frames and stages recorded as finished, in the run and where it is made anew: another number whenever a process
    got anywhere."""
    out = Path(spec["out"])
    return sum(_finished(folder) for folder in (out, out / REMADE))


def _finished(folder: Path) -> int:
    try:
        stages = Run.open(folder).stages.values()
    except RunError:
        return 0
    return sum(len(stage.done_frames) + stage.finished for stage in stages)


# -- in the worker process: these import torch -------------------------------------------------------------------------


def train(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d import pipeline

    settings = TrainSettings.model_validate(spec["settings"])
    with _context(spec, progress, stop) as context:
        pipeline.train(spec["dataset"], spec["out"], settings, context, objects=_objects(spec), again=_again(spec))
    return {"run": spec["run"]}


def reconstruct(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = TrainSettings.model_validate(spec["settings"])
    with _context(spec, progress, stop) as context:
        pipeline.reconstruct(
            spec["dataset"], spec["out"], settings, context, objects=_objects(spec), again=_again(spec)
        )
    return {"run": spec["run"]}


def extract(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = ExtractSettings.model_validate(spec["settings"])
    with _context(spec, progress, stop) as context:
        where = spec.get("dataset")
        pipeline.extract(spec["out"], spec["encoder"], settings, context, dataset=where, again=_again(spec))
    return {"run": spec["run"]}


def lift(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = LiftSettings.model_validate(spec["settings"])
    with _context(spec, progress, stop) as context:
        pipeline.lift(spec["out"], settings, context, dataset=spec.get("dataset"), again=_again(spec))
    return {"run": spec["run"]}


@contextmanager
def _context(spec: Spec, progress: OnProgress, stop: StopSignal) -> Iterator[Context]:
    """What all stages are done with: the engine, the encoder's files, and this process or a cluster."""
    from legs4d.cluster import executor_on

    files = EncoderFiles(Path(spec["weights"])) if spec["weights"] else None
    store, run = spec["store"], Path(spec["out"])
    folders = None
    if store is not None:
        store = f"{store}/{spec['run']}"  # runs of several jobs lie beside each other
        folders = travelling(Run.open(run), spec.get("dataset"))
    with executor_on(spec["cluster"], spec["engine"], store=store, folders=folders) as executor:
        yield Context(spec["engine"], executor, files, log.info, progress, stop)


def _objects(spec: Spec) -> str | bool:
    """`objects` of `pipeline.train`; jobs that an earlier version queued say nothing of them."""
    found: str | bool = spec.get("objects", True)
    return found


def _again(spec: Spec) -> str | bool:
    """A job that is taken up after its result was swapped in has nothing to do: its id is in the run."""
    return str(spec["job"]) if spec.get("again") else False
