"""What jobs do: for every kind of job, who checks its request and which function of a worker process does it.

Nothing here imports torch: functions are named (`process.load`), and loaded in the process that calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend import exchange, training
from backend.paths import Roots
from backend.wire import Kind

Spec = dict[str, Any]
"""What a worker process is told, JSON; `out` is the absolute path that the job alone may write."""


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    Attributes:
        prepare: makes the spec from the checked body of the request; raises Legs4dError when it could not work.
        work: "package.module:function"; called in the worker process with (spec, progress, stop), returns the job's
            result, raises Legs4dError, or Stopped when told to stop.
        achieved: a number, from the spec, that grows whenever a process got anywhere.
        discard: deletes what a cancelled job leaves that is of no use.
        on_device: needs a device of its own; other jobs run one at a time beside them.
    """

    prepare: Callable[[Any, Roots], Spec]
    work: str
    achieved: Callable[[Spec], int]
    discard: Callable[[Spec], None] = lambda spec: None
    on_device: bool = True


def _run_frames(spec: Spec) -> int:
    return training.finished_frames(Path(spec["out"]))


JOB_KINDS: dict[Kind, JobKind] = {
    Kind.TRAIN: JobKind(training.prepare_train, "backend.training:train", _run_frames),
    Kind.EXTRACT: JobKind(training.prepare_extract, "backend.training:extract", _run_frames),
    Kind.LIFT: JobKind(training.prepare_lift, "backend.training:lift", _run_frames),
    Kind.EXPORT: JobKind(
        exchange.prepare_export, "backend.exchange:export", exchange.files_in, exchange.discard, on_device=False
    ),
    Kind.IMPORT_CAPTURE: JobKind(
        exchange.prepare_import, "backend.exchange:import_capture", exchange.files_in, exchange.discard, on_device=False
    ),
}
"""Every kind of job; its name is that of the request that submits it."""
