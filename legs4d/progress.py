"""How long work tells of itself, and how it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, SupportsFloat


@dataclass(frozen=True)
class Progress:
    """Where a stage is.

    Attributes:
        stage: its name, a word or several joined by underscores.
        done, total: steps or frames done, of how many.
        loss: the training loss, where there is one.
        seconds_left: estimate for this stage, where there is one.
    """

    stage: str
    done: int
    total: int
    loss: float | None = None
    seconds_left: float | None = None


OnProgress = Callable[[Progress], None]


def duration(seconds: float) -> str:
    """For a person: 1 h 05 min, 3 min 20 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class StopSignal(Protocol):
    """Anything like a threading.Event."""

    def is_set(self) -> bool: ...


class Stopped(Exception):
    """The work was told to stop; what is finished is saved, and the same call goes on from there."""


def go_on(*_: object) -> None:
    """Asked between the steps of long work whether to stop: no."""


class StageReporter:
    """Tells of one stage's steps a few times a second, and raises `Stopped` when asked to stop."""

    INTERVAL = 0.2
    """Seconds between reports."""

    def __init__(self, stage: str, on_progress: OnProgress | None = None, stop: StopSignal | None = None) -> None:
        self.stage = stage
        self.on_progress = on_progress
        self.stop = stop
        self._started: tuple[float, int] | None = None
        self._last = 0.0

    def check(self) -> None:
        """Raise `Stopped` if the stop signal is set; for steps too small to report."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped(self.stage)

    def step(self, done: int, total: int, loss: SupportsFloat | None = None) -> None:
        """Report `done` of `total`; `loss` is read only when it is shown, as reading waits for a GPU.

        Raises:
            Stopped: the stop signal is set.
        """
        self.check()
        now = time.monotonic()
        if self._started is None:
            self._started = (now, done)
        if self.on_progress is None or (now - self._last < self.INTERVAL and done < total):
            return
        self._last = now
        begin, first = self._started
        left = (now - begin) / (done - first) * (total - done) if done > first else None
        self.on_progress(Progress(self.stage, done, total, None if loss is None else float(loss), left))
