"""Segments and selections of runs on their way into the cache; words on their way to the segments that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .. import wire
from ..cache import storage
from ..cache.frames import CacheError, RunCache
from ..sequence import sequence
from ..sequence.sequence import Sequence
from ..things import kept, table
from ..ui import undo
from .connection import Link
from .types import Failure, Received

Take = Callable[[Sequence, Mapping[str, object]], None]
"""What is done with the answer to words: the sequence, and the body of the reply."""


class Things:
    """What a backend knows of the things in runs."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.fetching: set[str] = set()
        """Run ids of those that were asked for and have not been answered."""
        self.asking = 0
        """Words that are not answered yet."""
        self.keeping = 0
        """Selections on their way into runs."""

    @property
    def busy(self) -> bool:
        """Whether answers are on their way."""
        return bool(self.fetching or self.asking or self.keeping)

    def fetch(self, cache: RunCache) -> None:
        """Have a run's segments and selections sent into its cache; nothing if they are on their way."""
        run_id = cache.description.run_id
        if run_id in self.fetching:
            return

        def arrived(reply: Received) -> None:
            self.fetching.discard(run_id)
            if reply.body["revision"] != cache.description.revision:
                return  # of another training: its frames are not here either
            if reply.stored is None:
                table.store(cache, reply.body, {})
            for _, shown in sequence.everywhere():
                if shown.its.run_id == run_id:
                    kept.list_those_of_run(shown)

        def failed(failure: Failure) -> None:
            self.fetching.discard(run_id)
            if failure.code != wire.Code.UNKNOWN_KIND:  # an older backend has none
                self._link.say_failure(failure)

        self.fetching.add(run_id)
        sent = self._link.request(
            wire.Kind.THINGS,
            {"run": cache.description.run},
            sink=lambda message: _store(cache, message),
            on_reply=arrived,
            on_failure=failed,
        )
        if sent is None:
            self.fetching.discard(run_id)

    def fetch_of(self, run: str) -> None:
        """Have those of a run sent that is imported; nothing if it is not."""
        found = {shown.its.run_id: shown for _, shown in sequence.everywhere() if shown.its.run == run}
        for shown in found.values():
            try:
                self.fetch(storage.find(shown.empty))
            except CacheError as problem:
                self._link.message = f"{problem}."

    def keep(self, cache: RunCache, shown: Sequence, label: str, bits: bytes, again: bool) -> None:
        """Have a selection stored in its run; the file keeps its own, whatever comes of it.

        Args:
            bits: of `selecting.kept_bits`.
            again: in place of the one that the run has of this name.
        """
        uid = shown.empty.session_uid

        def say(sentence: str) -> None:
            self.keeping -= 1
            now = sequence.with_uid(uid)
            if now is not None:
                now.its.thing_said = sentence
            self._link.message = sentence

        def stored(reply: Received) -> None:
            say(f"'{label}' is in the run: {reply.body['gaussians']:,} points.")
            self.fetch(cache)

        def failed(failure: Failure) -> None:
            say(f"'{label}' was not saved, and stays in this file. {failure.sentence}")
            if failure.code == wire.Code.DIFFERS:  # the list shows it then, and one is asked
                self.fetch(cache)

        self.keeping += 1
        its = cache.description
        body = {"run": its.run, "revision": its.revision, "name": label, "points": bits, "again": again}
        if self._link.request(wire.Kind.KEEP, body, on_reply=stored, on_failure=failed) is None:
            say(f"'{label}' was not saved, and stays in this file: no backend is connected.")

    def ask(self, shown: Sequence, prompt: str, take: Take) -> None:
        """Ask which segments words mean; `take` is called with the answer, unless the sequence is gone by then."""
        uid = shown.empty.session_uid

        def answered(reply: Received) -> None:
            self.asking -= 1
            now = sequence.with_uid(uid)
            if now is not None:
                take(now, reply.body)
                undo.remember(f"Select {prompt}")

        def failed(failure: Failure) -> None:
            self.asking -= 1
            self._link.message = failure.sentence

        self.asking += 1
        body = {"run": shown.its.run, "revision": shown.its.revision, "prompt": prompt}
        if self._link.request(wire.Kind.MEANT, body, on_reply=answered, on_failure=failed) is None:
            self.asking -= 1


def _store(cache: RunCache, message: wire.Message) -> bool:
    if message.body["revision"] == cache.description.revision:
        table.store(cache, message.body, message.arrays)
    return True
