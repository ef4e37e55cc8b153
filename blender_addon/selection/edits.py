"""Deleting, hiding and cropping what is selected, keeping the largest piece, and bringing it all back."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import names
from ..cache import storage
from ..sequence import attributes, playback
from ..sequence.properties import cloud_of, properties_of
from ..sequence.sequence import Sequence
from . import frames, mask, pieces, selecting
from .regions import LEAST_OPACITY, Region

Array = np.ndarray[Any, Any]


def remove(shown: Sequence, name: str, *, others: bool = False) -> int:
    """Delete or hide what is selected, or all else; how many of the points of this frame went.

    Args:
        name: one of `names.MASKS`.
        others: what is not selected goes.
    """
    gone = {}
    for child in selecting.lasting(shown):
        cloud = cloud_of(child)
        chosen = mask.read(cloud, names.SELECTED)
        gone[child] = ~chosen if others else chosen
    before = _visible(shown)
    for child, values in gone.items():
        cloud = cloud_of(child)
        mask.write(cloud, name, mask.read(cloud, name) | values)
        attributes.remove(cloud, names.SELECTED)
    if shown.loose_object is not None:
        edits = frames.read(shown.empty)
        inverted = (("INVERT", Region("ALL")),) if others else ()
        frames.write(shown.empty, edits.masked(name, (*edits.selected, *inverted)))
    _show(shown)
    return before - _visible(shown)


class LargestPiece:
    """What shows of a sequence at this frame, and which of it hangs together most.

    Static and moving points are taken together; loose ones by themselves, in every frame.
    """

    def __init__(self, shown: Sequence) -> None:
        self._there: dict[str, Array] = {}
        positions, scales = [], []
        for child in selecting.lasting(shown):
            points = selecting.points_of(shown, child)
            there = np.flatnonzero(points.opacities >= LEAST_OPACITY)
            self._there[properties_of(child).role] = there
            positions.append(points.positions[there])
            scales.append(points.scales[there])
        self._positions, self._scales = (
            np.concatenate(parts) if parts else np.empty((0, 3)) for parts in (positions, scales)
        )
        self._found = np.empty(0, bool)

    def find(self) -> LargestPiece:
        """Look for it; touches nothing of Blender's, so that a thread may."""
        self._found = pieces.largest(self._positions, self._scales)
        return self

    def keep(self, shown: Sequence) -> int:
        """Delete all else; how many points went."""
        before, start = _visible(shown), 0
        for child in selecting.lasting(shown):
            there, cloud = self._there.get(properties_of(child).role, np.empty(0, int)), cloud_of(child)
            part = self._found[start : start + len(there)]
            start += len(there)
            if len(there) and there[-1] >= len(cloud.points):
                continue  # it was edited meanwhile
            gone = mask.read(cloud, names.DELETED)
            gone[there[~part]] = True
            mask.write(cloud, names.DELETED, gone)
            attributes.remove(cloud, names.SELECTED)
        if shown.loose_object is not None:
            steps = (("SET", Region("LARGEST")), ("INVERT", Region("ALL")))
            frames.write(shown.empty, frames.read(shown.empty).masked(names.DELETED, steps))
        _show(shown)
        return before - _visible(shown)


def bring_back(shown: Sequence, name: str) -> None:
    """Show again all that was deleted, or all that was hidden. CacheError if its opacities are not here."""
    cache = storage.find(shown.empty)
    for cloud in shown.clouds:
        attributes.remove(cloud, name)
    if shown.loose_object is not None:
        frames.write(shown.empty, frames.read(shown.empty).without(name))
    shown.fill_part(cache, "STATIC", names.RADIANCE)
    _show(shown)


def masked(shown: Sequence, name: str) -> bool:
    """Whether anything is deleted, or hidden."""
    if any(name in cloud.attributes for cloud in shown.clouds):
        return True
    return shown.loose_object is not None and any(mask == name for mask, _ in frames.read(shown.empty).done)


def _show(shown: Sequence) -> None:
    still = shown.static_object
    if still is not None:
        cloud = cloud_of(still)
        attributes.write(cloud, names.RADIANCE, "FLOAT4", mask.dimmed(cloud, attributes.read(cloud, names.RADIANCE)))
        playback.touch(still)
    playback.refresh(shown.empty)


def _visible(shown: Sequence) -> int:
    return selecting.counts(shown)[1]
