"""Who hears about which job. Lives in the socket's thread."""

from __future__ import annotations

from typing import Any

from backend.bodies import JobBody, ProgressBody
from backend.jobs.store import OVER
from backend.jobs.table import Event
from backend.service.clients import Call
from backend.wire import Kind

ALL = ""
"""Subscribes to every job."""


class Subscriptions:
    """Calls of kind `subscribe` that are not answered yet, by job."""

    def __init__(self) -> None:
        self._calls: dict[str, dict[Call, bool]] = {}

    def add(self, call: Call, job_id: str | None, jobs: list[JobBody], *, log: bool) -> None:
        """Tell the present state of these jobs and, from now on, what changes in them (and in their log)."""
        name = job_id or ALL
        listening = self._calls.setdefault(name, {})
        listening[call] = log
        call.at_end.append(lambda: self._remove(name, call))
        for job in jobs:
            if name != ALL or job["state"] not in OVER:
                self._tell_progress(call, job)
        if name != ALL and jobs[0]["state"] in OVER:
            call.ok(jobs[0])

    def publish(self, event: Event) -> None:
        """Pass on what the jobs' thread has to say."""
        if event[0] == "log":
            self._publish_log(event[1])
            return
        job = event[1]
        for name in (job["job"], ALL):
            for call in list(self._calls.get(name, ())):
                self._tell_progress(call, job)
                if name != ALL and job["state"] in OVER:
                    call.ok(job)

    def _publish_log(self, body: dict[str, Any]) -> None:
        for name in (body["job"], ALL):
            for call, wants_log in list(self._calls.get(name, {}).items()):
                if wants_log:
                    call.event(Kind.LOG, body)

    def _tell_progress(self, call: Call, job: JobBody) -> None:
        call.event(Kind.PROGRESS, progress_of(job), key=job["job"])

    def _remove(self, name: str, call: Call) -> None:
        self._calls[name].pop(call, None)
        if not self._calls[name]:
            del self._calls[name]


def progress_of(job: JobBody) -> ProgressBody:
    """The `progress` event that tells this state of a job."""
    assert job["progress"] is not None, "every stored job has progress"
    return {**job["progress"], "state": job["state"]}
