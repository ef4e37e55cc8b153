"""Requests about runs: listing, opening, streaming frames, prompts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.bodies import KeptBody, MeantBody, ProblemBody, RunBody
from backend.runs import answers, things, zstd
from backend.runs.library import Arrays, Library, OpenRun, describe
from backend.runs.streams import FrameOrder, Stream, Streams
from backend.service import requests
from backend.service.clients import Call
from backend.service.errors import BackendError
from backend.service.loop import Loop, Pool
from backend.wire import Code, Kind
from legs4d.errors import RunError

if TYPE_CHECKING:
    from legs4d.grounding import Grounding

READERS = 2
"""Threads that read frames."""

log = logging.getLogger("legs4d.backend")

Handler = Callable[[Call, Any], None]


class RunRequests:
    """Handlers; they are called in the socket's thread and return at once."""

    def __init__(self, library: Library, loop: Loop, max_bytes_under_way: int) -> None:
        self._library = library
        self._max_bytes_under_way = max_bytes_under_way
        self._streams = Streams()
        self._reading = Pool("frames", READERS, loop)
        self._opening = Pool("runs", 1, loop)
        self._asking = Pool("queries", 1, loop)
        self._queries: dict[tuple[bytes, str], Call] = {}
        """The unanswered query of each client and layer."""
        self._prepared = False
        self._prompter = answers.Prompter()
        self.handlers: dict[str, Handler] = {
            Kind.RUNS: self._runs,
            Kind.DATASETS: self._datasets,
            Kind.OPEN: self._open,
            Kind.FRAMES: self._frames,
            Kind.QUERY: self._query,
            Kind.THINGS: self._things,
            Kind.MEANT: self._meant,
            Kind.KEEP: self._keep,
            Kind.AIM: self._aim,
            Kind.CREDIT: self._credit,
            Kind.CANCEL: self._cancel,
        }

    def check_stalls(self) -> None:
        """End streams whose client has forgotten them."""
        self._streams.check_stalls()

    def close(self) -> None:
        for pool in (self._reading, self._opening, self._asking):
            pool.close()

    # -- listing and opening ---------------------------------------------------------------------------------------

    def _runs(self, call: Call, body: requests.Page) -> None:
        def done(found: tuple[list[RunBody], list[ProblemBody], str | None]) -> None:
            call.ok({"runs": found[0], "problems": found[1], "next": found[2]})

        in_pool(self._opening, call, lambda: self._library.runs(body.after, body.limit), done)

    def _datasets(self, call: Call, body: requests.Page) -> None:
        def done(found: tuple[list[dict[str, str]], str | None]) -> None:
            call.ok({"datasets": found[0], "next": found[1]})

        in_pool(self._opening, call, lambda: self._library.datasets(body.after, body.limit), done)

    def _open(self, call: Call, body: requests.Open) -> None:
        def work() -> tuple[OpenRun, tuple[dict[str, Any], Arrays]]:
            opened = self._library.open(body.run)
            return opened, describe(opened)

        def done(described: tuple[OpenRun, tuple[dict[str, Any], Arrays]]) -> None:
            opened, (answer, arrays) = described
            call.ok(answer, arrays)
            if answer["language"] and not self._prepared:
                self._prepared = True
                self._asking.submit(lambda: self._prompter.prepare(opened), lambda _: None, _not_prepared)

        in_pool(self._opening, call, work, done)

    # -- streams ---------------------------------------------------------------------------------------------------

    def _frames(self, call: Call, body: requests.Frames) -> None:
        def prepare() -> tuple[OpenRun, list[int], list[int]]:
            opened = self._library.open(body.run)
            return opened, *choose_frames(opened, body)

        def stream(prepared: tuple[OpenRun, list[int], list[int]]) -> None:
            opened, wanted, missing = prepared
            started = time.monotonic()

            def ended(sent: int) -> dict[str, Any]:
                return {"sent": sent, "missing": missing, "seconds": time.monotonic() - started}

            read = partial(opened.geometry, precision=body.precision)
            order = FrameOrder(wanted, body.around)
            self._streams.add(Stream(call, order, read, body.window, self._reading, ended, self._max_bytes_under_way))

        in_pool(self._opening, call, prepare, stream)

    def _query(self, call: Call, body: requests.Query) -> None:
        self._supersede(call, body.layer)
        if body.compress:
            call.compress = zstd.compress

        def ask() -> tuple[OpenRun, Grounding]:
            opened = self._library.open(body.run)
            opened.expect(body.revision)
            return opened, self._prompter.answer(opened, body.prompt, lambda: not call.finished)

        def stream(answered: tuple[OpenRun, Grounding]) -> None:
            opened, grounding = answered
            summary = dict(answers.answer_body(grounding))
            call.event(Kind.ANSWER, summary, answers.answer_arrays(grounding, per_gaussian=body.per_gaussian))

            def ended(sent: int) -> dict[str, Any]:
                return {**summary, "sent": sent}

            frames = list(range(len(grounding.relevancy))) if body.per_gaussian else []
            read = partial(answers.frame_arrays, opened, grounding)
            order = FrameOrder(frames, body.around)
            if not call.finished:  # sending may have found the client gone
                self._streams.add(
                    Stream(call, order, read, body.window, self._reading, ended, self._max_bytes_under_way)
                )

        in_pool(self._asking, call, ask, stream)

    def _supersede(self, call: Call, layer: str) -> None:
        """End an older query of the same client and layer."""
        key = (call.client.identity, layer)
        older = self._queries.get(key)
        self._queries[key] = call
        call.at_end.append(lambda: self._forget_query(key, call))
        if older is not None:
            older.fail(BackendError("a newer query of this layer took its place", code=Code.SUPERSEDED))

    def _forget_query(self, key: tuple[bytes, str], call: Call) -> None:
        if self._queries.get(key) is call:
            del self._queries[key]

    # -- segments --------------------------------------------------------------------------------------------------

    def _things(self, call: Call, body: requests.Open) -> None:
        in_pool(
            self._opening,
            call,
            lambda: things.things(self._library.open(body.run)),
            lambda told: call.ok(told[0], told[1]),
        )

    def _meant(self, call: Call, body: requests.Meant) -> None:
        def work() -> MeantBody:
            opened = self._library.open(body.run)
            opened.expect(body.revision)
            grounding = self._prompter.answer(opened, body.prompt, lambda: not call.finished)
            return things.meant(opened, grounding, body.scale)

        in_pool(self._asking, call, work, lambda told: call.ok(told))

    def _keep(self, call: Call, body: requests.Keep) -> None:
        def work() -> KeptBody:
            return things.keep(self._library.open(body.run), body, call.client.name)

        in_pool(self._opening, call, work, lambda told: call.ok(told))

    # -- steering --------------------------------------------------------------------------------------------------

    def _aim(self, call: Call, body: requests.Aim) -> None:
        stream = self._streams.of(call.client, body.request)
        if stream:
            stream.aim(body.around)
        call.ok({"left": stream.left if stream else 0})

    def _credit(self, call: Call, body: requests.Credit) -> None:
        self._streams.credit(call.client, body.request, body.frames)
        call.ok({})

    def _cancel(self, call: Call, body: requests.Cancel) -> None:
        wanted = call.client.calls.get(body.request)
        if wanted is call:
            raise BackendError("a request cannot cancel itself", where="'request'", code=Code.BODY)
        if wanted:
            wanted.fail(BackendError("cancelled by its client", code=Code.CANCELLED))
        call.ok({"cancelled": wanted is not None})


def _not_prepared(error: Exception) -> None:
    log.warning("prompts will not be answered: %s", error)


def choose_frames(opened: OpenRun, body: requests.Frames) -> tuple[list[int], list[int]]:
    """(frames to send, frames asked for that are not trained yet), each once, in the order asked for.

    Raises RunError when the run is not the one that the client opened, has no geometry, or has no such frame.
    """
    opened.expect(body.revision)
    count = opened.run.num_frames
    available = opened.available_frames()
    asked = list(range(count)) if body.frames is None else list(dict.fromkeys(body.frames))
    unknown = next((frame for frame in asked if frame >= count), None)
    if unknown is not None:
        raise RunError(f"has no frame {unknown}: it has {count}, counted from 0", where=opened.name)
    there = set(available)
    missing = [] if body.frames is None else [frame for frame in asked if frame not in there]
    return [frame for frame in asked if frame in there], missing


def in_pool(pool: Pool, call: Call, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Have `work` done in the pool, then `done(result)` in the socket's thread, unless the call has ended by then."""
    pool.submit(work, unless_ended(call, done), call.fail, wanted=lambda: not call.finished)


def unless_ended(call: Call, done: Callable[[Any], None]) -> Callable[[Any], None]:
    """`done`, for a call that may have been cancelled meanwhile; what goes wrong in it is the call's error."""

    def checked(result: Any) -> None:
        if call.finished:
            return
        try:
            done(result)
        except Exception as error:
            call.fail(error)

    return checked
