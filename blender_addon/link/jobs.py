"""Training jobs of the backend: submitted, followed, cancelled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .. import wire
from ..ui.properties import window
from .connection import Link
from .runs import Placing, Runs
from .things import Things
from .types import Failure, Received

LOOKING = "finding_objects"
"""The stage in which a video's job ends where nothing is found in it."""
LOG_LINES = 12
"""Lines of a job's log that the panel shows."""


class Jobs:
    """The backend's jobs, whoever submitted them; the window manager holds the list that the panel shows."""

    def __init__(self, link: Link, runs: Runs, things: Things) -> None:
        self._link, self._runs, self._things = link, runs, things
        self._placings: dict[str, Placing] = {}

    def train(self, dataset: str, out: str, scale: float, encoder: str, preset: str = "auto") -> None:
        """Have a dataset reconstructed into the run `out`; both are names under the backend's roots.

        Args:
            preset: "quick", "full", or "auto" for full where there is a GPU.
        """
        body: dict[str, Any] = {"dataset": dataset, "out": out, "scale": round(scale, 4), "preset": preset}
        if encoder:
            body["encoder"] = encoder
        self._submit("train", body)

    def lift(self, run: str, encoder: str, dataset: str) -> None:
        """Have a run given language anew.

        Args:
            encoder: empty for the dataset's captions, or what sees.
            dataset: where its footage is now; empty where it was.
        """
        given = {"run": run, "encoder": encoder, "dataset": dataset}
        self._submit("lift", {name: value for name, value in given.items() if value})

    def segments(self, run: str, again: bool) -> None:
        """Have a run taken apart into things, by the masks of its footage; `again` where it has some."""
        self._submit("segments", {"run": run, **({"again": True} if again else {})})

    def name_object(self, run: str, number: int, called: str) -> None:
        """Have an object of a run called otherwise; the next prompt knows it by that name.

        Args:
            number: as `legs4d info` tells it.
        """
        self._submit("name", {"run": run, "number": number, "called": called})

    def make_object(self, source: str, out: str, how: Mapping[str, Any], placing: Placing) -> None:
        """Have a video or a picture made into a run of one object that moves; both are names under the roots.

        Args:
            how: what else a request of this kind says: by which method, and where its shape comes from.
            placing: where it is put as soon as it is done.
        """
        self._placings[out] = placing
        self._submit("object", {"source": source, "out": out, **how})

    def make_scene(self, source: str, out: str, how: Mapping[str, Any]) -> None:
        """Have an ordinary video made into a 4D scene; names are under the roots.

        Args:
            how: what else a request of this kind says: boxes around its objects, depth maps, how much work.
        """
        self._submit("video", {"source": source, "out": out, **how})

    def make_anew(self, request: str) -> None:
        """Submit a request anew, as JSON {kind, body}, that was refused as its run was made otherwise.

        The run stays as it is until the new one is finished.
        """
        told = json.loads(request)
        self._submit(told["kind"], {**told["body"], "again": True})

    def _submit(self, kind: str, body: dict[str, Any]) -> None:
        form = window()
        form.train_again = form.train_differs = ""

        def submitted(reply: Received) -> None:
            self._link.message = ""
            self._show(reply.body["job"])

        def refused(failure: Failure) -> None:
            if failure.code != wire.Code.DIFFERS:
                self._link.say_failure(failure)
                return
            now = window()
            now.train_again, now.train_differs = _request(kind, body), failure.sentence

        self._link.request(kind, body, on_reply=submitted, on_failure=refused)

    def cancel(self, job: str) -> None:
        """Cancel a job; the frames it finished stay in its run."""
        self._link.request(wire.Kind.CANCEL_JOB, {"job": job}, on_reply=lambda reply: _show_job(reply.body))

    def read_log(self, job: str) -> None:
        """Have the end of a job's log shown in the panel; again for what was added since."""
        item = window().jobs.get(job)
        if item is None:
            return

        def read(reply: Received) -> None:
            now = window().jobs.get(job)
            if now is None:
                return
            lines = (now.log + reply.body["text"]).splitlines(keepends=True)
            now.log, now.log_offset = "".join(lines[-LOG_LINES:]), str(reply.body["offset"])
            if not reply.body["end"]:
                self.read_log(job)

        self._link.request(wire.Kind.JOB_LOG, {"job": job, "offset": int(item.log_offset or 0)}, on_reply=read)

    def watch(self) -> None:
        """List the jobs and follow them for as long as the connection lasts."""

        def listed(reply: Received) -> None:
            window().jobs.clear()
            for job in reversed(reply.body["jobs"]):
                _show_job(job)
            newest = {job.label: job.state for job in reversed(list(window().jobs))}
            done = [out for out in self._placings if newest.get(out) == "done"]  # while nobody was connected
            for out in done:
                self._place(out)
            if done:
                self._runs.refresh()

        self._link.request(wire.Kind.JOBS, on_reply=listed)
        self._link.request(wire.Kind.SUBSCRIBE, on_event=lambda event: self._progressed(event.body))

    def _show(self, job: str) -> None:
        self._link.request(wire.Kind.JOB, {"job": job}, on_reply=lambda reply: _show_job(reply.body))

    def _progressed(self, progress: Mapping[str, Any]) -> None:
        known = _show_progress(progress)
        shown = window().jobs.get(progress["job"])
        if shown is not None and shown.show_log:
            self.read_log(progress["job"])
        if not known or progress["state"] == "failed":  # new since the list, or with a reason that progress lacks
            self._show(progress["job"])
        if progress["state"] == "done":
            if shown is not None:
                self._place(shown.label)
            self._runs.refresh()
            if shown is not None:
                self._things.fetch_of(shown.label)

    def _place(self, out: str) -> None:
        """Have a run that is done imported as soon as it is listed, if it was asked for here."""
        placing = self._placings.pop(out, None)
        if placing is not None:
            self._runs.placings[out] = placing


def _show_job(job: Mapping[str, Any]) -> None:
    jobs = window().jobs
    if job["job"] not in jobs:
        jobs.add().name = job["job"]
        jobs.move(len(jobs) - 1, 0)
    item = jobs[job["job"]]
    item.label = str(job["request"].get("out") or job["request"].get("run") or job["kind"])
    item.state = job["state"]
    if job["progress"]:
        _show_progress(job["progress"])
    item.again = ""
    request = job["request"]
    told = request.get("boxes") or request.get("masks")
    item.needs_boxes = job["kind"] == "video" and item.state == "failed" and item.stage == LOOKING and not told
    if job["error"]:
        item.message = Failure.of(job["error"]).sentence
        if job["error"]["code"] == wire.Code.DIFFERS:  # what to do about it is a button
            item.message, item.again = job["error"]["message"], _request(job["kind"], job["request"])


def _request(kind: str, body: Mapping[str, Any]) -> str:
    """As `Jobs.make_anew` takes it. A ticket would give the job back that it stands for."""
    return json.dumps({"kind": kind, "body": {name: value for name, value in body.items() if name != "ticket"}})


def _show_progress(progress: Mapping[str, Any]) -> bool:
    """Whether the job is in the list."""
    item = window().jobs.get(progress["job"])
    if item is None:
        return False
    item.state, item.stage = progress["state"], progress["stage"]
    item.done, item.total = progress["done"], progress["total"]
    item.seconds_left = -1.0 if progress["seconds_left"] is None else progress["seconds_left"]
    item.message = progress["message"]
    return True
