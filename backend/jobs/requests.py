"""Requests about jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

from backend import wire
from backend.bodies import JobBody
from backend.jobs import log as joblog
from backend.jobs.kinds import JOB_KINDS
from backend.jobs.queue import Jobs
from backend.jobs.subscriptions import Subscriptions
from backend.runs.requests import Handler, unless_ended
from backend.service import requests
from backend.service.clients import Call
from backend.service.loop import Loop
from backend.wire import Kind

PAGE_BYTES = wire.REPLY_LIMITS.header // 2
"""That a list of jobs may have; a single one is always told of."""


class JobRequests:
    """Handlers; they are called in the socket's thread and return at once."""

    def __init__(self, jobs: Jobs, subscriptions: Subscriptions, loop: Loop) -> None:
        self._jobs, self._subscriptions, self._loop = jobs, subscriptions, loop
        self.handlers: dict[str, Handler] = {
            **{kind: partial(self._submit, kind) for kind in JOB_KINDS},
            Kind.JOBS: self._list,
            Kind.JOB: self._one,
            Kind.JOB_LOG: self._log,
            Kind.SUBSCRIBE: self._subscribe,
            Kind.CANCEL_JOB: self._change(jobs.cancel),
            Kind.PAUSE_JOB: self._change(jobs.pause),
            Kind.RESUME_JOB: self._change(jobs.resume),
            Kind.RETRY_JOB: self._change(jobs.retry),
            Kind.PRIORITISE_JOB: self._prioritise,
        }

    def _submit(self, kind: str, call: Call, body: requests.Submission) -> None:
        self._ask(call, partial(self._jobs.submit, kind, body), lambda job: call.ok({"job": job["job"]}))

    def _change(self, change: Callable[[str], JobBody]) -> Handler:
        def handle(call: Call, body: requests.JobName) -> None:
            self._ask(call, partial(change, body.job), call.ok)

        return handle

    def _prioritise(self, call: Call, body: requests.Prioritise) -> None:
        self._ask(call, partial(self._jobs.prioritise, body.job, body.priority), call.ok)

    def _list(self, call: Call, body: requests.JobPage) -> None:
        def done(jobs: list[JobBody]) -> None:
            shown = _fitting(jobs[: body.limit])
            call.ok({"jobs": shown, "next": shown[-1]["job"] if len(jobs) > len(shown) else None})

        self._ask(call, lambda: self._jobs.all(body.after, body.limit + 1), done)

    def _one(self, call: Call, body: requests.JobName) -> None:
        self._ask(call, partial(self._jobs.one, body.job), call.ok)

    def _log(self, call: Call, body: requests.JobLog) -> None:
        self._ask(call, lambda: joblog.read_piece(self._jobs.log_file(body.job), body.offset), call.ok)

    def _subscribe(self, call: Call, body: requests.Subscribe) -> None:
        job_id = body.job

        def present() -> list[JobBody]:
            return self._jobs.all() if job_id is None else [self._jobs.one(job_id)]

        self._ask(call, present, lambda jobs: self._subscriptions.add(call, job_id, jobs, log=body.log))

    def _ask(self, call: Call, question: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Have the jobs' thread answer."""
        self._jobs.ask(question, unless_ended(call, done), call.fail, self._loop.post)


def _fitting(jobs: list[JobBody]) -> list[JobBody]:
    """The first of them, as many as a reply holds."""
    sizes = accumulate(len(json.dumps(job)) for job in jobs)
    return jobs[: max(1, sum(size <= PAGE_BYTES for size in sizes))]
