"""Requests that the computing process answers: checked here, without torch, and passed on.

To add one: its kind in `wire.Kind`, its body in `requests`, an entry in `ENTRIES` below, and its functions in a file of
their own that imports torch inside them only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from backend.compute import render_requests
from backend.compute.dispatcher import Compute, Task
from backend.runs import cut_lists
from backend.runs.library import Library
from backend.runs.requests import Handler, in_pool
from backend.service import requests
from backend.service.clients import Call
from backend.service.loop import Loop, Pool
from backend.wire import Kind


@dataclass(frozen=True)
class Entry:
    """A request that needs torch.

    Attributes:
        prepare: called in a thread of the server with the checked body; gives what the work is told (msgpack-able), or
            raises Legs4dError. Names become absolute paths here, by `Library.open`.
        work: "package.module:function" of the computing process, see `compute_worker.Work`.
        key: a newer request of the same client with the same key supersedes an older one; "" supersedes nothing.
    """

    prepare: Callable[[Any, Library], dict[str, Any]]
    work: str
    key: Callable[[Any], str]


ENTRIES: dict[Kind, Entry] = {
    Kind.RENDER: Entry(render_requests.prepare, render_requests.WORK, render_requests.view),
    Kind.CUT_LIST: Entry(cut_lists.prepare, cut_lists.WORK, lambda body: ""),
}


class ComputeRequests:
    """Handlers; they are called in the socket's thread and return at once."""

    def __init__(self, library: Library, compute: Compute, loop: Loop) -> None:
        self._library, self._compute = library, compute
        self._preparing = Pool("tasks", 1, loop)
        self.handlers: dict[str, Handler] = {kind: partial(self._handle, entry) for kind, entry in ENTRIES.items()}

    def close(self) -> None:
        self._preparing.close()

    def _handle(self, entry: Entry, call: Call, body: requests.Body) -> None:
        def submit(params: dict[str, Any]) -> None:
            self._compute.submit(Task(call, entry.work, params, entry.key(body)))

        in_pool(self._preparing, call, lambda: entry.prepare(body, self._library), submit)
