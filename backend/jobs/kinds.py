"""What jobs do: for every kind of job, its request, who checks that and which function of a worker process does it.

Nothing here imports torch: functions are named (`process.load`), and loaded in the process that calls them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.jobs import exchange, filming, finding, generating, segmenting, training
from backend.runs.paths import Roots
from legs4d import commands
from legs4d.commands import Command

Spec = dict[str, Any]
"""What a worker process is told, JSON; `out` is the absolute path that the job alone may write."""


@dataclass(frozen=True)
class JobKind:
    """One kind of job.

    Attributes:
        command: what it can be told; the request that submits it has these fields, and those of every submission.
        prepare: makes the spec from the checked request; raises Legs4dError when it could not work.
        work: "package.module:function"; called in the worker process with (spec, progress, stop), returns the job's
            result, raises Legs4dError, or Stopped when told to stop.
        achieved: a number, from the spec, that grows whenever a process got anywhere.
        on_device: whether it computes, on a device that the request may name; others run on the host, one at a time.
        discard: deletes what a cancelled job leaves that is of no use.
    """

    command: type[Command]
    prepare: Callable[[Any, Roots], Spec]
    work: str
    achieved: Callable[[Spec], int]
    on_device: bool = False
    discard: Callable[[Spec], None] = lambda spec: None


def _on_run(command: type[Command], prepare: Callable[[Any, Roots], Spec], work: str) -> JobKind:
    """A stage of training: it goes on in the run, frame by frame."""
    return JobKind(command, prepare, f"backend.jobs.training:{work}", training.finished_frames, on_device=True)


def _whole(command: type[Command], prepare: Callable[[Any, Roots], Spec], work: str) -> JobKind:
    """What appears whole, by rename, when all of it is done."""
    work = f"backend.jobs.exchange:{work}"
    return JobKind(command, prepare, work, exchange.files_in, discard=exchange.discard)


def _in_run(command: type[Command], prepare: Callable[[Any, Roots], Spec], work: str) -> JobKind:
    """What is put into a run beside its Gaussians, whole or not at all."""
    return JobKind(command, prepare, f"backend.jobs.segmenting:{work}", training.finished_frames)


JOB_KINDS: dict[str, JobKind] = {
    "train": _on_run(commands.Train, training.prepare_train, "train"),
    "reconstruct": _on_run(commands.Reconstruct, training.prepare_reconstruct, "reconstruct"),
    "extract": _on_run(commands.Extract, training.prepare_extract, "extract"),
    "lift": _on_run(commands.Lift, training.prepare_lift, "lift"),
    "segments": _in_run(commands.Segments, segmenting.prepare_segments, "segments"),
    "segment": _in_run(commands.Segment, segmenting.prepare_segment, "segment"),
    "animate": JobKind(
        commands.Animate,
        segmenting.prepare_animate,
        "backend.jobs.segmenting:animate",
        training.finished_frames,
        on_device=True,
    ),
    "object": JobKind(
        commands.Object,
        generating.prepare_object,
        "backend.jobs.generating:make_object",
        training.finished_frames,
        on_device=True,
    ),
    "video": JobKind(
        commands.Video,
        filming.prepare_video,
        "backend.jobs.filming:video",
        filming.finished,
        on_device=True,
    ),
    "objects": JobKind(
        commands.Objects,
        finding.prepare_objects,
        "backend.jobs.finding:objects",
        finding.found_files,
        on_device=True,
        discard=finding.discard,
    ),
    "name": JobKind(commands.Name, finding.prepare_name, "backend.jobs.finding:name", training.finished_frames),
    "export": _whole(commands.Export, exchange.prepare_export, "export"),
    "import-splats": _whole(commands.ImportSplats, exchange.prepare_splats, "import_splats"),
    "import-d3dgs": _whole(commands.ImportD3dgs, exchange.prepare_d3dgs, "import_d3dgs"),
    "import-4legs": _whole(commands.Import4legs, exchange.prepare_4legs, "import_4legs"),
}
"""Every kind of job by its command's name, which is the kind of the request that submits it, too; `hello` tells
clients this list."""
