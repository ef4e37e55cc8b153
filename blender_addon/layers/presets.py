"""How what the layers name stands out: its amounts on the parent empty, which presets set and F-curves animate.

Each amount is a custom property of the empty, 0 to 1, that drives the node group, so that a keyframe on it is all an
animator needs, and files show it without the add-on.
"""

from __future__ import annotations

import bpy

from .. import declare, names
from ..portable.look import AMOUNTS, PRESETS, Amounts
from . import curves


def apply(empty: bpy.types.Object, mode: str) -> None:
    """Set the amounts as this one of `PRESETS` says. Animated ones keep following their F-curves."""
    chosen = PRESETS[mode].amounts
    for name in AMOUNTS:
        if curves.find(empty, names.amount_path(name)) is None:
            _set(empty, name, chosen.get(name, 0.0))
    empty.update_tag()


def ensure(empty: bpy.types.Object, mode: str) -> None:
    """Give the empty the amounts of `mode` that it lacks: it is new, or its file is from before there were any."""
    for name in AMOUNTS:
        if empty.get(names.amount_property(name)) is None:
            _set(empty, name, PRESETS[mode].amounts.get(name, 0.0))


def amounts(empty: bpy.types.Object, scene_frame: float) -> Amounts:
    """The amounts at a scene frame, from their F-curves where they have some."""
    found = (curves.value(empty, names.amount_property(name), scene_frame) for name in AMOUNTS)
    return Amounts(*(min(max(value, 0.0), 1.0) for value in found))


def animated(empty: bpy.types.Object) -> list[str]:
    """The amounts that have an F-curve: a preset does not change what they show."""
    return [name for name in AMOUNTS if curves.find(empty, names.amount_path(name)) is not None]


def _set(empty: bpy.types.Object, name: str, value: float) -> None:
    key = names.amount_property(name)
    if empty.get(key) is None:
        declare.custom(empty, key, value, AMOUNTS[name], min=0.0, max=1.0, default=0.0, subtype="FACTOR")
    elif empty[key] != value:
        empty[key] = value
