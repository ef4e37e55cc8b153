"""Jobs that make runs: what the server checks before it queues one, and what the worker process then does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from backend.paths import Roots
from backend.requests import Extract, Lift, Reconstruct, Train
from legs4d.config import ExtractSettings, LiftSettings, TrainSettings
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store import Run
from legs4d.progress import OnProgress, StopSignal

FILE_SETTINGS = frozenset({"weights"})
"""Settings that name a file, at any depth; clients name it relative to a root. A test finds new ones."""

Spec = dict[str, Any]


def prepare_train(request: Train, roots: Roots) -> Spec:
    """Absolute paths under the roots, and the settings that were asked for.

    Raises BackendError `path`, SettingsError, DatasetError when the dataset is not there, RunError when the output is
    something else.
    """
    return {**prepare_reconstruct(request, roots), "weights": _weights(request, roots)}


def prepare_reconstruct(request: Train | Reconstruct, roots: Roots) -> Spec:
    """As `prepare_train`."""
    dataset, out = roots.find(request.dataset), roots.output(request.out)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be trained")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    return {
        "dataset": str(dataset),
        "out": str(out),
        "run": request.out,
        "weights": None,
        "settings": _settings(request.geometry(), roots),
    }


def prepare_lift(request: Lift, roots: Roots) -> Spec:
    """Raises BackendError `path`, SettingsError, RunError when there is no such run."""
    return _on_run(request, roots, request.lifting())


def prepare_extract(request: Extract, roots: Roots) -> Spec:
    """As `prepare_lift`."""
    return {**_on_run(request, roots, request.extraction()), "encoder": request.encoder}


def _on_run(request: Extract | Lift, roots: Roots, settings: BaseModel) -> Spec:
    run = Run.open(roots.find(request.run))
    return {
        "out": str(run.path),
        "run": request.run,
        "weights": _weights(request, roots),
        "settings": _settings(settings, roots),
    }


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


def finished_frames(out: Path) -> int:
    """Frames and stages that the run records as finished: grows whenever a process got anywhere."""
    try:
        stages = Run.open(out).stages.values()
    except RunError:
        return 0
    return sum(len(stage.done_frames) + stage.finished for stage in stages)


# -- in the worker process: these import torch -------------------------------------------------------------------------


def train(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """Raises Legs4dError when it cannot be done, Stopped when told to stop."""
    from legs4d import pipeline

    settings = TrainSettings.model_validate(spec["settings"])
    with _means(spec) as means:
        pipeline.train(spec["dataset"], spec["out"], settings, **means, progress=progress, stop=stop)
    return {"run": spec["run"]}


def reconstruct(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = TrainSettings.model_validate(spec["settings"])
    with _means(spec) as means:
        del means["files"]
        pipeline.reconstruct(spec["dataset"], spec["out"], settings, **means, progress=progress, stop=stop)
    return {"run": spec["run"]}


def extract(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = ExtractSettings.model_validate(spec["settings"])
    with _means(spec) as means:
        pipeline.extract(spec["out"], spec["encoder"], settings, **means, progress=progress, stop=stop)
    return {"run": spec["run"]}


def lift(spec: Spec, progress: OnProgress, stop: StopSignal) -> dict[str, Any]:
    """As `train`."""
    from legs4d import pipeline

    settings = LiftSettings.model_validate(spec["settings"])
    with _means(spec) as means:
        pipeline.lift(spec["out"], settings, **means, progress=progress, stop=stop)
    return {"run": spec["run"]}


@contextmanager
def _means(spec: Spec) -> Iterator[dict[str, Any]]:
    """What all stages are done with: the engine, the encoder's files, and this process or a cluster."""
    from legs4d.cluster import executor_on
    from legs4d.language.encoders.weights import EncoderFiles

    files = EncoderFiles(Path(spec["weights"])) if spec["weights"] else None
    store, run = spec["store"], Path(spec["out"])
    folders = None
    if store is not None:
        store = f"{store}/{spec['run']}"  # runs of several jobs lie beside each other
        folders = {"run": run, "dataset": Path(spec.get("dataset") or Run.open(run).info["dataset"])}
    with executor_on(spec["cluster"], spec["engine"], store=store, folders=folders) as executor:
        yield {"engine": spec["engine"], "files": files, "executor": executor}
