"""What jobs do: for every kind of job, who checks its request and which function of a worker process does it.

Nothing here imports torch: functions are named (`process.load`), and loaded in the process that calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.jobs import exchange, training
from backend.runs.paths import Roots

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
    """

    prepare: Callable[[Any, Roots], Spec]
    work: str
    achieved: Callable[[Spec], int]
    discard: Callable[[Spec], None] = lambda spec: None


def _run_frames(spec: Spec) -> int:
    return training.finished_frames(Path(spec["out"]))


JOB_KINDS: dict[str, JobKind] = {
    "train": JobKind(training.prepare_train, "backend.jobs.training:train", _run_frames),
    "reconstruct": JobKind(training.prepare_reconstruct, "backend.jobs.training:reconstruct", _run_frames),
    "extract": JobKind(training.prepare_extract, "backend.jobs.training:extract", _run_frames),
    "lift": JobKind(training.prepare_lift, "backend.jobs.training:lift", _run_frames),
    "export": JobKind(exchange.prepare_export, "backend.jobs.exchange:export", exchange.files_in, exchange.discard),
    "import-splats": JobKind(
        exchange.prepare_splats, "backend.jobs.exchange:import_splats", exchange.files_in, exchange.discard
    ),
    "import-d3dgs": JobKind(
        exchange.prepare_d3dgs, "backend.jobs.exchange:import_d3dgs", exchange.files_in, exchange.discard
    ),
    "import-4legs": JobKind(
        exchange.prepare_4legs, "backend.jobs.exchange:import_4legs", exchange.files_in, exchange.discard
    ),
}
"""Every kind of job by its command's name, which is the kind of the request that submits it (its body in
`requests.JOBS`); `hello` tells clients this list."""
