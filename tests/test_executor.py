"""Frames done by several threads: each once, in any order, and no more after a stop."""

from __future__ import annotations

import threading

import pytest

from legs4d.executor import Threads
from legs4d.progress import Stopped


def test_every_frame_is_done_once_and_several_at_a_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(frame: int) -> int:
        together.wait()  # passed only by three at once
        return 10 * frame

    done = [each for batch in Threads(3).each(work, range(9), lambda: None) for each in batch]
    assert sorted((each.frame, each.result) for each in done) == [(frame, 10 * frame) for frame in range(9)]
    assert all(each.seconds >= 0 for each in done)


def test_a_stop_begins_no_more_frames() -> None:
    begun: list[int] = []

    def check() -> None:
        if len(begun) >= 4:
            raise Stopped("lift")

    with pytest.raises(Stopped):
        for _ in Threads(2).each(begun.append, range(1000), check):
            pass
    assert len(begun) < 10


def test_what_a_frame_raises_ends_the_work() -> None:
    def work(frame: int) -> None:
        if frame == 3:
            raise ValueError("frame 3")

    with pytest.raises(ValueError, match="frame 3"):
        for _ in Threads(2).each(work, range(1000), lambda: None):
            pass
