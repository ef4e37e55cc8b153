"""Work that is done frame by frame and in no order: in this process, or by whoever `cluster` hands it to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")

POLL = 0.1
"""Seconds between looks at whether to stop."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A frame that is done: what the work returned, and the seconds it took."""

    frame: int
    result: Result
    seconds: float


class Executor(Protocol):
    """Does the same work for many frames.

    The work must be the same whoever does it and however often: it reads what does not change meanwhile, and writes
    nothing but the frame's own chunks. What the run records of it is the caller's to write.

    Attributes:
        threads: CPU threads that the work for one frame may use; None for all there are.
    """

    threads: int | None

    def each(
        self, work: Callable[[int], Result], frames: Iterable[int], check: Callable[[], None]
    ) -> Iterator[list[Done[Result]]]:
        """Call `work(frame)` for each of `frames`, and yield those that are done as they are done, in any order.

        Args:
            work: pickled where another process does it.
            check: called several times a second; what it raises ends the work.
        """
        ...


class InOrder:
    """One frame after the other, here."""

    threads: int | None = None

    def each(
        self, work: Callable[[int], Result], frames: Iterable[int], check: Callable[[], None]
    ) -> Iterator[list[Done[Result]]]:
        for frame in frames:
            check()
            yield [timed(work, frame)]


IN_ORDER = InOrder()


class Threads:
    """Several frames at once, here: for work that waits for disks and a GPU most of the time.

    Args:
        count: frames at once.
    """

    threads: int | None = None

    def __init__(self, count: int) -> None:
        self._count = count

    def each(
        self, work: Callable[[int], Result], frames: Iterable[int], check: Callable[[], None]
    ) -> Iterator[list[Done[Result]]]:
        left = iter(frames)
        with ThreadPoolExecutor(self._count, "frame") as pool:
            running = {pool.submit(timed, work, frame) for frame in islice(left, self._count)}
            while running:
                check()
                finished, running = wait(running, POLL, FIRST_COMPLETED)
                running |= {pool.submit(timed, work, frame) for frame in islice(left, len(finished))}
                if finished:
                    yield [future.result() for future in finished]


def timed(work: Callable[[int], Result], frame: int) -> Done[Result]:
    """Do the work for one frame."""
    started = time.perf_counter()
    result = work(frame)
    return Done(frame, result, time.perf_counter() - started)


def default_threads() -> int:
    """Threads that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
