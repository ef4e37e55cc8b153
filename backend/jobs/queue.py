"""Jobs: queued, run one per device in processes of their own, resumed after any death, and told about.

All of it happens in one thread, which alone touches the job list; others hand it functions to call.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from backend.bodies import JobBody
from backend.jobs import log as joblog
from backend.jobs.devices import Device
from backend.jobs.kinds import JOB_KINDS
from backend.jobs.store import Job
from backend.jobs.supervisor import CANCEL_SECONDS, PAUSE_SECONDS, Supervisor
from backend.jobs.table import Event, JobTable
from backend.runs.paths import Roots
from backend.service.errors import BackendError
from backend.service.requests import OnDevice, Submission
from backend.wire import Code

log = logging.getLogger("legs4d.backend")

TICK_SECONDS = 0.2
MAX_QUEUED = 1000
MAX_LISTED = 500
MAX_REQUEST = 128 * 1024
"""Characters of what a request says, as JSON: some two thousand files by name. Listings repeat it."""


class Jobs:
    """What may be asked about jobs, and the thread that does it.

    Args:
        state_dir: holds the list and a folder per job.
        roots: where datasets and outputs may be.
        devices: one job at a time runs on each.
        publish: called from the jobs' thread with everything that subscribers may want to know.
        cluster: address of a Ray cluster that trainings use, None for this machine alone.
        store: URL through which runs and datasets travel to its machines, None where these see the same folders.
        max_queued: jobs that may wait, run or pause at a time.
    """

    def __init__(
        self,
        state_dir: Path,
        roots: Roots,
        devices: list[Device],
        publish: Callable[[Event], None],
        *,
        cluster: str | None = None,
        store: str | None = None,
        max_queued: int = MAX_QUEUED,
    ) -> None:
        self._roots, self._max_queued = roots, max_queued
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._table = JobTable(state_dir, publish)
        self._processes = Supervisor(self._table, devices, self._inbox.put, cluster=cluster, store=store)
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)

    def start(self) -> None:
        """Take up the jobs of the last server, and begin to work. Raises BackendError when their list is damaged."""
        self._table.open()
        self._thread.start()

    def stop(self) -> None:
        """Let every process finish its step, and end; the jobs go on when a server starts again."""
        self._inbox.put(self._stop)
        if self._thread.ident is not None:
            self._thread.join()

    def ask(
        self,
        question: Callable[[], Any],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
        post: Callable[..., None],
    ) -> None:
        """Have the jobs' thread call `question`, and `post(done, its result)` or `post(failed, its exception)`."""

        def answer() -> None:
            try:
                result = question()
            except Exception as error:  # belongs to whoever asked
                post(failed, error)
            else:
                post(done, result)

        self._inbox.put(answer)

    # -- what may be asked (in the jobs' thread) ---------------------------------------------------------------------

    def submit(self, kind: str, request: Submission) -> JobBody:
        """Queue a job. Raises Legs4dError when it could not work.

        A ticket that was used before gives the job that was submitted with it then, so that a client that did not
        hear the answer may ask again. So does the same request while its job is not over, whoever asks: a command that
        was killed and is given again meets its own job.
        """
        if known := self._table.known(kind, request):
            return known.body()
        if len(self._table.active) >= self._max_queued:
            raise BackendError(f"{self._max_queued} jobs wait already", fix="let some of them end", code=Code.BUSY)
        if len(request.model_dump_json(exclude_unset=True)) > MAX_REQUEST:
            fix = "name a folder or a pattern in place of single files, or fewer of them"
            what = f"has more than {MAX_REQUEST} characters"
            raise BackendError(what, where=f"the body of '{kind}'", fix=fix, code=Code.BODY)
        wanted = self._wanted(request)
        spec = JOB_KINDS[kind].prepare(request, self._roots)
        other = next((other for other in self._table.active.values() if other.writes == spec["out"]), None)
        if other and _asks_the_same(other, kind, request):
            return other.body()
        if other:
            name = _output_name(request)
            raise BackendError(f"job {other.id} writes this already", where=name, fix="cancel it first", code=Code.JOB)
        job = Job(
            id=secrets.token_hex(6),
            kind=kind,
            request=request.model_dump(exclude_unset=True),
            spec=spec,
            writes=spec["out"],
            wanted=wanted,
            created=time.time(),
            priority=request.priority,
            ticket=request.ticket,
        )
        job.spec["job"] = job.id
        self._table.add(job)
        self._processes.start_what_can()
        return job.body()

    def all(self, after: str | None = None, limit: int = MAX_LISTED) -> list[JobBody]:
        """The newest jobs, newest first; only those older than the job `after`."""
        return [self._table.active.get(job.id, job).body() for job in self._table.store.newest(limit, after)]

    def one(self, job_id: str) -> JobBody:
        """A job. Raises BackendError `job`."""
        return self._table.find(job_id).body()

    def cancel(self, job_id: str) -> JobBody:
        """End a job: at once if it only waits, within a second if it runs. Frames finished so far are kept."""
        job = self._table.open_job(job_id)
        if self._processes.stop_process(job, "cancelling", CANCEL_SECONDS):
            return job.body()
        self._table.end(job, "cancelled", "cancelled before it began" if not job.attempts else "cancelled")
        return job.body()

    def pause(self, job_id: str) -> JobBody:
        """Have a job wait, after its present step, until it is resumed; it holds no device meanwhile."""
        job = self._table.open_job(job_id)
        if job.state in ("cancelling", "paused"):
            raise BackendError(f"is {job.state} already", where=f"job {job_id}", code=Code.JOB)
        if not self._processes.stop_process(job, "pausing", PAUSE_SECONDS):
            self._table.save(job, "paused", "paused")
        return job.body()

    def resume(self, job_id: str) -> JobBody:
        """Queue a paused job again; it goes on from its last finished frame."""
        job = self._table.open_job(job_id)
        if job.state != "paused":
            raise BackendError(f"is not paused but {job.state}", where=f"job {job_id}", code=Code.JOB)
        self._table.save(job, "queued", "waits for a free device")
        self._processes.start_what_can()
        return job.body()

    def retry(self, job_id: str) -> JobBody:
        """Queue a job again that failed or was cancelled; what it finished is not done again."""
        job = self._table.find(job_id)
        if job.state not in ("failed", "cancelled"):
            raise BackendError(f"has not failed, it is {job.state}", where=f"job {job_id}", code=Code.JOB)
        if job.kind not in JOB_KINDS:
            raise BackendError(f"this legs4d has no jobs of kind '{job.kind}'", where=f"job {job_id}", code=Code.JOB)
        if any(other.writes == job.writes for other in self._table.active.values()):
            raise BackendError("another job writes to the same place", where=f"job {job_id}", code=Code.JOB)
        job.fruitless, job.error, job.ended = 0, None, None
        self._table.active[job.id] = job
        self._table.save(job, "queued", "waits for a free device")
        self._processes.start_what_can()
        return job.body()

    def prioritise(self, job_id: str, priority: int) -> JobBody:
        """Change the place of a job in the queue; one that runs goes on running."""
        job = self._table.open_job(job_id)
        job.priority = priority
        self._table.store_if_possible(job)
        return job.body()

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state, those that are over too."""
        return self._table.store.counts()

    def status(self) -> dict[str, Any]:
        """What runs where: {devices: [{name, job or None}], queued, paused}."""
        on = self._processes.on_devices()
        states = [job.state for job in self._table.active.values()]
        return {
            "devices": [{"name": name, "job": on.get(name)} for name in self._processes.devices],
            "queued": states.count("queued"),
            "paused": states.count("paused"),
        }

    def paths_in_use(self) -> set[str]:
        """Every text in what the jobs that are not over are told, paths among it."""
        return {text for job in self._table.active.values() for text in _texts(job.spec)}

    def log_file(self, job_id: str) -> Path:
        """Where a job's log is. Raises BackendError `job`."""
        return self._table.folder(self._table.find(job_id)) / joblog.NAME

    def _wanted(self, request: Submission) -> str:
        if not isinstance(request, OnDevice):
            return ""
        if request.device not in ("auto", *self._processes.devices):
            known = ", ".join(["auto", *self._processes.devices])
            raise BackendError(f"there is no device '{request.device}'", fix=f"choose from {known}", code=Code.BODY)
        return request.device

    # -- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._processes.recover()
        while not self._stopping:
            try:
                self._inbox.get(timeout=TICK_SECONDS)()
            except queue.Empty:
                pass
            except Exception:
                log.exception("defect in the jobs' thread")
            try:
                self._processes.tick()
            except Exception:
                log.exception("defect in the jobs' thread")
        self._table.store.close()

    def _stop(self) -> None:
        def listen() -> None:
            with suppress(queue.Empty):
                self._inbox.get(timeout=TICK_SECONDS)()

        self._stopping = True
        self._processes.stop(listen)


def _asks_the_same(job: Job, kind: str, request: Submission) -> bool:
    """Whether a job does what is asked for, and will: only its ticket, its place in the queue and device may differ."""
    said = [
        {name: value for name, value in told.items() if name not in ("ticket", "priority", "device")}
        for told in (job.request, request.model_dump(exclude_unset=True))
    ]
    return job.kind == kind and job.state != "cancelling" and said[0] == said[1]


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _output_name(request: Submission) -> str:
    """What the request calls the place that its job writes to."""
    return str(getattr(request, "out", "") or getattr(request, "run", ""))
