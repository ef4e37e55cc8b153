"""What is selected, deleted and hidden of loose points: criteria on the parent empty, asked anew in every frame.

A loose point is of one frame, so no attribute can remember it. What is remembered is how it was chosen.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import bpy
import numpy as np

from .. import names
from ..cache.frames import STEPS, RunCache
from . import regions
from .regions import Points, Step

Array = np.ndarray[Any, Any]

REMEMBERED = 256
"""Frames whose masks are kept in memory, some 40 kB each at 300,000 points."""

_known: OrderedDict[tuple[Any, ...], dict[str, bytes]] = OrderedDict()


@dataclass(frozen=True)
class Edits:
    """What was done to a sequence's loose points.

    Attributes:
        selected: how what is selected now was chosen.
        done: (mask, steps) of each delete and hide, in their order.
        kept: steps of each selection that was kept under a name.
    """

    selected: tuple[Step, ...] = ()
    done: tuple[tuple[str, tuple[Step, ...]], ...] = ()
    kept: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)

    def chosen(self, mode: str, region: regions.Region) -> Edits:
        """With one more step of choosing."""
        return replace(self, selected=((mode, region),) if mode == "SET" else (*self.selected, (mode, region)))

    def masked(self, name: str, steps: tuple[Step, ...]) -> Edits:
        """With what these steps choose deleted or hidden, and nothing selected."""
        return replace(self, selected=(), done=(*self.done, (name, steps)))

    def without(self, name: str) -> Edits:
        """With nothing deleted, or nothing hidden."""
        return replace(self, done=tuple(one for one in self.done if one[0] != name))


def read(empty: bpy.types.Object) -> Edits:
    """What the empty remembers."""
    text = str(empty.get(names.EDITS, ""))
    if not text:
        return Edits()
    told = json.loads(text)
    return Edits(
        regions.steps_from_json(told["selected"]),
        tuple((name, regions.steps_from_json(steps)) for name, steps in told["done"]),
        {name: regions.steps_from_json(steps) for name, steps in told["kept"].items()},
    )


def write(empty: bpy.types.Object, edits: Edits) -> None:
    """Have the empty remember this."""
    if edits == Edits():
        empty.pop(names.EDITS, None)
        return
    told = {
        "selected": regions.steps_to_json(edits.selected),
        "done": [[name, regions.steps_to_json(steps)] for name, steps in edits.done],
        "kept": {name: regions.steps_to_json(steps) for name, steps in edits.kept.items()},
    }
    empty[names.EDITS] = json.dumps(told)


def masks(empty: bpy.types.Object, cache: RunCache, frame: int) -> dict[str, Array]:
    """[points] bool of a frame's loose points: selected, deleted, hidden and each kept selection, by attribute.

    Empty where nothing was ever done.
    """
    text = str(empty.get(names.EDITS, ""))
    if not text:
        return {}
    edits = read(empty)
    count, _, arrays = cache.loose(frame)
    keys = {key for _, steps in _all(edits) for key in regions.layer_keys(steps)}
    place = (cache.description.run_id, frame, text, *sorted(k for k in keys if cache.has_relevancy(k, frame)))
    if place not in _known:
        _known[place] = {name: regions.packed(values) for name, values in _find(edits, cache, frame, arrays).items()}
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
    _known.move_to_end(place)
    return {name: regions.unpacked(bits, count) for name, bits in _known[place].items()}


def missing(empty: bpy.types.Object, cache: RunCache, name: str) -> list[int]:
    """Frames of which nobody can tell yet which loose points were kept under a name: they, or answers, are not here."""
    steps = read(empty).kept.get(name, ())
    if not steps:
        return []
    keys = regions.layer_keys(steps)
    return [
        t
        for t in range(cache.description.num_frames)
        if not cache.has_frame(t) or not all(cache.has_relevancy(key, t) for key in keys)
    ]


def _find(edits: Edits, cache: RunCache, frame: int, arrays: dict[str, Array]) -> dict[str, Array]:
    opacities = arrays["opacities"] * STEPS["opacities"]
    count = len(opacities)

    def levels(key: str) -> Array | None:
        return cache.loose_relevancy(key, frame, count) if cache.has_relevancy(key, frame) else None

    seen = np.asarray(arrays["seen"]) * np.float32(1 / 255) if "seen" in arrays else None
    points = Points(np.asarray(arrays["means"]), np.asarray(arrays["scales"]), opacities, levels, frame, seen)
    found = {name: np.zeros(count, bool) for name in names.MASKS}
    for name, steps in edits.done:
        gone = regions.selected(steps, points)
        found[name] |= gone
        opacities[gone] = 0.0
    for name, steps in edits.kept.items():
        found[names.selection_attribute(name)] = regions.selected(steps, points)
    return found | {names.SELECTED: regions.selected(edits.selected, points)}


def _all(edits: Edits) -> list[tuple[str, tuple[Step, ...]]]:
    return [("", edits.selected), *edits.done, *edits.kept.items()]
