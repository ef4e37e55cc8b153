"""The processes that do the jobs: one per device, watched, ended in time, started again after any death."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from backend.bodies import State
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
from backend.jobs.store import Job
from backend.jobs.table import JobTable, progress_of

log = logging.getLogger("legs4d.backend")

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


class Supervisor:
    """Starts and watches the jobs' processes. For the jobs' thread alone.

    Args:
        table: the jobs.
        devices: one job at a time runs on each.
        post: has the jobs' thread call something; may be called from any thread.
        cluster, store: see `Jobs`.
    """

    def __init__(
        self,
        table: JobTable,
        devices: list[Device],
        post: Callable[[Callable[[], None]], None],
        *,
        cluster: str | None,
        store: str | None,
    ) -> None:
        self._table, self._post = table, post
        self._cluster, self._store_url = cluster, store
        self._devices = {device.name: device for device in devices}
        self._workers: dict[str, _Running] = {}
        self._orphans: dict[str, float] = {}
        """Jobs on which a process of the last server works, and when its time is up."""
        self._stopping = False

    @property
    def devices(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._devices)

    def on_devices(self) -> dict[str, str]:
        """Device → the job that holds it."""
        return {self._table.active[job_id].device: job_id for job_id in (*self._workers, *self._orphans)}

    def recover(self) -> None:
        """Take up what the last server was doing when it died or stopped.

        It may have died between any two steps: a job that it had not even noted as running may have a process.
        """
        for job in self._table.store.unfinished():
            self._table.active[job.id] = job
            if job.kind not in JOB_KINDS:
                what = f"this legs4d has no jobs of kind '{job.kind}'"
                self._table.fail(job, what, "submit it again as another kind")
            elif lock_holder(self._table.folder(job) / LOCK_FILE) is not None:
                log.info("job %s: a process of the last server still works on it", job.id)
                self._orphans[job.id] = time.monotonic() + ORPHAN_SECONDS
            elif job.state not in ("queued", "paused"):
                self._conclude(job, "the last server died; goes on where it was")
        self.start_what_can()

    def tick(self) -> None:
        """Tell what the logs say, and end what has overrun its time."""
        now = time.monotonic()
        for running in list(self._workers.values()):
            for event in running.log.news():
                self._table.publish(("log", event))
            if now > running.process.deadline:
                log.warning("job %s: its process did not end in time and is killed", running.job.id)
                running.process.deadline = float("inf")
                running.process.kill()
        for job_id, deadline in list(self._orphans.items()):
            self._watch_orphan(self._table.active[job_id], now > deadline)

    def start_what_can(self) -> None:
        """Give every free device the most urgent job that may run on it, of equal ones the oldest."""
        if self._stopping:
            return
        busy, taken = (*self._workers, *self._orphans), self.on_devices()
        free = [device for device in (*self._devices, HOST) if device not in taken]
        for job in sorted(self._table.active.values(), key=lambda job: (-job.priority, job.created)):
            if job.state != "queued" or job.id in busy:
                continue
            device = self._device_for(job, free)
            if device:
                free.remove(device)
                self._start(job, device)

    def stop_process(self, job: Job, state: State, seconds: float) -> bool:
        """Have a job's process stop, if there is one; the job is in this state until then."""
        running = self._workers.get(job.id)
        if running is None and job.id not in self._orphans:
            return False
        self._table.save(job, state, "stops after this step")
        if running:
            running.process.ask_to_stop(seconds)
        else:
            self._orphans[job.id] = min(self._orphans[job.id], time.monotonic() + seconds)
        return True

    def stop(self, listen: Callable[[], None]) -> None:
        """Start nothing more, have every process finish its step, and hear them out.

        Args:
            listen: does what was posted meanwhile, and waits for that if need be.
        """
        self._stopping = True
        for running in self._workers.values():
            running.process.ask_to_stop(SHUTDOWN_SECONDS)
        give_up = time.monotonic() + SHUTDOWN_SECONDS + FAREWELL_SECONDS
        while self._workers and time.monotonic() < give_up:
            listen()
            self.tick()
        for running in self._workers.values():
            log.error("job %s: its process cannot be ended", running.job.id)

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
        forget_outcome(self._table.folder(job))
        self._table.save(job, "running", "starts")
        where = {"cluster": self._cluster, "store": self._store_url}
        spec = {**job.spec, "work": JOB_KINDS[job.kind].work, **where}
        try:
            process = WorkerProcess(
                self._table.folder(job),
                spec,
                self._devices.get(device),
                report=lambda message: self._post(lambda: self._hear(job, message)),
                ended=lambda code: self._post(lambda: self._bury(job, code)),
            )
        except OSError as error:
            self._table.fail(job, f"no process could be started ({error.strerror})", "free some memory and retry it")
            return
        self._workers[job.id] = _Running(job, process, joblog.Tail(job.id, self._table.folder(job)))
        log.info("job %s (%s) runs on %s (pid %d, attempt %d)", job.id, job.kind, device, process.pid, job.attempts)

    def _watch_orphan(self, job: Job, overdue: bool) -> None:
        """A process whose server died stops by itself after its step; whoever holds the lock is that process."""
        holder = lock_holder(self._table.folder(job) / LOCK_FILE)
        if holder is not None:
            if overdue and holder:
                log.warning("job %s: the process of the last server (%d) is killed", job.id, holder)
                self._orphans[job.id] = float("inf")
                kill_group(holder)
            return
        del self._orphans[job.id]
        if job.state != "queued" or read_outcome(self._table.folder(job)):
            self._conclude(job, "the last server died; goes on where it was")
        self.start_what_can()

    def _hear(self, job: Job, message: dict[str, Any]) -> None:
        running = self._workers.get(job.id)
        if running is None:
            return
        if "progress" in message:
            job.progress = progress_of(job, **message["progress"])
            if time.monotonic() > running.saved + SAVE_SECONDS:
                running.saved = time.monotonic()
                self._table.store_if_possible(job)
            self._table.publish(("progress", job.body()))
        elif "ended" in message:
            running.process.deadline = min(running.process.deadline, time.monotonic() + FAREWELL_SECONDS)

    def _bury(self, job: Job, code: int) -> None:
        """A process ended."""
        running = self._workers.pop(job.id)
        for event in running.log.news():
            self._table.publish(("log", event))
        if code == BUSY_EXIT:
            log.info("job %s: a process of the last server still works on it", job.id)
            self._orphans[job.id] = time.monotonic() + ORPHAN_SECONDS
            return
        self._conclude(job, f"its process {how_it_ended(code)}; goes on from the last finished frame", code)
        self.start_what_can()

    def _conclude(self, job: Job, reason: str, code: int | None = None) -> None:
        """Whatever a job's process left behind decides what becomes of the job: an outcome on the disk, or nothing.

        `code` is the exit code of this server's process, None when the last server's has gone.
        """
        outcome = read_outcome(self._table.folder(job))
        if "done" in outcome:
            job.result = outcome["done"]
            self._table.end(job, "done", "done")
        elif "error" in outcome:
            job.error = outcome["error"]
            self._table.end(job, "failed", outcome["error"]["message"])
        elif job.state == "cancelling":
            self._table.end(job, "cancelled", "cancelled; finished frames are kept")
        elif job.state == "pausing":
            self._table.save(job, "paused", "paused; goes on from the last finished frame when it is resumed")
        elif code is None:
            self._table.save(job, "queued", reason)
        elif "stopped" in outcome or self._stopping:
            self._table.save(job, "queued", "stopped; goes on when the server starts again")
        else:
            self._mourn(job, reason, code)

    def _mourn(self, job: Job, reason: str, code: int) -> None:
        """A process died without a word: try again, unless several have died without getting anywhere."""
        log.warning("job %s: its process %s", job.id, how_it_ended(code))
        further = JOB_KINDS[job.kind].achieved(job.spec) > job.achieved
        job.fruitless = 1 if further else job.fruitless + 1
        if job.fruitless >= MAX_FRUITLESS:
            self._table.fail(
                job,
                f"its process {how_it_ended(code)}, {MAX_FRUITLESS} times without finishing a frame",
                "see the job's log; if memory ran out, work at a smaller scale",
            )
        else:
            self._table.save(job, "queued", reason)


class _Running:
    """A job's process, and what is known of it."""

    def __init__(self, job: Job, process: WorkerProcess, log_tail: joblog.Tail) -> None:
        self.job, self.process, self.log = job, process, log_tail
        self.saved = 0.0
