"""What a picture asks of the backend beside layers: which Gaussians are there, and the grades of their colours."""

from __future__ import annotations

import math
from collections.abc import Sequence as Several
from dataclasses import asdict
from typing import Any

import numpy as np

from .. import names
from ..cache import storage
from ..cache.frames import CacheError
from ..selection import frames, grades, mask
from ..selection.regions import packed
from ..sequence import attributes
from ..sequence.properties import cloud_of
from ..sequence.sequence import Sequence
from ..sequence.timing import SAME_MOMENT

MOST_BYTES = 150_000
"""Of all masks of a request; the backend takes messages of 256 KiB."""

Array = np.ndarray[Any, Any]
Body = dict[str, Any]


def told(shown: Sequence, graded: Several[grades.Graded], moments: Several[float]) -> Body:
    """`kept` and `grades` of the `render` request (backend/README.md), where there are any: older servers know neither.

    Args:
        graded: the grades that show.
        moments: capture time of each sample.
    """
    found: Body = {}
    loose = _loose_masks(shown, moments)
    keep = {child: mask.kept(cloud_of(child)) for child in (shown.static_object, shown.dynamic_object) if child}
    kept = _points(shown, keep, {at: ~(one[names.DELETED] | one[names.HIDDEN]) for at, one in loose.items()})
    if kept:
        found["kept"] = kept
    listed = [_grade(shown, one, loose) for one in graded]
    return found | ({"grades": listed} if listed else {})


def limits(shown: Sequence) -> Body:
    """What of `limits` of the `render` request is for viewports alone; nothing where there is nothing."""
    its, unit = shown.its, max(shown.to_world.median_scale, 1e-12)
    found = {"largest": float(its.largest / unit)} if its.largest else {}
    if its.slenderness:
        found["slenderness"] = max(float(its.slenderness), 1.0)
    return found


def obstacle(shown: Sequence) -> str:
    """Why the backend cannot be told, a sentence; empty if it can."""
    masks = 1 + sum(grade.where == "SELECTION" for grade in shown.its.grades)
    if shown.its.num_static + shown.its.num_dynamic <= MOST_BYTES * 8 / masks:
        return ""
    asked = told(shown, grades.at(shown, 0.0), [])
    parts = [asked.get("kept", {}), *(one["points"] for one in asked.get("grades", ()) if "points" in one)]
    if sum(len(bits) for part in parts for bits in part.values()) <= MOST_BYTES:
        return ""
    return (
        f"What is deleted or graded of '{shown.empty.name}' is too scattered for one message to the backend; "
        "render with Cycles or EEVEE, or select along simpler outlines."
    )


def _grade(shown: Sequence, one: grades.Graded, loose: dict[int, dict[str, Array]]) -> Body:
    said: Body = {name: _numbers(value) for name, value in asdict(one.grade).items()}
    said["strength"] = float(one.strength)
    if one.where == "LAYER":
        said["layer"] = one.source
    if one.ramp is not None:
        said["ramp"] = list(one.ramp)
    if one.where == "SELECTION":
        name = names.selection_attribute(one.source)
        chosen = {}
        for child in (shown.static_object, shown.dynamic_object):
            if child is not None and name in cloud_of(child).attributes:
                chosen[child] = attributes.read(cloud_of(child), name) > 0.5
        said["points"] = _points(shown, chosen, {at: masks[name] for at, masks in loose.items() if name in masks})
    return said


def _points(shown: Sequence, lasting: dict[Any, Array | None], loose: dict[int, Array]) -> Body:
    found: Body = {}
    for name, child in (("static", shown.static_object), ("dynamic", shown.dynamic_object)):
        values = lasting.get(child)
        if values is not None:
            found[name] = packed(values)
    if loose:
        found["loose"] = [{"frame": frame, "points": packed(values)} for frame, values in loose.items()]
    return found


def _loose_masks(shown: Sequence, moments: Several[float]) -> dict[int, dict[str, Array]]:
    """By capture frame; empty where nothing was done to loose points."""
    if shown.loose_object is None or not shown.empty.get(names.EDITS):
        return {}
    try:
        cache = storage.find(shown.empty)
    except CacheError:  # nothing shows of frames that are not here, and the panel says it
        return {}
    wanted = sorted({math.floor(moment + SAME_MOMENT) for moment in moments})
    return {frame: frames.masks(shown.empty, cache, frame) for frame in wanted if cache.has_frame(frame)}


def _numbers(value: Any) -> Any:
    return [float(one) for one in value] if isinstance(value, tuple) else float(value)
