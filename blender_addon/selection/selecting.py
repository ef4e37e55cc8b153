"""Choosing points of a sequence: by a region, by weights, all, none; and what the choice is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import bpy
import numpy as np

from .. import names
from ..cache import storage
from ..cache.frames import CacheError
from ..layers import layers
from ..sequence import attributes, highlighter, playback
from ..sequence.properties import cloud_of, properties_of
from ..sequence.sequence import Sequence
from . import frames, mask, regions
from .regions import Points, Region

Array = np.ndarray[Any, Any]
MODES = {
    "SET": "Select these alone",
    "ADD": "Add these to what is selected",
    "SUBTRACT": "Take these from what is selected",
    "INTERSECT": "Keep of what is selected what is among these",
}


def lasting(shown: Sequence) -> Iterator[bpy.types.Object]:
    """Its clouds whose points every frame has."""
    for child in (shown.static_object, shown.dynamic_object):
        if child is not None and names.RADIANCE in cloud_of(child).attributes:
            yield child


def choose(shown: Sequence, region_of: Callable[[bpy.types.Object], Region], mode: str = "SET") -> None:
    """Change what is selected.

    Args:
        region_of: the region in the axes of one of its clouds.
        mode: one of `MODES`, or "INVERT".
    """
    for child in lasting(shown):
        cloud = cloud_of(child)
        found = region_of(child).inside(points_of(shown, child))
        mask.write(cloud, names.SELECTED, regions.combined(mask.read(cloud, names.SELECTED), mode, found))
    loose = shown.loose_object
    if loose is not None:
        frames.write(shown.empty, frames.read(shown.empty).chosen(mode, region_of(loose)))
    redraw(shown)


def choose_weights(
    shown: Sequence,
    weights: Array,
    threshold: float = 0.5,
    mode: str = "SET",
    loose: Mapping[int, Array] | None = None,
) -> None:
    """Select what another tool found: segments, clicks, clusters.

    Args:
        weights: [N] f16 or f32, 0..1, of the static points, then of those that move, as a run numbers them. ValueError
            if there are not so many.
        threshold: from which a point is selected.
        mode: one of `MODES`.
        loose: the weights [points] of a frame's loose points, by capture frame; frames that are not named select none.
    """
    its = shown.its
    counts = {"STATIC": its.num_static, "DYNAMIC": its.num_dynamic}
    if len(weights) != sum(counts.values()):
        raise ValueError(f"{len(weights)} weights for the {sum(counts.values())} points of '{shown.empty.name}'")
    found = np.asarray(weights) >= threshold
    start = 0
    for role, count in counts.items():
        child = its.child(role)
        if child is not None:
            cloud = cloud_of(child)
            before, part = mask.read(cloud, names.SELECTED), found[start : start + count]
            keep = mask.kept(cloud)
            chosen = part if keep is None else part & keep
            mask.write(cloud, names.SELECTED, regions.combined(before, mode, chosen))
        start += count
    if shown.loose_object is not None:
        picked = {frame: regions.packed(np.asarray(values) >= threshold) for frame, values in (loose or {}).items()}
        frames.write(shown.empty, frames.read(shown.empty).chosen(mode, Region("PICKED", picked=picked)))
    redraw(shown)


def choose_kept(shown: Sequence, name: str, mode: str = "SET") -> None:
    """Select what was kept under a name, whether it is there at this frame or not."""
    for child in lasting(shown):
        cloud = cloud_of(child)
        values, keep = _kept_of(cloud, name), mask.kept(cloud)
        found = np.zeros(len(cloud.points), bool) if values is None else values
        found = found if keep is None else found & keep
        mask.write(cloud, names.SELECTED, regions.combined(mask.read(cloud, names.SELECTED), mode, found))
    if shown.loose_object is not None:
        edits = frames.read(shown.empty)
        frames.write(shown.empty, edits.chosen(mode, Region("STEPS", steps=edits.kept.get(name, ()))))
    redraw(shown)


def choose_none(shown: Sequence) -> None:
    """Select nothing."""
    for cloud in shown.clouds:
        attributes.remove(cloud, names.SELECTED)
    if shown.loose_object is not None:
        edits = frames.read(shown.empty)
        frames.write(shown.empty, frames.Edits((), edits.done, edits.kept))
    redraw(shown)


def keep_as(shown: Sequence, name: str) -> None:
    """Keep what is selected under a name, as `names.selection_attribute(name)` of every cloud."""
    for child in lasting(shown):
        chosen = mask.read(cloud_of(child), names.SELECTED)
        attributes.write(cloud_of(child), names.selection_attribute(name), "FLOAT", chosen.astype(np.float32))
    if shown.loose_object is not None:
        edits = frames.read(shown.empty)
        frames.write(shown.empty, frames.Edits(edits.selected, edits.done, {**edits.kept, name: edits.selected}))


def kept_bits(shown: Sequence, name: str) -> bytes:
    """What was kept under a name: a bit a point as its run numbers them (static, moving, then each frame's loose ones),
    deflated.

    Raises:
        CacheError: frames with loose points are not here, so that nobody knows which of theirs belong.
    """
    its = shown.its
    found = np.zeros(its.num_static + its.num_dynamic + its.num_frames * its.num_loose, bool)
    start = 0
    for role, count in (("STATIC", its.num_static), ("DYNAMIC", its.num_dynamic)):
        child = its.child(role)
        values = None if child is None else _kept_of(cloud_of(child), name)
        if values is not None:
            found[start : start + count] = values
        start += count
    if its.num_loose and frames.read(shown.empty).kept.get(name):
        cache = storage.find(shown.empty)
        missing = frames.missing(shown.empty, cache, name)
        if missing:
            raise CacheError(f"Of {len(missing)} frames it is not known here which points belong; fetch them first")
        for frame in range(its.num_frames):
            chosen = frames.masks(shown.empty, cache, frame)[names.selection_attribute(name)]
            at = start + frame * its.num_loose
            found[at : at + len(chosen)] = chosen
    return regions.packed(found)


def forget(shown: Sequence, name: str) -> None:
    """Forget what was kept under this name."""
    for cloud in shown.clouds:
        attributes.remove(cloud, names.selection_attribute(name))
    edits = frames.read(shown.empty)
    kept = {other: steps for other, steps in edits.kept.items() if other != name}
    frames.write(shown.empty, frames.Edits(edits.selected, edits.done, kept))


def _kept_of(cloud: bpy.types.PointCloud, name: str) -> Array | None:
    """[points] bool of what was kept; None where nothing was."""
    attribute = names.selection_attribute(name)
    return attributes.read(cloud, attribute) >= 0.5 if attribute in cloud.attributes else None


def counts(shown: Sequence) -> tuple[int, int]:
    """How many points are selected and how many there are, deleted and hidden ones left out, at this frame."""
    chosen = total = 0
    for cloud in shown.clouds:
        keep = mask.kept(cloud)
        total += len(cloud.points) if keep is None else int(keep.sum())
        chosen += int(mask.read(cloud, names.SELECTED).sum())
    return chosen, total


def said(shown: Sequence) -> str:
    """How many points are selected, a sentence."""
    chosen, total = counts(shown)
    return f"{chosen:,} of {total:,} points are selected."


def any_selected(shown: Sequence) -> bool:
    """Whether anything may be selected, as is asked at every drawing: of loose points, whether any were chosen."""
    if any(names.SELECTED in cloud.attributes for cloud in shown.clouds):
        return True
    return shown.loose_object is not None and bool(frames.read(shown.empty).selected)


def is_anything(shown: Sequence) -> bool:
    """Whether a point is selected in any frame that is here. CacheError if loose points are to be asked and are not."""
    if any(names.SELECTED in cloud_of(child).attributes for child in lasting(shown)):
        return True
    if shown.loose_object is None or not frames.read(shown.empty).selected:
        return False
    cache = storage.find(shown.empty)
    frames_here = (t for t in range(shown.its.num_frames) if cache.has_frame(t))
    return any(frames.masks(shown.empty, cache, t)[names.SELECTED].any() for t in frames_here)


def points_of(shown: Sequence, child: bpy.types.Object) -> Points:
    """A cloud's points as they stand."""
    cloud = cloud_of(child)

    def levels(key: str) -> Array | None:
        for layer in shown.layers:
            if layer.answer_key == key and (found := highlighter.levels_of(cloud, layer.layer_id)) is not None:
                return found
        return None

    return Points(
        attributes.read(cloud, names.POSITION),
        attributes.read(cloud, names.SCALE),
        attributes.read(cloud, names.RADIANCE)[:, 3],
        levels,
        seen=attributes.read(cloud, names.SEEN) if names.SEEN in cloud.attributes else None,
    )


def layer_region(shown: Sequence, layer_id: str) -> Region:
    """What a layer's prompt names: relevancy from its threshold on, whenever it is active."""
    layer = layers.find(shown, layer_id)
    if layer is None:
        return Region("PICKED")
    return Region("LAYER", key=layer.answer_key, threshold=layer.threshold)


def redraw(shown: Sequence) -> None:
    """Have viewports show what is selected now."""
    if shown.loose_object is not None:
        playback.refresh(shown.empty)
    for child in shown.objects:
        if properties_of(child).role != "LOOSE":
            playback.touch(child)
