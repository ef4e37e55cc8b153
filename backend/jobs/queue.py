"""Jobs: queued, run one per device in processes of their own, resumed after any death, and told about.

All of it happens in one thread, which alone touches the job list; others hand it functions to call.
"""

from __future__ import annotations

import logging
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from backend.jobs import log as joblog
from backend.jobs.devices import Device
from backend.jobs.kinds import JOB_KINDS
from backend.jobs.process import (
    BUSY_EXIT,
    LOCK_FILE,
    WorkerProcess,
    forget_outcome,
    how_it_ended,
    kill_group,
    lock_holder,
    read_outcome,
)
from backend.jobs.store import Job, JobStore
from backend.runs.paths import Roots
from backend.service.errors import BackendError
from backend.service.requests import OnDevice, Submission
from backend.wire import Code, JobBody, ProgressBody, State

log = logging.getLogger("legs4d.backend")

TICK_SECONDS = 0.2
MAX_QUEUED = 1000
MAX_LISTED = 500
MAX_KEPT = 2000
"""Jobs that are over; older ones are forgotten, with their logs."""
MAX_REQUEST = 4096
"""Characters of a request as JSON: every listing of the jobs repeats it."""
MAX_FRUITLESS = 3
"""Processes that may die in a row without getting anywhere before the job counts as failed."""
HOST = "host"
"""Stands for the device of jobs that need none, and run on the host one at a time."""

# Time for a process to end by itself before it is killed, which loses no more than the step that it is at:
CANCEL_SECONDS = 0.6
PAUSE_SECONDS = 5.0
SHUTDOWN_SECONDS = 10.0
FAREWELL_SECONDS = 5.0
"""… after it said how it ended."""
ORPHAN_SECONDS = 5.0
"""… when it belongs to a server that died."""
SAVE_SECONDS = 1.0
"""Progress is written to disk at most this often; what is finished is known from the work itself."""

Event = tuple[Literal["progress"], JobBody] | tuple[Literal["log"], dict[str, Any]]


class Jobs:
    """The job list and its processes.

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
        self._folder = state_dir / "jobs"
        self._state_dir, self._roots, self._publish = state_dir, roots, publish
        self._cluster, self._store_url, self._max_queued = cluster, store, max_queued
        self._devices = {device.name: device for device in devices}
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._active: dict[str, Job] = {}
        """Every job that is not over, oldest first."""
        self._workers: dict[str, _Running] = {}
        self._orphans: dict[str, float] = {}
        """Jobs on which a process works that is not ours, and when its time is up."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._store: JobStore

    def start(self) -> None:
        """Take up the jobs of the last server, and begin to work. Raises BackendError when their list is damaged."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._store = JobStore(self._state_dir)
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
        hear the answer may ask again.
        """
        if known := self._known(kind, request):
            return known.body()
        if len(self._active) >= self._max_queued:
            raise BackendError(f"{self._max_queued} jobs wait already", fix="let some of them end", code=Code.BUSY)
        if len(request.model_dump_json()) > MAX_REQUEST:
            raise BackendError(f"has more than {MAX_REQUEST} characters", where=f"the body of '{kind}'", code=Code.BODY)
        wanted = self._wanted(request)
        spec = JOB_KINDS[kind].prepare(request, self._roots)
        other = next((other for other in self._active.values() if other.writes == spec["out"]), None)
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
        self._job_folder(job).mkdir(mode=0o700)
        job.progress = _progress(job, stage="", done=0, total=0, message="waits for a free device")
        self._store.put(job)  # or raise: a job that could be forgotten is not taken on
        self._active[job.id] = job
        self._publish(("progress", job.body()))
        self._start_what_can()
        return job.body()

    def all(self, after: str | None = None, limit: int = MAX_LISTED) -> list[JobBody]:
        """The newest jobs, newest first; only those older than the job `after`."""
        return [self._active.get(job.id, job).body() for job in self._store.newest(limit, after)]

    def one(self, job_id: str) -> JobBody:
        """A job. Raises BackendError `job`."""
        return self._find(job_id).body()

    def cancel(self, job_id: str) -> JobBody:
        """End a job: at once if it only waits, within a second if it runs. Frames finished so far are kept."""
        job = self._open_job(job_id)
        if self._has_process(job, "cancelling", CANCEL_SECONDS):
            return job.body()
        self._end(job, "cancelled", "cancelled before it began" if not job.attempts else "cancelled")
        return job.body()

    def pause(self, job_id: str) -> JobBody:
        """Have a job wait, after its present step, until it is resumed; it holds no device meanwhile."""
        job = self._open_job(job_id)
        if job.state in ("cancelling", "paused"):
            raise BackendError(f"is {job.state} already", where=f"job {job_id}", code=Code.JOB)
        if not self._has_process(job, "pausing", PAUSE_SECONDS):
            self._save(job, "paused", "paused")
        return job.body()

    def resume(self, job_id: str) -> JobBody:
        """Queue a paused job again; it goes on from its last finished frame."""
        job = self._open_job(job_id)
        if job.state != "paused":
            raise BackendError(f"is not paused but {job.state}", where=f"job {job_id}", code=Code.JOB)
        self._save(job, "queued", "waits for a free device")
        self._start_what_can()
        return job.body()

    def retry(self, job_id: str) -> JobBody:
        """Queue a job again that failed or was cancelled; what it finished is not done again."""
        job = self._find(job_id)
        if job.state not in ("failed", "cancelled"):
            raise BackendError(f"has not failed, it is {job.state}", where=f"job {job_id}", code=Code.JOB)
        if job.kind not in JOB_KINDS:
            raise BackendError(f"this legs4d has no jobs of kind '{job.kind}'", where=f"job {job_id}", code=Code.JOB)
        if any(other.writes == job.writes for other in self._active.values()):
            raise BackendError("another job writes to the same place", where=f"job {job_id}", code=Code.JOB)
        job.fruitless, job.error, job.ended = 0, None, None
        self._active[job.id] = job
        self._save(job, "queued", "waits for a free device")
        self._start_what_can()
        return job.body()

    def prioritise(self, job_id: str, priority: int) -> JobBody:
        """Change the place of a job in the queue; one that runs goes on running."""
        job = self._open_job(job_id)
        job.priority = priority
        self._store_if_possible(job)
        return job.body()

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state, those that are over too."""
        return self._store.counts()

    def status(self) -> dict[str, Any]:
        """What runs where: {devices: [{name, job or None}], queued, paused}."""
        on = {self._active[job_id].device: job_id for job_id in (*self._workers, *self._orphans)}
        states = [job.state for job in self._active.values()]
        return {
            "devices": [{"name": name, "job": on.get(name)} for name in self._devices],
            "queued": states.count("queued"),
            "paused": states.count("paused"),
        }

    def paths_in_use(self) -> set[str]:
        """Every text in what the jobs that are not over are told, paths among it."""
        return {text for job in self._active.values() for text in _texts(job.spec)}

    def log_file(self, job_id: str) -> Path:
        """Where a job's log is. Raises BackendError `job`."""
        return self._job_folder(self._find(job_id)) / joblog.NAME

    def _known(self, kind: str, request: Submission) -> Job | None:
        """The job of this ticket."""
        known = self._store.by_ticket(request.ticket) if request.ticket is not None else None
        if known and (known.kind, known.request) != (kind, request.model_dump(exclude_unset=True)):
            raise BackendError(
                f"this ticket is job {known.id}'s, which asked for something else", fix="take a new one", code=Code.JOB
            )
        return self._active.get(known.id, known) if known else None

    def _wanted(self, request: Submission) -> str:
        if not isinstance(request, OnDevice):
            return ""
        if request.device not in ("auto", *self._devices):
            known = ", ".join(["auto", *self._devices])
            raise BackendError(f"there is no device '{request.device}'", fix=f"choose from {known}", code=Code.BODY)
        return request.device

    def _has_process(self, job: Job, state: State, seconds: float) -> bool:
        """Have a job's process stop, if there is one; the job is in this state until then."""
        running = self._workers.get(job.id)
        if running is None and job.id not in self._orphans:
            return False
        self._save(job, state, "stops after this step")
        if running:
            running.process.ask_to_stop(seconds)
        else:
            self._orphans[job.id] = min(self._orphans[job.id], time.monotonic() + seconds)
        return True

    # -- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        self._recover()
        while not self._stopping:
            try:
                self._inbox.get(timeout=TICK_SECONDS)()
            except queue.Empty:
                pass
            except Exception:
                log.exception("defect in the jobs' thread")
            try:
                self._tick()
            except Exception:
                log.exception("defect in the jobs' thread")
        self._store.close()

    def _recover(self) -> None:
        """Take up what the last server was doing when it died or stopped.

        It may have died between any two steps: a job that it had not even noted as running may have a process.
        """
        for job in self._store.unfinished():
            self._active[job.id] = job
            if job.kind not in JOB_KINDS:
                self._fail(job, f"this legs4d has no jobs of kind '{job.kind}'", "submit it again as another kind")
                continue
            if lock_holder(self._job_folder(job) / LOCK_FILE) is not None:
                log.info("job %s: a process of the last server still works on it", job.id)
                self._orphans[job.id] = time.monotonic() + ORPHAN_SECONDS
            elif job.state not in ("queued", "paused"):
                self._conclude(job, "the last server died; goes on where it was")
        self._start_what_can()

    def _tick(self) -> None:
        now = time.monotonic()
        for running in list(self._workers.values()):
            for event in running.log.news():
                self._publish(("log", event))
            if now > running.process.deadline:
                log.warning("job %s: its process did not end in time and is killed", running.job.id)
                running.process.deadline = float("inf")
                running.process.kill()
        for job_id, deadline in list(self._orphans.items()):
            self._watch_orphan(self._active[job_id], now > deadline)

    def _watch_orphan(self, job: Job, overdue: bool) -> None:
        """A process whose server died stops by itself after its step; whoever holds the lock is that process."""
        holder = lock_holder(self._job_folder(job) / LOCK_FILE)
        if holder is not None:
            if overdue and holder:
                log.warning("job %s: the process of the last server (%d) is killed", job.id, holder)
                self._orphans[job.id] = float("inf")
                kill_group(holder)
            return
        del self._orphans[job.id]
        if job.state != "queued" or read_outcome(self._job_folder(job)):
            self._conclude(job, "the last server died; goes on where it was")
        self._start_what_can()

    def _start_what_can(self) -> None:
        """Give every free device the most urgent job that may run on it, of equal ones the oldest."""
        if self._stopping:
            return
        busy = (*self._workers, *self._orphans)
        taken = {self._active[job_id].device for job_id in busy}
        free = [device for device in (*self._devices, HOST) if device not in taken]
        for job in sorted(self._active.values(), key=lambda job: (-job.priority, job.created)):
            if job.state != "queued" or job.id in busy:
                continue
            device = self._device_for(job, free)
            if device:
                free.remove(device)
                self._start(job, device)

    def _device_for(self, job: Job, free: list[str]) -> str | None:
        """For "auto": a CUDA device; the CPU only where there is no other, since training on it takes hours."""
        if job.wanted == "":
            candidates = [HOST]
        elif job.wanted != "auto":
            candidates = [job.wanted]
        else:
            candidates = [name for name in self._devices if not name.startswith("cpu")] or list(self._devices)
        return next((device for device in candidates if device in free), None)

    def _start(self, job: Job, device: str) -> None:
        job.device, job.attempts = device, job.attempts + 1
        job.started = job.started or time.time()
        job.achieved = JOB_KINDS[job.kind].achieved(job.spec)
        # In this order: should this server die in between, the next one finds no old outcome, and looks for a process.
        forget_outcome(self._job_folder(job))
        self._save(job, "running", "starts")
        where = {"cluster": self._cluster, "store": self._store_url}
        spec = {**job.spec, "work": JOB_KINDS[job.kind].work, **where}
        try:
            process = WorkerProcess(
                self._job_folder(job),
                spec,
                self._devices.get(device),
                report=lambda message: self._inbox.put(lambda: self._hear(job, message)),
                ended=lambda code: self._inbox.put(lambda: self._bury(job, code)),
            )
        except OSError as error:
            self._fail(job, f"no process could be started ({error.strerror})", "free some memory and retry it")
            return
        self._workers[job.id] = _Running(job, process, joblog.Tail(job.id, self._job_folder(job)))
        log.info("job %s (%s) runs on %s (pid %d, attempt %d)", job.id, job.kind, device, process.pid, job.attempts)

    # -- what processes say ----------------------------------------------------------------------------------------

    def _hear(self, job: Job, message: dict[str, Any]) -> None:
        running = self._workers.get(job.id)
        if running is None:
            return
        if "progress" in message:
            job.progress = _progress(job, **message["progress"])
            if time.monotonic() > running.saved + SAVE_SECONDS:
                running.saved = time.monotonic()
                self._store_if_possible(job)
            self._publish(("progress", job.body()))
        elif "ended" in message:
            running.process.deadline = min(running.process.deadline, time.monotonic() + FAREWELL_SECONDS)

    def _bury(self, job: Job, code: int) -> None:
        """A process ended."""
        running = self._workers.pop(job.id)
        for event in running.log.news():
            self._publish(("log", event))
        if code == BUSY_EXIT:
            log.info("job %s: a process of the last server still works on it", job.id)
            self._orphans[job.id] = time.monotonic() + ORPHAN_SECONDS
            return
        self._conclude(job, f"its process {how_it_ended(code)}; goes on from the last finished frame", code)
        self._start_what_can()

    def _conclude(self, job: Job, reason: str, code: int | None = None) -> None:
        """Whatever a job's process left behind decides what becomes of the job: an outcome on the disk, or nothing.

        `code` is the exit code of a process that was ours, None when another server's has gone.
        """
        outcome = read_outcome(self._job_folder(job))
        if "done" in outcome:
            job.result = outcome["done"]
            self._end(job, "done", "done")
        elif "error" in outcome:
            job.error = outcome["error"]
            self._end(job, "failed", outcome["error"]["message"])
        elif job.state == "cancelling":
            self._end(job, "cancelled", "cancelled; finished frames are kept")
        elif job.state == "pausing":
            self._save(job, "paused", "paused; goes on from the last finished frame when it is resumed")
        elif code is None:
            self._save(job, "queued", reason)
        elif "stopped" in outcome or self._stopping:
            self._save(job, "queued", "stopped; goes on when the server starts again")
        else:
            self._mourn(job, reason, code)

    def _mourn(self, job: Job, reason: str, code: int) -> None:
        """A process died without a word: try again, unless several have died without getting anywhere."""
        log.warning("job %s: its process %s", job.id, how_it_ended(code))
        further = JOB_KINDS[job.kind].achieved(job.spec) > job.achieved
        job.fruitless = 1 if further else job.fruitless + 1
        if job.fruitless >= MAX_FRUITLESS:
            self._fail(
                job,
                f"its process {how_it_ended(code)}, {MAX_FRUITLESS} times without finishing a frame",
                "see the job's log; if memory ran out, work at a smaller scale",
            )
        else:
            self._save(job, "queued", reason)

    # -- states ----------------------------------------------------------------------------------------------------

    def _fail(self, job: Job, message: str, hint: str) -> None:
        job.error = {"code": str(Code.FAILED), "message": f"job {job.id}: {message}", "hint": hint}
        self._end(job, "failed", message)

    def _end(self, job: Job, state: State, message: str) -> None:
        job.ended = time.time()
        self._active.pop(job.id, None)
        if state == "cancelled":
            JOB_KINDS[job.kind].discard(job.spec)
        self._save(job, state, message)
        log.info("job %s: %s", job.id, message if state != "done" else "done")
        for forgotten in self._store.forget_oldest(MAX_KEPT):
            shutil.rmtree(self._folder / forgotten, ignore_errors=True)

    def _save(self, job: Job, state: State, message: str) -> None:
        """Write the job to disk in its new state, then tell everybody.

        On a full disk the state is kept in memory alone: should the server die too, the job goes on from the old one.
        """
        before = job.progress
        job.state = state
        job.progress = _progress(
            job,
            stage=before["stage"] if before else "",
            done=before["done"] if before else 0,
            total=before["total"] if before else 0,
            loss=before["loss"] if before else None,
            message=message,
        )
        self._store_if_possible(job)
        self._publish(("progress", job.body()))

    def _store_if_possible(self, job: Job) -> None:
        try:
            self._store.put(job)
        except BackendError as error:
            log.error("job %s: %s", job.id, error)

    def _find(self, job_id: str) -> Job:
        job = self._active.get(job_id) or self._store.get(job_id)
        if job is None:
            raise BackendError(f"there is no job {job_id!r}", fix="'jobs' lists them", code=Code.JOB)
        return job

    def _open_job(self, job_id: str) -> Job:
        """A job that is not over. Raises BackendError `job`."""
        job = self._find(job_id)
        if job.over:
            raise BackendError(f"is over already ({job.state})", where=f"job {job_id}", code=Code.JOB)
        return job

    def _job_folder(self, job: Job) -> Path:
        return self._folder / job.id

    def _stop(self) -> None:
        """Runs in the jobs' thread, and hears the processes out."""
        self._stopping = True
        for running in self._workers.values():
            running.process.ask_to_stop(SHUTDOWN_SECONDS)
        give_up = time.monotonic() + SHUTDOWN_SECONDS + FAREWELL_SECONDS
        while self._workers and time.monotonic() < give_up:
            with suppress(queue.Empty):
                self._inbox.get(timeout=TICK_SECONDS)()
            self._tick()
        for running in self._workers.values():
            log.error("job %s: its process cannot be ended", running.job.id)


class _Running:
    """A job's process, and what is known of it."""

    def __init__(self, job: Job, process: WorkerProcess, log_tail: joblog.Tail) -> None:
        self.job, self.process, self.log = job, process, log_tail
        self.saved = 0.0


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


def _progress(
    job: Job,
    *,
    stage: str,
    done: int,
    total: int,
    loss: float | None = None,
    seconds_left: float | None = None,
    message: str = "",
) -> ProgressBody:
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
