"""The process for work that needs torch: answers, cancels, dies and is replaced. Its tasks here are plain functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from backend.compute.dispatcher import Compute, Task
from backend.service.clients import Call, Clients
from backend.service.loop import Loop
from backend.wire import Code, unpack
from tests.backend.compute import compute_tasks

SECONDS = 20.0


class Bench:
    """The parts of a server that a task meets, on a real socket."""

    def __init__(self, folder: Path) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router, self._dealer = self._context.socket(zmq.ROUTER), self._context.socket(zmq.DEALER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._dealer.connect(f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}")
        self._dealer.send(b"here")
        identity, _ = self._router.recv_multipart()
        self._clients = Clients(self._router)
        self.client = self._clients.admit(identity, "test")
        self.loop = Loop()
        self.compute = Compute(folder, "cpu", self.loop)
        self._number = 0

    def submit(self, work: Callable[..., Any], key: str = "", **params: Any) -> Call:
        self._number += 1
        call = self._clients.begin(self.client, self._number, "render")
        self.compute.submit(Task(call, f"{compute_tasks.__name__}:{work.__name__}", params, key))
        return call

    def receive(self, *, until: Callable[[Any], bool]) -> Any:
        """The first message that fits; everything that was posted runs meanwhile."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.loop.run_posted()
            if self._dealer.poll(10):
                message = unpack(self._dealer.recv_multipart(copy=False))
                if until(message):
                    return message
        raise AssertionError("no such message")

    def answer(self, call: Call) -> Any:
        return self.receive(until=lambda message: message.id == call.id and message.kind in ("ok", "error"))

    def close(self) -> None:
        self.compute.close()
        self._context.destroy(linger=0)
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_an_answer_with_arrays_comes_back(bench: Bench) -> None:
    answer = bench.answer(bench.submit(compute_tasks.scale, factor=3.0, size=300_000))
    assert answer.kind == "ok" and answer.body == {"engine": "cpu", "factor": 3.0}
    np.testing.assert_array_equal(answer.arrays["values"], np.arange(300_000, dtype=np.float32) * 3)


def test_errors_keep_their_code_and_defects_are_internal(bench: Bench) -> None:
    refused = bench.answer(bench.submit(compute_tasks.refuse)).body
    assert refused == {"code": "run", "message": "here: not like this", "hint": "do that"}
    assert bench.answer(bench.submit(compute_tasks.break_down)).body["code"] == Code.INTERNAL
    assert bench.answer(bench.submit(compute_tasks.scale, factor=1.0, size=1)).kind == "ok"


def test_a_process_that_dies_fails_its_task_and_the_next_has_a_new_one(bench: Bench) -> None:
    dying = bench.submit(compute_tasks.die)
    after = bench.submit(compute_tasks.scale, factor=2.0, size=2)
    failed = bench.answer(dying)
    assert failed.body["code"] == Code.FAILED and "killed by SIGKILL" in failed.body["message"]
    assert bench.answer(after).arrays["values"].tolist() == [0, 2]


def test_what_is_cancelled_or_superseded_makes_room(bench: Bench) -> None:
    first = bench.submit(compute_tasks.wait, key="a")
    bench.receive(until=lambda message: message.kind == "progress" and message.id == first.id)
    waiting = bench.submit(compute_tasks.wait, key="a")
    assert bench.answer(first).body["code"] == Code.SUPERSEDED
    waiting.end()
    assert bench.answer(bench.submit(compute_tasks.scale, factor=1.0, size=1)).kind == "ok"


def test_a_task_that_does_not_hear_is_ended_by_force(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.compute.dispatcher.OBEY_SECONDS", 0.2)
    deaf = bench.submit(compute_tasks.deaf)
    bench.receive(until=lambda message: message.kind == "progress")
    deaf.end()
    assert bench.answer(bench.submit(compute_tasks.scale, factor=1.0, size=1)).kind == "ok"
