"""Where a thread is, looked at every few milliseconds: a profiler of calls would slow what it tells of."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from types import FrameType

EVERY = 0.002
"""Seconds between looks."""
DEEP = 3
"""Of the package's own functions, the innermost that are told."""


class Sampler:
    """Counts the seconds that the thread which makes it spends in each line of a package, phase by phase.

    Args:
        package: what paths of its files have in them.
        phase: asked at each look which phase it is.
    """

    def __init__(self, package: str, phase: Callable[[], str]) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self._package, self._phase, self._thread = package, phase, threading.get_ident()
        self._over = threading.Event()
        self._looks = threading.Thread(target=self._look, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._looks.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looks.join()

    def _look(self) -> None:
        last = time.perf_counter()
        while not self._over.wait(EVERY):
            frame, now = sys._current_frames().get(self._thread), time.perf_counter()
            place = self._place(frame)
            self.seconds.setdefault(self._phase(), defaultdict(float))[place] += now - last
            last = now

    def _place(self, frame: FrameType | None) -> str:
        """The innermost lines of the package, and what these call outside."""
        lines: list[str] = []
        leaf = ""
        while frame is not None and len(lines) < DEEP:
            code = frame.f_code
            if self._package in code.co_filename:
                lines.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno} {code.co_name}")
            elif not lines and not leaf:
                leaf = f" > {code.co_filename.rsplit('/', 1)[-1]} {code.co_name}"
            frame = frame.f_back
        return " < ".join(lines) + leaf

    def told(self, most: int) -> str:
        """A table of each phase, the `most` places alone in which most time was spent."""
        parts = []
        for phase, places in self.seconds.items():
            parts.append(f"{phase}: {sum(places.values()):.2f} s")
            top = sorted(places.items(), key=lambda one: -one[1])[:most]
            parts += [f"  {seconds:6.3f}  {place}" for place, seconds in top]
        return "\n".join(parts)
