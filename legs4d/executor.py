"""Work that is done frame by frame and in no order: in this process, or by whoever `cluster` hands it to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Result = TypeVar("Result")


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


def timed(work: Callable[[int], Result], frame: int) -> Done[Result]:
    """Do the work for one frame."""
    started = time.perf_counter()
    result = work(frame)
    return Done(frame, result, time.perf_counter() - started)


def default_threads() -> int:
    """Threads that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
