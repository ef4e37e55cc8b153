"""Long work of the main thread in pieces, so that the interface never waits for more than one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator


class Tasks:
    """Generators that are advanced a piece at a time, first come, first served.

    A piece should take some 20 ms at most. Between two pieces a person may undo or delete anything: look it up anew.
    """

    def __init__(self) -> None:
        self._waiting: list[Iterator[None]] = []

    @property
    def busy(self) -> bool:
        """Whether there is work left."""
        return bool(self._waiting)

    def add(self, pieces: Iterator[None]) -> None:
        """Do this from the next `pump` on; each `yield` ends a piece."""
        self._waiting.append(pieces)

    def pump(self, seconds: float) -> bool:
        """Do pieces for about that long, one at least; whether there was any."""
        deadline, busy = time.perf_counter() + seconds, False
        while self._waiting:
            busy = True
            try:
                next(self._waiting[0])
            except StopIteration:
                self._waiting.pop(0)
            except BaseException:
                self._waiting.pop(0)  # a defect ends its own task, not those behind it
                raise
            if time.perf_counter() > deadline:
                break
        return busy
