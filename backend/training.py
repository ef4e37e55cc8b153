"""Jobs that make runs: what the server checks before it queues one, and what the worker process then does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from backend.errors import BackendError
from backend.paths import Roots
from backend.requests import Extract, Lift, Train, WithEncoder
from backend.wire import Code
from legs4d.config import ExtractSettings, LiftSettings, TrainSettings
from legs4d.errors import DatasetError, RunError
from legs4d.gaussians.store import Run
from legs4d.progress import OnProgress, StopSignal

FILE_SETTINGS = frozenset({"weights"})
"""Settings that name a file, at any depth; clients name it relative to a root. A test finds new ones."""

Spec = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


def prepare_train(request: Train, roots: Roots) -> Spec:
    """Absolute paths under the roots, and settings.

    Raises BackendError `path` or `body`, DatasetError when the dataset is not there, RunError when the output is
    something else.
    """
    dataset, out = roots.find(request.dataset), roots.output(request.out)
    if not dataset.is_dir():
        raise DatasetError("there is no such folder", where=request.dataset, fix="'datasets' lists what can be trained")
    if out.exists() and not out.is_dir():
        raise RunError("is a file, not a folder", where=request.out, fix="choose another name")
    asked = copy.deepcopy(request.settings)
    for stage, field, value in (("dataset", "scale", request.scale), ("lift", "encoder", request.encoder)):
        if value is not None:
            asked[stage] = _with(asked.get(stage, {}), field, value)
    if "reconstruct" not in asked:
        asked.setdefault("preset", "auto")
    settings = _checked(TrainSettings, _confined(asked, roots), "train")
    return {
        "dataset": str(dataset),
        "out": str(out),
        "run": request.out,
        "weights": _weights(request, roots),
        "settings": settings.model_dump(mode="json"),
    }


def prepare_lift(request: Lift, roots: Roots) -> Spec:
    """Raises BackendError `path` or `body`, RunError when there is no such run."""
    run = Run.open(roots.find(request.run))
    asked = request.settings if request.encoder is None else _with(request.settings, "encoder", request.encoder)
    settings = _checked(LiftSettings, _confined(asked, roots), "lift")
    return _on_run(run, request, roots, settings)


def prepare_extract(request: Extract, roots: Roots) -> Spec:
    """Raises BackendError `path` or `body`, RunError when there is no such run."""
    run = Run.open(roots.find(request.run))
    settings = _checked(ExtractSettings, _confined(request.settings, roots), "extract")
    return {**_on_run(run, request, roots, settings), "encoder": request.encoder}


def _on_run(run: Run, request: Extract | Lift, roots: Roots, settings: BaseModel) -> Spec:
    return {
        "out": str(run.path),
        "run": request.run,
        "weights": _weights(request, roots),
        "settings": settings.model_dump(mode="json"),
    }


def _weights(request: WithEncoder, roots: Roots) -> str | None:
    return None if request.weights is None else str(roots.find(request.weights))


def _with(settings: Any, field: str, value: Any) -> dict[str, Any]:
    if not isinstance(settings, dict):
        raise BackendError("a stage's settings are not a map", where="'settings'", code=Code.BODY)
    return {**settings, field: value}


def _confined(settings: Any, roots: Roots) -> Any:
    """Settings in which what names a file names one under the roots. Raises BackendError `path`."""
    if not isinstance(settings, dict):
        return settings
    return {
        key: str(roots.find(value)) if key in FILE_SETTINGS and isinstance(value, str) else _confined(value, roots)
        for key, value in settings.items()
    }


def _checked(model: type[Model], asked: dict[str, Any], kind: str) -> Model:
    try:
        return model.model_validate(asked)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        raise BackendError(
            f"'{field}' is wrong: {first['msg'].lower()}",
            where=f"'settings' of '{kind}'",
            fix=f"legs4d/config.py lists them under {model.__name__}",
            code=Code.BODY,
        ) from error


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
