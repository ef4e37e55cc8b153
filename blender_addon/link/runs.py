"""The runs and datasets that a backend offers, and importing a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import bpy

from .. import look, wire
from ..cache import storage
from ..cache.frames import Description, RunCache
from ..sequence import objects as things
from ..sequence import playback, sequence, viewport
from ..sequence.sequence import CONSTANT_ROLES, Sequence, constants
from ..things import kept
from ..ui import preferences, undo
from ..ui.properties import window
from ..ui.tasks import Tasks
from .connection import Link
from .transfers import Transfers
from .types import Failure, Received


@dataclass(frozen=True)
class Placing:
    """Where a run is put that is imported by itself: its origin's location, and by how much it is made larger."""

    location: tuple[float, float, float]
    scale: float


class Runs:
    """What can be imported, and imports under way.

    Attributes:
        opening: names of runs that were asked for and have not been answered.
        wanted: a run that is imported as soon as a backend lists it: its folder was chosen.
        placings: runs that are imported as soon as a backend lists them, and where they are put.
        on_opened: called with a run's cache when its constants have arrived.
    """

    def __init__(self, link: Link, transfers: Transfers, tasks: Tasks) -> None:
        self._link, self._transfers, self._tasks = link, transfers, tasks
        self.opening: set[str] = set()
        self.wanted = ""
        self.placings: dict[str, Placing] = {}
        self.on_opened: list[Callable[[RunCache], None]] = []

    def refresh(self) -> None:
        """Ask what runs and datasets there are; sequences follow runs that were renamed or moved."""

        def listed(body: Mapping[str, Any]) -> None:
            _list_runs(body)
            for told in follow_renamed(body["runs"]):
                self._link.message = told
            if self.wanted and self.offers(self.wanted):
                run, self.wanted = self.wanted, ""
                self.import_run(run, 1, True)
            for run in [run for run in self.placings if self.offers(run)]:
                self.import_run(run, 1, False, self.placings.pop(run))

        self._list(wire.Kind.RUNS, listed, {"runs": [], "problems": []})
        self._list(wire.Kind.DATASETS, _list_datasets, {"datasets": []})

    def _list(
        self,
        kind: str,
        show: Callable[[Mapping[str, Any]], None],
        found: dict[str, list[Any]],
        after: str | None = None,
    ) -> None:
        """Ask for a list page by page, and show it when it is whole."""

        def listed(reply: Received) -> None:
            for name in found:
                found[name] += reply.body[name]
            if reply.body["next"] is None:
                show(found)
            else:
                self._list(kind, show, found, reply.body["next"])

        self._link.request(kind, {} if after is None else {"after": after}, on_reply=listed)

    def offers(self, run: str) -> bool:
        """Whether the backend has a run of this name, as far as is known."""
        found = window().runs.get(run)
        return found is not None and not found.problem

    def import_run(self, run: str, start_frame: int, set_range: bool, placing: Placing | None = None) -> None:
        """Open a run; its objects are made when the backend has answered, its frames follow."""

        def begin(made: Sequence, cache: RunCache) -> None:
            if placing is not None:
                made.empty.location, made.empty.scale = placing.location, (placing.scale,) * 3
            self._transfers.fetch(cache)

        def opened(cache: RunCache) -> None:
            made = self.make_sequence(cache, start_frame, set_range, lambda shown: begin(shown, cache))
            self._tasks.add(made)

        self._open(run, opened)

    def fetch_missing(self, shown: Sequence) -> None:
        """Have whatever this machine lacks of a sequence sent. CacheError if it cannot be stored."""
        cache = storage.recreate(shown.empty)
        self._transfers.forgive(cache.description.run_id)
        if cache.has_constants():
            self._transfers.fetch(cache)
            return

        def opened(found: RunCache) -> None:
            if found.description.revision != cache.description.revision:
                name = cache.description.run
                self._link.message = f"'{name}' was trained anew since it was imported; import it again."
                return
            playback.refresh_run(cache.description.run_id)
            self._transfers.fetch(cache)

        self._open(cache.description.run, opened, cache.description)

    def make_sequence(
        self, cache: RunCache, start_frame: int, set_range: bool, begin: Callable[[Sequence], None]
    ) -> Iterator[None]:
        """Objects, then their constants, then their look, a piece at a time; frames arrive meanwhile.

        Args:
            begin: called as soon as there are objects.
        """
        made = _add_sequence(cache, start_frame, set_range)
        uid = made.empty.session_uid
        sequence.being_filled.add(uid)
        try:
            begin(made)
            yield
            things.add_objects(made, cache.table(things.TABLE))
            yield
            for role in CONSTANT_ROLES:
                for attribute in constants(cache.description, role):
                    if (shown := sequence.with_uid(uid)) is None:
                        return  # deleted, or undone
                    shown.fill_part(cache, role, attribute)
                    yield
                if shown := sequence.with_uid(uid):
                    shown.mark_filled(cache, role)
        finally:
            sequence.being_filled.discard(uid)
        yield from _each((viewport.apply, playback.prepare, playback.refresh), uid)  # something to look at first
        for make in look.GROUPS:
            make()
            yield
        if shown := sequence.with_uid(uid):
            kept.list_those_of_run(shown)  # where they came before the sequence was there
        yield from _each((look.sync, viewport.apply, playback.refresh, _remember), uid)

    def _open(self, run: str, opened: Any, known: Description | None = None) -> None:
        """Have a run's constants put into its cache, then call `opened(cache)`; nothing if that is under way.

        Args:
            known: what its cache is, where it has one.
        """
        if run in self.opening:
            return
        root = preferences.cache_root()  # read here: the sink runs on the client's thread

        def answered(reply: Received) -> None:
            self.opening.discard(run)
            storage.adopt(reply.stored)
            opened(reply.stored)
            for listener in self.on_opened:
                listener(reply.stored)

        def failed(failure: Failure) -> None:
            self.opening.discard(run)
            self._link.message = failure.sentence

        self.opening.add(run)
        self._link.request(
            wire.Kind.OPEN,
            {"run": run},
            sink=lambda message: storage.store_constants(root, message.body, message.arrays, known),
            on_reply=answered,
            on_failure=failed,
        )


def _each(steps: Iterable[Callable[[bpy.types.Object], object]], uid: int) -> Iterator[None]:
    """Do these to a sequence's empty, a piece of work each, as long as it is there."""
    for step in steps:
        if (shown := sequence.with_uid(uid)) is None:
            return
        step(shown.empty)
        yield


def follow_renamed(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Have sequences whose run is not where it was follow it: its revision tells it. What was done, a sentence each.

    Args:
        runs: all that the backend has, as it lists them; those of older backends have no revision.
    """
    revisions = {run["name"]: run.get("revision") for run in runs}
    told = []
    for _, shown in sequence.everywhere():
        its = shown.its
        now = [name for name, revision in revisions.items() if revision and revision == its.revision]
        if its.files or not now or its.run in now:
            continue
        told.append(f"The run '{its.run}' of '{shown.empty.name}' is called '{now[0]}' now; the sequence follows it.")
        its.run = now[0]
        storage.rename(shown.empty, now[0])
        undo.remember(f"Follow {now[0]}")
    return told


def _add_sequence(cache: RunCache, start_frame: int, set_range: bool) -> Sequence:
    scene, view_layer = bpy.context.scene, bpy.context.view_layer
    assert scene is not None and view_layer is not None
    made = Sequence.create(cache.description, bpy.context.collection or scene.collection, start_frame)
    made.its.cache_folder = str(cache.path.parent)
    if set_range:
        scene.frame_start, scene.frame_end = start_frame, made.scene_frame(cache.description.num_frames - 1)
        if not scene.frame_start <= scene.frame_current <= scene.frame_end:
            scene.frame_current = scene.frame_start  # of what was there before
    for item in bpy.context.selected_objects:
        item.select_set(False)
    made.empty.select_set(True)
    view_layer.objects.active = made.empty
    return made


def _remember(empty: bpy.types.Object) -> None:
    undo.remember(f"Import {empty.name}")


def _list_runs(body: Mapping[str, Any]) -> None:
    shown = window()
    chosen = shown.runs[shown.active_run].name if shown.active_run < len(shown.runs) else ""
    shown.runs.clear()
    for run in body["runs"]:
        item = shown.runs.add()
        item.name, item.frames, item.points = run["name"], run["frames"], run["static"] + run["dynamic"] + run["loose"]
        item.finished = run["finished"]
    for problem in body["problems"]:
        item = shown.runs.add()
        item.name, item.problem = problem["name"], problem["message"]
    shown.active_run = max(shown.runs.find(chosen), 0)


def _list_datasets(body: Mapping[str, Any]) -> None:
    shown = window()
    shown.datasets.clear()
    for dataset in body["datasets"]:
        shown.datasets.add().name = dataset["name"]
