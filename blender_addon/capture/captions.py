"""A captions table from names: what an animated object is called, and what its actions are called."""

from __future__ import annotations

import math
import re

import bpy


def from_actions(owner: bpy.types.Object, first: int, last: int) -> list[tuple[int, int, str]]:
    """What `owner` does between two scene frames: (start, end, caption), both ends included, in order.

    Each strip of its NLA tracks says "<object> <strip>" for as long as it lasts, an action in use "<object> <action>"
    for its range. An object without either has one caption, its name.
    """
    called = plain(owner.name)
    rows = []
    for start, end, name in _activities(owner):
        start, end = max(math.ceil(start), first), min(math.floor(end), last)
        if start <= end:
            rows.append((start, end, f"{called} {plain(name)}"))
    return sorted(rows) or [(first, last, called)]


def plain(name: str) -> str:
    """A data-block's name without the number that Blender appends to make it unique."""
    return re.sub(r"\.\d{3,}$", "", name).strip()


def _activities(owner: bpy.types.Object) -> list[tuple[float, float, str]]:
    data = owner.animation_data
    if data is None:
        return []
    found = []
    for track in data.nla_tracks:
        strips = [] if track.mute else [strip for strip in track.strips if not strip.mute]
        for number, strip in enumerate(strips):
            end = strip.frame_end
            if number + 1 < len(strips):  # strips that touch do not share a frame
                end = min(end, strips[number + 1].frame_start - 1)
            found.append((strip.frame_start, end, strip.name))
    if data.action is not None:
        start, end = data.action.frame_range.to_tuple()
        found.append((start, end, data.action.name))
    return found
