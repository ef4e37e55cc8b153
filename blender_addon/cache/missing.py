"""What of a sequence is not on this machine: a render or an export that needs it says so before it begins."""

from __future__ import annotations

from collections.abc import Iterable

import bpy

from ..portable.averaging import around
from ..sequence import nodes, timing
from ..sequence.sequence import Sequence
from . import storage
from .frames import CacheError

NAMED = 5
"""Missing frames that the sentence names."""


def missing(shown: Sequence, clocks: Iterable[float]) -> str:
    """What of a sequence is missing to show it at these scene frames, as F-curves count; empty if all is here.

    Splat files are read as they are needed where there is no window, and the reading says what is wrong with them.
    """
    if shown.deleted:
        return f"{shown.deleted}."
    if shown.its.files and bpy.app.background:
        return ""
    try:
        cache = storage.find(shown.empty)
    except CacheError as error:
        return f"{error}."
    if not cache.has_constants():
        return f"'{shown.empty.name}' has not arrived yet; connect a backend and press Fetch."
    frames: set[int] = set()
    bound: set[int] = set()
    if not cache.description.is_still:
        for clock in clocks:
            frame, share = timing.shown_frames(shown.empty, clock)
            for shown_frame in (frame, frame + 1) if share else (frame,):
                frames |= set(around(shown_frame, shown.its.averaging, cache.description.num_frames))
        if cache.description.num_dynamic and nodes.near(shown):
            bound = {shown.its.bound_at}  # no picture shows it, so that nobody needs a prompt's answer in it
    gone = sorted(frame for frame in frames | bound if not cache.has_frame(frame))
    if gone:
        return _sentence(shown, gone, "", len(frames | bound))
    for layer in shown.layers:
        if not layer.answer_key:
            continue
        gone = sorted(frame for frame in frames if not cache.has_relevancy(layer.answer_key, frame))
        if gone or cache.answer(layer.answer_key) is None:
            return _sentence(shown, gone, f" for the prompt '{layer.prompt}'", len(frames))
    return ""


def _sentence(shown: Sequence, gone: list[int], what: str, of: int) -> str:
    if not gone:
        return f"The answer{what} of '{shown.empty.name}' is not on this machine; connect a backend and press Fetch."
    named = ", ".join(map(str, gone[:NAMED])) + (", …" if len(gone) > NAMED else "")
    return (
        f"{len(gone)} of {of} capture frames of '{shown.empty.name}' are not on this machine{what} ({named}); connect "
        "a backend and press Fetch, or turn on Render What Is There (panel Rendering)."
    )
