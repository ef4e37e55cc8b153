"""Splat files of formats that only a backend reads: sent to it where it does not see them, made a run, imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import wire
from ..link import backends
from ..link.connection import Link, locator
from ..link.runs import Runs
from ..link.types import Failure, Received
from ..link.upload import Upload
from .plan import Plan, PlanProblem

KIND = "import-splats"


class Sendings:
    """One import at a time, which the panel shows.

    Attributes:
        state: what happens now, a sentence; empty if nothing does.
    """

    def __init__(self, link: Link, runs: Runs) -> None:
        self._link, self._runs = link, runs
        self._one: _Sending | None = None
        self.state = ""

    @property
    def busy(self) -> bool:
        """Whether an import is under way."""
        return self._one is not None

    @property
    def share(self) -> float:
        """How much of the files has arrived at the backend, 0 to 1."""
        return self._one.share if self._one is not None else 0.0

    def start(self, plan: Plan, start_frame: int, set_range: bool) -> None:
        """Begin; a run appears when it is made. PlanProblem without a backend that can, OSError without a file."""
        kind = plan.files[0].suffix
        if not self._link.ready:
            raise PlanProblem(f"{kind} files are read by a backend; connect one in the panel 4-LEGS, and try again.")
        if KIND not in self._link.server.get("kinds", ()):
            raise PlanProblem(f"The backend is too old to read {kind} files; install the release of this extension.")
        if self._one is not None:
            raise PlanProblem("Another import is on its way to the backend; wait for it, or cancel it.")
        self._one = _Sending(self, self._link, self._runs, plan, start_frame, set_range)
        self._one.begin()

    def cancel(self) -> None:
        """Forget the import; its job, if it has begun, is cancelled."""
        one, self._one, self.state = self._one, None, ""
        if one is not None:
            one.cancel()

    def ended(self, message: str) -> None:
        """For the import itself: it is over."""
        self._one, self.state = None, ""
        self._link.message = message


class _Sending:
    """See `Sendings`."""

    def __init__(self, owner: Sendings, link: Link, runs: Runs, plan: Plan, start_frame: int, set_range: bool) -> None:
        self._owner, self._link, self._runs, self._plan = owner, link, runs, plan
        self._start_frame, self._set_range = start_frame, set_range
        self._out, self._job, self._cancelled = plan.run_id(), "", False
        self._names: list[str] = []
        self._upload: Upload | None = None

    @property
    def share(self) -> float:
        part = self._upload.done / max(self._upload.total, 1) if self._upload else 0.0
        return (len(self._names) + part) / len(self._plan.names)

    def begin(self) -> None:
        """Files that a backend of this machine sees are named, others sent; those it made a run of are that run."""
        if self._runs.offers(self._out):
            self._take(self._out)
            return
        seen = [self._name_there(file) for file in self._plan.files]
        if all(seen):
            self._names = [name for name in seen if name]
        self._send_next()

    def cancel(self) -> None:
        self._cancelled = True
        if self._upload is not None:
            self._upload.cancel()
        if self._job:
            self._link.request(wire.Kind.CANCEL_JOB, {"job": self._job})

    def _name_there(self, file: Path) -> str | None:
        """What a backend of this machine calls the file; None where it has to be sent."""
        roots = [Path(root) for root in self._link.server.get("roots", ())]
        if locator() is not backends.locate or not roots:
            return None
        first = roots[0]  # what the others have may be hidden by it
        return file.relative_to(first).as_posix() if file.is_relative_to(first) and file.is_file() else None

    def _send_next(self) -> None:
        if len(self._names) == len(self._plan.files):
            self._submit()
            return
        file = self._plan.files[len(self._names)]
        self._owner.state = f"Sending {file.name}."

        def arrived(name: str) -> None:
            if not self._cancelled:
                self._names.append(name)
                self._send_next()

        if self._link.client is None:
            self._failed(Failure("local", "The connection was closed; import the files again."))
            return
        self._upload = Upload(self._link.client, file, arrived, self._failed, folder=self._out[-100:])
        self._upload.begin()

    def _submit(self) -> None:
        self._owner.state, self._upload = "The backend reads the files.", None
        body: dict[str, Any] = {"paths": self._names, "out": self._out, "fps": self._plan.fps}
        if self._plan.up is not None:
            body["up"] = list(self._plan.up)

        def submitted(reply: Received) -> None:
            self._job = reply.body["job"]
            self._ask(wire.Kind.SUBSCRIBE, {"job": self._job}, over)

        def over(reply: Received) -> None:
            job = reply.body
            if job["state"] != "done":
                self._owner.ended(job["error"]["message"] if job["error"] else "The backend's import was cancelled.")
                return
            self._runs.refresh()
            self._take(job["result"]["run"])

        self._ask(KIND, body, submitted)

    def _take(self, run: str) -> None:
        self._owner.ended("")
        self._runs.import_run(run, self._start_frame, self._set_range)

    def _ask(self, kind: str, body: Mapping[str, Any], then: Callable[[Received], None]) -> None:
        def answered(reply: Received) -> None:
            if not self._cancelled:
                then(reply)

        self._link.request(kind, body, on_reply=answered, on_failure=self._failed)

    def _failed(self, failure: Failure) -> None:
        if not self._cancelled:
            self._owner.ended(failure.sentence)
