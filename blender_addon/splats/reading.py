"""Splat files into a run's cache, on a thread: the first file first, then those around the playhead. No bpy."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.frames import CacheError, Description, RunCache
from ..portable.files import read_splats
from ..portable.splats import SplatFileError, Splats
from .plan import Plan, with_origin

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Event:
    """What happened on the thread.

    Attributes:
        frame: that arrived; None with the first event and the last.
        cache: with the first event only.
        plan: as it is known then, its origin and up found.
        sh: SH coefficients of the frame.
        trouble: why a file could not be read, a sentence.
        dropped: Gaussians left out because their numbers are not finite.
        done: whether this is the last event.
    """

    frame: int | None = None
    cache: RunCache | None = None
    plan: Plan | None = None
    sh: int = 0
    trouble: str = ""
    dropped: int = 0
    done: bool = False


def begin(plan: Plan, root: Path, name: str = "") -> tuple[RunCache, Plan, Splats]:
    """Read the first file and store what no frame changes; a single file is stored whole.

    Args:
        root: of caches.
        name: of the cache's folder; by default what the files say.

    SplatFileError, CacheError or OSError where that cannot be done.
    """
    first = read_splats(plan.files[0], origin=plan.origin)
    up, frames = plan.up or first.up, len(plan.names)
    is_still = frames == 1
    run = name or plan.run_id()
    sh = 0 if first.sh_rest is None else first.sh_rest.shape[1]
    points = len(first) if is_still else 0
    loose = 0 if is_still else max(len(first), 1)
    cache = RunCache.create(
        root, Description(run, plan.title, run, frames, points, 0, plan.fps, up=up, num_loose=loose, sh=sh)
    )
    none = {"scales": np.zeros((0, 3)), "opacities": np.zeros(0), "born": np.zeros(0), "died": np.zeros(0)}
    nothing = none | {"means": np.zeros((0, 3)), "quats": np.zeros((0, 4)), "colors": np.zeros((0, 3))}
    cache.write_static(_arrays(first) if is_still else nothing)
    cache.write_dynamic(none)
    cache.write_ranks()
    if not is_still:
        cache.write_loose(0, _arrays(first))
    return cache, with_origin(plan, first.origin), first


def store_frame(plan: Plan, cache: RunCache, frame: int) -> Splats:
    """Read one file into the cache. Errors as `begin`."""
    found = read_splats(plan.files[frame], origin=plan.origin)
    cache.write_loose(frame, _arrays(found))
    return found


class Reading:
    """Files on their way into a cache.

    Attributes:
        around: capture frame whose neighbours come first; set it at any time.
        done, total: files.
    """

    def __init__(self, plan: Plan, root: Path, around: int = 0, name: str = "") -> None:
        self.plan, self.around, self.done, self.total = plan, around, 0, len(plan.names)
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._root, self._name, self._end = root, name, threading.Event()
        self._thread = threading.Thread(target=self._run, name="legs4d-splats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the file that is being read; what has arrived stays."""
        self._end.set()

    def join(self, seconds: float | None = None) -> None:
        """Wait for the thread's end."""
        self._thread.join(seconds)

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._end.is_set()

    def _run(self) -> None:
        try:
            cache, plan, first = begin(self.plan, self._root, self._name)
        except (SplatFileError, CacheError, OSError, MemoryError) as problem:
            self.events.put(Event(trouble=sentence(problem), done=True))
            return
        self.plan, missing = plan, cache.missing_frames()
        self.done = self.total - len(missing)
        self.events.put(Event(cache=cache, plan=plan, sh=cache.description.sh, dropped=first.dropped))
        while missing and not self._end.is_set():
            frame = min(missing, key=lambda each: abs(each - self.around))
            missing.remove(frame)
            self.events.put(self._read(plan, cache, frame))
            self.done += 1
        self.events.put(Event(done=True))

    def _read(self, plan: Plan, cache: RunCache, frame: int) -> Event:
        try:
            found = store_frame(plan, cache, frame)
        except (SplatFileError, CacheError, OSError, MemoryError) as problem:
            return Event(frame=frame, trouble=sentence(problem))
        return Event(frame=frame, sh=0 if found.sh_rest is None else found.sh_rest.shape[1], dropped=found.dropped)


def sentence(problem: BaseException) -> str:
    """What a person is told."""
    if isinstance(problem, MemoryError):
        return "There is not enough memory for these splats."
    text = str(problem)
    return text if text.endswith(".") else f"{text}."


def _arrays(splats: Splats) -> dict[str, Array]:
    names = ("means", "quats", "scales", "opacities", "colors")
    found = {name: getattr(splats, name) for name in names}
    return found if splats.sh_rest is None else {**found, "sh_rest": splats.sh_rest}
