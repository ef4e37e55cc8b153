"""Jobs: queued, run one per device in processes of their own, resumed after any death, and told about.

All of it happens in one thread, which alone touches the job list; others hand it functions to call.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from backend import joblog
from backend.devices import Device
from backend.errors import BackendError
from backend.jobstore import Job, JobStore
from backend.paths import Roots
from backend.process import LOCK_FILE, WorkerProcess, how_it_ended, kill_group
from backend.requests import Train
from backend.state import is_locked
from backend.training import finished_frames, make_spec
from backend.wire import Code, JobBody, ProgressBody, State

log = logging.getLogger("legs4d.backend")

TICK_SECONDS = 0.25
MAX_QUEUED = 1000
MAX_LISTED = 500
MAX_FRUITLESS = 3
"""Processes that may die in a row without finishing a frame before the job counts as failed."""
CANCEL_SECONDS = 5.0
"""Time for a process to end by itself before it is killed: when cancelled; when the server stops; when it said it is
done; when it belongs to a server that died."""
SHUTDOWN_SECONDS = 10.0
FAREWELL_SECONDS = 20.0
ORPHAN_SECONDS = 15.0
SAVE_SECONDS = 1.0
"""Progress is written to disk at most this often; what is finished is known from the run itself."""

Event = tuple[Literal["progress"], JobBody] | tuple[Literal["log"], dict[str, Any]]


class Jobs:
    """The job list and its processes.

    Args:
        state_dir: holds the list and a folder per job.
        roots: where datasets and outputs may be.
        devices: one job at a time runs on each.
        publish: called from the jobs' thread with everything that subscribers may want to know.
    """

    def __init__(self, state_dir: Path, roots: Roots, devices: list[Device], publish: Callable[[Event], None]) -> None:
        self._folder = state_dir / "jobs"
        self._state_dir, self._roots, self._publish = state_dir, roots, publish
        self._devices = [device.name for device in devices]
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._active: dict[str, Job] = {}
        """Every job that is not over, oldest first."""
        self._workers: dict[str, _Running] = {}
        self._orphans: dict[str, float] = {}
        """Jobs whose process belongs to a server that died, and when its time is up."""
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

    def submit_train(self, request: Train) -> JobBody:
        """Queue a training job. Raises BackendError, DatasetError or RunError when it could not work."""
        if len(self._active) >= MAX_QUEUED:
            raise BackendError(f"{MAX_QUEUED} jobs wait already", fix="let some of them end", code=Code.BUSY)
        if request.device not in ("auto", *self._devices):
            known = ", ".join(["auto", *self._devices])
            raise BackendError(f"there is no device '{request.device}'", fix=f"choose from {known}", code=Code.BODY)
        spec = make_spec(request, self._roots)
        for job in self._active.values():
            if job.writes == spec["out"]:
                raise BackendError(
                    f"job {job.id} writes this run already", where=request.out, fix="cancel it first", code=Code.JOB
                )
        job = Job(
            id=secrets.token_hex(6),
            kind="train",
            request=request.model_dump(exclude_unset=True),
            spec=spec,
            writes=spec["out"],
            wanted=request.device,
            created=time.time(),
        )
        self._job_folder(job).mkdir(mode=0o700)
        self._active[job.id] = job
        self._save(job, "queued", "waits for a free device")
        self._start_what_can()
        return job.body()

    def all(self) -> list[JobBody]:
        """The newest jobs, newest first."""
        return [self._active.get(job.id, job).body() for job in self._store.newest(MAX_LISTED)]

    def one(self, job_id: str) -> JobBody:
        """A job. Raises BackendError `job`."""
        return self._find(job_id).body()

    def cancel(self, job_id: str) -> JobBody:
        """End a job; at once if it only waits, else after its present step."""
        job = self._find(job_id)
        if job.over:
            raise BackendError(f"is over already ({job.state})", where=f"job {job_id}", code=Code.JOB)
        if running := self._workers.get(job.id):
            self._save(job, "cancelling", "stops after this step")
            running.process.ask_to_stop(CANCEL_SECONDS)
        elif job.id in self._orphans:
            self._save(job, "cancelling", "stops after this step")
        else:
            self._end(job, "cancelled", "cancelled before it began")
        return job.body()

    def log_file(self, job_id: str) -> Path:
        """Where a job's log is. Raises BackendError `job`."""
        return self._job_folder(self._find(job_id)) / joblog.NAME

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
        """Queue again what the last server was doing when it died or stopped."""
        for job in self._store.unfinished():
            self._active[job.id] = job
            if job.state == "queued":
                continue
            if is_locked(self._job_folder(job) / LOCK_FILE):
                log.info("job %s: a process of the last server (pid %d) still works on it", job.id, job.pid)
                self._orphans[job.id] = time.monotonic() + ORPHAN_SECONDS
            else:
                self._requeue(job, "the last server died; goes on where it was")
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
        if is_locked(self._job_folder(job) / LOCK_FILE):
            if overdue and job.pid:
                log.warning("job %s: the process of the last server is killed", job.id)
                self._orphans[job.id] = float("inf")
                kill_group(job.pid)
            return
        del self._orphans[job.id]
        self._requeue(job, "the last server died; goes on where it was")
        self._start_what_can()

    def _start_what_can(self) -> None:
        """Give every free device the oldest job that may run on it."""
        if self._stopping:
            return
        taken = {self._active[job_id].device for job_id in (*self._workers, *self._orphans)}
        free = [device for device in self._devices if device not in taken]
        for job in list(self._active.values()):
            if job.state != "queued" or job.id in self._orphans:
                continue
            device = next((d for d in free if job.wanted == d), None) if job.wanted != "auto" else self._best(free)
            if device:
                free.remove(device)
                self._start(job, device)

    def _best(self, free: list[str]) -> str | None:
        """For "auto": a CUDA device; the CPU only where there is no other, since training on it takes hours."""
        candidates = [device for device in self._devices if device != "cpu"] or ["cpu"]
        return next((device for device in candidates if device in free), None)

    def _start(self, job: Job, device: str) -> None:
        job.device, job.attempts = device, job.attempts + 1
        job.started = job.started or time.time()
        job.finished_frames = finished_frames(job.writes)
        try:
            process = WorkerProcess(
                self._job_folder(job),
                job.spec,
                device,
                report=lambda message: self._inbox.put(lambda: self._hear(job, message)),
                ended=lambda code: self._inbox.put(lambda: self._bury(job, code)),
            )
        except OSError as error:
            self._fail(job, f"no process could be started ({error.strerror})", "free some memory and submit it again")
            return
        job.pid = process.pid
        self._workers[job.id] = _Running(job, process, joblog.Tail(job.id, self._job_folder(job)))
        self._save(job, "running", "starts")
        log.info("job %s runs on %s (pid %d, attempt %d)", job.id, device, process.pid, job.attempts)

    # -- what processes say ----------------------------------------------------------------------------------------

    def _hear(self, job: Job, message: dict[str, Any]) -> None:
        running = self._workers.get(job.id)
        if running is None:
            return
        if "progress" in message:
            job.progress = _progress(job, **message["progress"])
            if time.monotonic() > running.saved + SAVE_SECONDS:
                running.saved = time.monotonic()
                self._store.put(job)
            self._publish(("progress", job.body()))
        else:
            running.outcome = message
            running.process.deadline = min(running.process.deadline, time.monotonic() + FAREWELL_SECONDS)

    def _bury(self, job: Job, code: int) -> None:
        """A process ended: with an outcome that it told, or without."""
        running = self._workers.pop(job.id)
        for event in running.log.news():
            self._publish(("log", event))
        outcome = running.outcome
        if "done" in outcome:
            job.result = outcome["done"]
            self._end(job, "done", "done")
        elif "error" in outcome:
            job.error = outcome["error"]
            self._end(job, "failed", outcome["error"]["message"])
        elif job.state == "cancelling":
            self._end(job, "cancelled", "cancelled; finished frames are kept")
        elif "stopped" in outcome or self._stopping:
            self._requeue(job, "stopped; goes on when the server starts again")
        else:
            self._mourn(job, code)
        self._start_what_can()

    def _mourn(self, job: Job, code: int) -> None:
        """A process died without a word: try again, unless several have died without getting anywhere."""
        reason = how_it_ended(code)
        log.warning("job %s: its process %s", job.id, reason)
        job.fruitless = 1 if finished_frames(job.writes) > job.finished_frames else job.fruitless + 1
        if job.fruitless >= MAX_FRUITLESS:
            self._fail(
                job,
                f"its process {reason}, {MAX_FRUITLESS} times without finishing a frame",
                "see the job's log; if memory ran out, train at a smaller scale",
            )
        else:
            self._requeue(job, f"its process {reason}; goes on from the last finished frame")

    # -- states ----------------------------------------------------------------------------------------------------

    def _requeue(self, job: Job, message: str) -> None:
        if job.state == "cancelling":
            self._end(job, "cancelled", "cancelled; finished frames are kept")
        else:
            self._save(job, "queued", message)

    def _fail(self, job: Job, message: str, hint: str) -> None:
        job.error = {"code": str(Code.FAILED), "message": f"job {job.id}: {message}", "hint": hint}
        self._end(job, "failed", message)

    def _end(self, job: Job, state: State, message: str) -> None:
        job.ended = time.time()
        self._active.pop(job.id, None)
        self._save(job, state, message)
        log.info("job %s: %s", job.id, message if state != "done" else "done")

    def _save(self, job: Job, state: State, message: str) -> None:
        """Write the job to disk in its new state, then tell everybody."""
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
        self._store.put(job)
        self._publish(("progress", job.body()))

    def _find(self, job_id: str) -> Job:
        job = self._active.get(job_id) or self._store.get(job_id)
        if job is None:
            raise BackendError(f"there is no job {job_id!r}", fix="'jobs' lists them", code=Code.JOB)
        return job

    def _job_folder(self, job: Job) -> Path:
        return self._folder / job.id

    def _stop(self) -> None:
        """Runs in the jobs' thread, and hears the processes out."""
        self._stopping = True
        for running in self._workers.values():
            running.process.ask_to_stop(SHUTDOWN_SECONDS)
        give_up = time.monotonic() + SHUTDOWN_SECONDS + CANCEL_SECONDS
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
        self.outcome: dict[str, Any] = {}
        """Its last words: {"done": result}, {"error": body} or {"stopped": true}."""
        self.saved = 0.0


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
