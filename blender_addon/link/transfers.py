"""Frames on their way from the backend into the cache, those around the playhead first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import wire
from ..cache import storage
from ..cache.frames import CacheError, RunCache
from ..sequence import playback, sequence
from ..ui import preferences
from .connection import Link
from .types import Failure, Received

WINDOW = 8
"""Frames that a stream may have under way."""


def decoded(message: wire.Message) -> dict[str, np.ndarray[Any, Any]]:
    """A `frame` event's arrays; those that travelled as integers as the float32 values that they stand for."""
    arrays = dict(message.arrays)
    for name, values in arrays.items():
        if values.dtype == np.uint16:
            step, low = (np.array(message.body[key][name], np.float32) for key in ("step", "low"))
            arrays[name] = values * step + low
            if name in message.body["logarithms"]:
                np.exp(arrays[name], out=arrays[name])
            if name.endswith("quats"):
                arrays[name] /= np.linalg.norm(arrays[name], axis=1, keepdims=True)
    return arrays


@dataclass
class Transfer:
    """The missing frames of one run.

    Attributes:
        missing: how many there still are.
        request: the stream's id; None while it waits for a connection.
        aimed: capture frame that the stream was last aimed at.
        failure: why it stopped, as a sentence; it is not resumed by itself then.
    """

    cache: RunCache
    missing: int
    request: int | None = None
    aimed: int = 0
    failure: str = ""


class Transfers:
    """All transfers, by run id. They outlive a lost connection and go on with the next."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._all: dict[str, Transfer] = {}

    def get(self, run_id: str) -> Transfer | None:
        """The transfer of a run; None when nothing of it is missing or it was not asked for."""
        return self._all.get(run_id)

    @property
    def busy(self) -> bool:
        """Whether frames are on their way."""
        return any(transfer.request is not None for transfer in self._all.values())

    @property
    def pending(self) -> bool:
        """Whether there is any transfer, under way, waiting or failed."""
        return bool(self._all)

    def fetch(self, cache: RunCache) -> None:
        """Have a run's missing frames sent; nothing if they are under way."""
        name = cache.description.run_id
        known = self._all.get(name)
        if known and known.request is not None:
            return
        missing = cache.missing_frames()
        if not missing:
            self._all.pop(name, None)
            return
        transfer = self._all[name] = Transfer(cache, len(missing), aimed=sequence.playhead(name))
        if self._link.ready:
            self._send(transfer, missing)

    def cancel(self, run_id: str) -> None:
        """Stop a run's frames; what has arrived stays."""
        transfer = self._all.pop(run_id, None)
        if transfer:
            self._link.cancel(transfer.request)

    def forgive(self, run_id: str) -> None:
        """Forget why a run's transfer stopped, so that it can be asked for again."""
        transfer = self._all.get(run_id)
        if transfer and transfer.failure:
            del self._all[run_id]

    def resume(self) -> None:
        """Go on with what a lost connection interrupted, and with what the file's sequences still miss."""
        for transfer in list(self._all.values()):
            if not transfer.failure:
                self.fetch(transfer.cache)
        for _, shown in sequence.everywhere():
            if shown.its.files:
                continue  # of splat files that are read here
            try:
                cache = storage.find(shown.empty)
            except CacheError:
                continue  # playback says so in the panel, beside the button that fetches it
            known = self._all.get(cache.description.run_id)
            if cache.has_constants() and not (known and known.failure):
                self.fetch(cache)

    def aim(self) -> None:
        """Send streams to the playhead where it stands on a frame that has not arrived."""
        for name, transfer in self._all.items():
            frame = sequence.playhead(name)
            if transfer.request is None or frame == transfer.aimed or transfer.cache.has_frame(frame):
                continue
            if self._link.client:
                self._link.client.aim(transfer.request, frame)
                transfer.aimed = frame

    def _send(self, transfer: Transfer, missing: list[int]) -> None:
        chosen, description = preferences.get(), transfer.cache.description
        half = chosen.connection == "ADDRESS" and chosen.half_precision
        transfer.request = self._link.request(
            wire.Kind.FRAMES,
            {
                "run": description.run,
                "revision": description.revision,
                "frames": missing,
                "around": transfer.aimed,
                "precision": "uint16" if half else "float32",
                "window": WINDOW,
            },
            sink=lambda message: storage.store_frame(transfer.cache, message.body["frame"], decoded(message)),
            on_event=lambda event: self._arrived(transfer, event),
            on_reply=lambda reply: self._ended(transfer, reply.body),
            on_failure=lambda failure: self._failed(transfer, failure),
        )

    def _arrived(self, transfer: Transfer, event: Received) -> None:
        transfer.missing -= 1
        name, used = transfer.cache.description.run_id, False
        for scene, shown in sequence.everywhere():
            if shown.its.run_id == name:
                used = True
                if shown.shows(event.body["frame"], scene.frame_current_final):
                    playback.refresh(shown.empty)
        if not used and self._all.get(name) is transfer:  # deleted, or its import undone
            self.cancel(name)

    def _ended(self, transfer: Transfer, body: Mapping[str, Any]) -> None:
        self._drop(transfer)
        if body.get("missing"):
            name = transfer.cache.description.run
            self._link.message = f"{len(body['missing'])} frames of '{name}' are not trained yet."

    def _failed(self, transfer: Transfer, failure: Failure) -> None:
        transfer.request = None
        if failure.code == wire.Code.CANCELLED:
            self._drop(transfer)
        elif failure.code not in ("lost", wire.Code.STALLED):  # those are resumed
            transfer.failure = self._link.message = failure.sentence

    def _drop(self, transfer: Transfer) -> None:
        name = transfer.cache.description.run_id
        if self._all.get(name) is transfer:  # it may have been cancelled and asked for anew
            del self._all[name]
