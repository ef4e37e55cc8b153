"""Sequences of splat files without a backend: imported, read again where their cache is gone, found again."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..cache import storage
from ..cache.frames import CacheError, RunCache
from ..link.runs import Runs
from ..portable.splats import SplatFileError
from ..sequence import display, playback, sequence
from ..sequence.properties import properties_of
from ..sequence.sequence import Sequence
from ..ui import preferences
from ..ui.tasks import Tasks
from . import reading
from .plan import Plan, from_json
from .reading import Event, Reading


@dataclass
class Import:
    """Files that are being read.

    Attributes:
        opening: whether objects are to be made of it; else it fills the cache of some that are there.
        start_frame, set_range: as the import operator was asked.
        troubles: files that could not be read, a sentence each.
        dropped: Gaussians left out because their numbers are not finite.
    """

    reading: Reading
    opening: bool
    start_frame: int = 1
    set_range: bool = True
    cache: RunCache | None = None
    troubles: tuple[str, ...] = ()
    dropped: int = 0


class Imports:
    """All of them, by run id.

    Attributes:
        message: what the last one could not do, a sentence; empty if all is well.
    """

    def __init__(self, runs: Runs, tasks: Tasks) -> None:
        self._runs, self._tasks = runs, tasks
        self._all: dict[str, Import] = {}
        self.message = ""

    @property
    def busy(self) -> bool:
        """Whether files are being read."""
        return bool(self._all)

    @property
    def opening(self) -> list[Plan]:
        """Those of which nothing shows yet."""
        return [one.reading.plan for one in self._all.values() if one.cache is None]

    def get(self, run_id: str) -> Import | None:
        """What is being read of a sequence; None if nothing is."""
        return self._all.get(run_id)

    def start(self, plan: Plan, start_frame: int = 1, set_range: bool = True) -> None:
        """Read files and make a sequence of them; its objects are made when the first is read. OSError: one is gone."""
        self.message = ""
        self._begin(plan.run_id(), Import(Reading(plan, preferences.cache_root()), True, start_frame, set_range))

    def read_again(self, shown: Sequence) -> None:
        """Read what the cache of a sequence of files lacks. CacheError, a sentence, if the files are not found."""
        name, plan = shown.its.run_id, plan_of(shown.empty)
        if name in self._all:
            return
        around = sequence.playhead(name)
        self._begin(name, Import(Reading(plan, preferences.cache_root(), around, name), False))

    def resume(self) -> None:
        """Read what the file's sequences of files lack on this machine."""
        for _, shown in sequence.everywhere():
            if shown.its.files and _lacks(shown):
                with contextlib.suppress(CacheError):  # playback says it, beside the button that tries again
                    self.read_again(shown)

    def cancel(self, run_id: str) -> None:
        """Stop reading; what has arrived stays."""
        one = self._all.pop(run_id, None)
        if one is not None:
            one.reading.cancel()

    def cancel_opening(self) -> None:
        """Stop what shows nothing yet."""
        for name in [name for name, one in self._all.items() if one.cache is None]:
            self.cancel(name)

    def close(self) -> None:
        """Stop all."""
        for name in list(self._all):
            self.cancel(name)

    def wait(self) -> None:
        """Return when all files are read: for Blender without a window, whose scripts go on with what they imported."""
        while self._all or self._tasks.busy:
            for one in list(self._all.values()):
                one.reading.join()
            self.pump()
            self._tasks.pump(1.0)

    def pump(self) -> bool:
        """Take in what has arrived; whether there was anything."""
        changed = False
        for name, one in list(self._all.items()):
            one.reading.around = sequence.playhead(name)
            while not one.reading.events.empty() and self._all.get(name) is one:
                self._take(name, one, one.reading.events.get())
                changed = True
        return changed

    def _begin(self, name: str, one: Import) -> None:
        self.cancel(name)
        self._all[name] = one
        one.reading.start()

    def _take(self, name: str, one: Import, event: Event) -> None:
        one.dropped += event.dropped
        if event.trouble:
            one.troubles = (*one.troubles, event.trouble)
            self.message = event.trouble
        if event.cache is not None and event.plan is not None:
            self._opened(one, event.cache, event.plan)
        elif event.frame is not None and not event.trouble:
            self._arrived(name, event.frame, event.sh)
        if event.done:
            self._all.pop(name, None)
            if one.dropped and not self.message:
                self.message = f"{one.dropped} splats were left out: their numbers are not finite."

    def _opened(self, one: Import, cache: RunCache, plan: Plan) -> None:
        one.cache = cache
        storage.adopt(cache)
        if not one.opening:
            playback.refresh_run(cache.description.run_id)
            return

        def remember(made: Sequence) -> None:
            its = made.its
            its.files, its.files_folder = plan.to_json(), str(plan.folder.resolve())
            remember_place(made.empty, bpy.data.filepath)

        self._tasks.add(self._runs.make_sequence(cache, one.start_frame, one.set_range, remember))

    def _arrived(self, name: str, frame: int, sh: int) -> None:
        for scene, shown in sequence.everywhere():
            its = shown.its
            if its.run_id != name:
                continue
            if sh > its.num_sh:  # a file after the first has more of it
                its.num_sh = sh
                display.update(shown.empty)
            if shown.shows(frame, scene.frame_current_final):
                playback.refresh(shown.empty)


def plan_of(empty: bpy.types.Object) -> Plan:
    """The files that a sequence plays, where they are now. CacheError, a sentence, if they are not found."""
    its, tried = properties_of(empty), []
    for place in (its.files_beside and bpy.path.abspath(its.files_beside), its.files_folder):
        if place:
            plan = from_json(its.files, Path(place))
            if plan.files[0].is_file():
                return plan
            tried.append(place)
    raise CacheError(f"The splat files of '{empty.name}' are in neither of {', '.join(tried)}; put them there again")


def provide(shown: Sequence, frame: int) -> RunCache:
    """The cache of a sequence of files with this frame in it, read now: for renders without a window.

    CacheError, a sentence, if the files are not there or cannot be read.
    """
    try:
        cache = storage.find(shown.empty)
    except CacheError:
        cache = None
    if cache is not None and cache.has_constants() and cache.has_frame(frame):
        return cache
    plan = plan_of(shown.empty)
    try:
        if cache is None or not cache.has_constants():
            cache, plan, _ = reading.begin(plan, preferences.cache_root(), shown.its.run_id)
            storage.adopt(cache)
        if not cache.has_frame(frame):
            reading.store_frame(plan, cache, frame)
    except (SplatFileError, OSError, MemoryError) as problem:
        raise CacheError(reading.sentence(problem).rstrip(".")) from problem
    return cache


def remember_place(empty: bpy.types.Object, blend: str) -> None:
    """Note where a sequence's files are, relative to a saved file."""
    its = properties_of(empty)
    its.files_beside = ""
    if blend and its.files:
        with contextlib.suppress(ValueError):  # on another drive of Windows
            its.files_beside = bpy.path.relpath(its.files_folder, start=str(Path(blend).parent))


def _lacks(shown: Sequence) -> bool:
    try:
        cache = storage.find(shown.empty)
    except CacheError:
        return True
    return not cache.has_constants() or bool(cache.missing_frames())
