"""The jobs that a server knows, and what happens when one changes its state: it is written down, then told."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from backend.bodies import JobBody, ProgressBody, State
from backend.jobs.kinds import JOB_KINDS
from backend.jobs.store import Job, JobStore
from backend.service.errors import BackendError
from backend.service.requests import Submission
from backend.wire import Code

log = logging.getLogger("legs4d.backend")

MAX_KEPT = 2000
"""Jobs that are over; older ones are forgotten, with their logs."""

Event = tuple[Literal["progress"], JobBody] | tuple[Literal["log"], dict[str, Any]]


class JobTable:
    """All jobs. For the jobs' thread alone.

    Args:
        state_dir: holds their list, and a folder per job.
        publish: called with everything that subscribers may want to know.
    """

    def __init__(self, state_dir: Path, publish: Callable[[Event], None]) -> None:
        self._state_dir, self._folder = state_dir, state_dir / "jobs"
        self.publish = publish
        self.active: dict[str, Job] = {}
        """Every job that is not over, oldest first."""
        self.store: JobStore

    def open(self) -> None:
        """Read the list. Raises BackendError when it is damaged."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.store = JobStore(self._state_dir)

    def add(self, job: Job) -> None:
        """Take on a new job. Raises BackendError where it could not be written down."""
        self.folder(job).mkdir(mode=0o700)
        job.progress = progress_of(job, stage="", done=0, total=0, message="waits for a free device")
        self.store.put(job)  # or raise: a job that could be forgotten is not taken on
        self.active[job.id] = job
        self.publish(("progress", job.body()))

    def find(self, job_id: str) -> Job:
        """A job, over or not. Raises BackendError `job`."""
        job = self.active.get(job_id) or self.store.get(job_id)
        if job is None:
            raise BackendError(f"there is no job {job_id!r}", fix="'jobs' lists them", code=Code.JOB)
        return job

    def open_job(self, job_id: str) -> Job:
        """A job that is not over. Raises BackendError `job`."""
        job = self.find(job_id)
        if job.over:
            raise BackendError(f"is over already ({job.state})", where=f"job {job_id}", code=Code.JOB)
        return job

    def known(self, kind: str, request: Submission) -> Job | None:
        """The job that was submitted with this ticket, if any. Raises BackendError where that asked for another."""
        known = self.store.by_ticket(request.ticket) if request.ticket is not None else None
        if known and (known.kind, known.request) != (kind, request.model_dump(exclude_unset=True)):
            raise BackendError(
                f"this ticket is job {known.id}'s, which asked for something else", fix="take a new one", code=Code.JOB
            )
        return self.active.get(known.id, known) if known else None

    def folder(self, job: Job) -> Path:
        """The job's own: its log, its outcome."""
        return self._folder / job.id

    def save(self, job: Job, state: State, message: str) -> None:
        """Write the job to disk in its new state, then tell everybody.

        On a full disk the state is kept in memory alone: should the server die too, the job goes on from the old one.
        """
        before = job.progress
        job.state = state
        job.progress = progress_of(
            job,
            stage=before["stage"] if before else "",
            done=before["done"] if before else 0,
            total=before["total"] if before else 0,
            loss=before["loss"] if before else None,
            message=message,
        )
        self.store_if_possible(job)
        self.publish(("progress", job.body()))

    def fail(self, job: Job, message: str, hint: str) -> None:
        """End a job by an error of the server's own."""
        job.error = {"code": str(Code.FAILED), "message": f"job {job.id}: {message}", "hint": hint}
        self.end(job, "failed", message)

    def end(self, job: Job, state: State, message: str) -> None:
        """A job is over."""
        job.ended = time.time()
        self.active.pop(job.id, None)
        if state == "cancelled":
            JOB_KINDS[job.kind].discard(job.spec)
        self.save(job, state, message)
        log.info("job %s: %s", job.id, message if state != "done" else "done")
        for forgotten in self.store.forget_oldest(MAX_KEPT):
            shutil.rmtree(self._folder / forgotten, ignore_errors=True)

    def store_if_possible(self, job: Job) -> None:
        """Write the job to disk, or log that it could not be."""
        try:
            self.store.put(job)
        except BackendError as error:
            log.error("job %s: %s", job.id, error)


def progress_of(
    job: Job,
    *,
    stage: str,
    done: int,
    total: int,
    loss: float | None = None,
    seconds_left: float | None = None,
    message: str = "",
) -> ProgressBody:
    """How far a job is, as clients see it."""
    return {
        "job": job.id,
        "state": job.state,
        "stage": stage,
        "done": done,
        "total": total,
        "loss": loss,
        "seconds_left": seconds_left,
        "message": message,
    }
