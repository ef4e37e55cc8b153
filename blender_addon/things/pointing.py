"""What a person points at becomes what is selected: a click along a ray, words, and the same at another scale."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence as Several
from dataclasses import asdict, dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from .. import names
from ..cache import storage
from ..cache.frames import CacheError
from ..portable import pointing
from ..selection import frames, mask, selecting
from ..selection.regions import Region
from ..sequence import attributes
from ..sequence.properties import cloud_of, properties_of
from ..sequence.sequence import Sequence
from . import table
from .table import BELONGS, Columns, Table

Array = np.ndarray[Any, Any]


class NothingMeantError(Exception):
    """What was pointed at is nothing; the message is a sentence."""


@dataclass(frozen=True)
class Pointed:
    """The last thing that was pointed at: so it is meant at another scale without asking again.

    Attributes:
        under: the segments that it may mean.
        chosen: those that it means.
        mode: how they changed what was selected.
        after: mark of what was selected then, and of the segments that there were.
    """

    under: tuple[int, ...]
    chosen: tuple[int, ...]
    mode: str
    after: int = 0


def table_of(shown: Sequence) -> Table:
    """The sequence's segments. NothingMeantError where there are none, CacheError where its cache is not here."""
    found = table.read(storage.find(shown.empty))
    if found is None or not found.names:
        raise NothingMeantError(
            "This run has no segments here: make them by `legs4d segments RUN` (or Find Things), then fetch them"
        )
    return found


def click(shown: Sequence, origin: Vector, direction: Vector, mode: str = "SET", scale: float | None = None) -> str:
    """Select the segment in front along a ray; a sentence.

    Args:
        origin, direction: in the scene.
        mode: one of `selecting.MODES`.
        scale: of the segments there, 0 the smallest of the run, 1 the largest; the sequence's by default.

    Raises:
        NothingMeantError: there is nothing, or nothing that is in a segment. CacheError: segments are not here.
    """
    known = table_of(shown)
    rows, filled = front(shown, origin, direction)
    if filled.sum() < pointing.OPAQUE:
        raise NothingMeantError("There is nothing here; click on something")
    under = known.under(rows, filled, shown.its.thing_scale if scale is None else scale)
    if not under:
        raise NothingMeantError("What is here is in no segment; click on something else, or make segments that have it")
    _choose(shown, known, Pointed(tuple(under), (under[0],), mode))
    return said(shown, known)


def choose_segments(
    shown: Sequence, numbers: Several[int], mode: str = "SET", under: Several[int] | None = None
) -> str:
    """Select segments by their numbers, such as those that a prompt means; a sentence.

    Args:
        under: others that might be meant at another scale.
    """
    known = table_of(shown)
    wrong = [number for number in numbers if not 0 <= number < len(known.names)]
    if wrong or not numbers:
        raise NothingMeantError(f"There is no segment {wrong[0] if wrong else ''}; the run was taken apart anew: fetch")
    _choose(shown, known, Pointed(tuple(under or numbers), tuple(numbers), mode))
    return said(shown, known)


def rescale(shown: Sequence, scale: float) -> str:
    """Mean the last thing that was pointed at by the segment nearest to a scale; a sentence."""
    known = table_of(shown)
    last = _last(shown, known)
    nearest = min(last.under, key=lambda number: abs(float(known.quantile[number]) - scale))
    if last.chosen != (nearest,):
        _take_back(shown, last)
        try:
            _choose(shown, known, Pointed(last.under, (nearest,), last.mode))
        except NothingMeantError:
            _choose(shown, known, last)
            raise
    return said(shown, known)


def step(shown: Sequence, larger: bool) -> str:
    """Mean the next larger or smaller segment of those that the last click may mean; a sentence."""
    known = table_of(shown)
    last = _last(shown, known)
    order = sorted(last.under, key=lambda number: float(known.quantile[number]))
    at = order.index(last.chosen[0]) + (1 if larger else -1)
    if not 0 <= at < len(order):
        raise NothingMeantError(f"There is nothing {'larger' if larger else 'smaller'} here")
    scale = float(known.quantile[order[at]])
    told = rescale(shown, scale)
    shown.its.thing_scale = scale
    return told


def front(shown: Sequence, origin: Vector, direction: Vector) -> tuple[Array, Array]:
    """(rows, shares) of the points that fill the pixel along a ray, as the run numbers them: what is hidden, deleted,
    cut by `largest` or `slenderness`, or behind something has no share."""
    its = shown.its
    begin = {"STATIC": 0, "DYNAMIC": its.num_static, "LOOSE": its.num_static + its.num_dynamic}
    if its.num_loose:
        scene = bpy.context.scene
        assert scene is not None
        begin["LOOSE"] += shown.capture_frame(scene.frame_current_final) * its.num_loose
    found = []
    for child in shown.objects:
        cloud = cloud_of(child)
        if names.RADIANCE not in cloud.attributes or not len(cloud.points) or not child.visible_get():
            continue
        inverse = child.matrix_world.inverted_safe()
        start, ahead = inverse @ origin, inverse.to_3x3() @ direction
        rows, alphas, depths = pointing.crossed(
            attributes.read(cloud, names.POSITION),
            attributes.read(cloud, names.SCALE),
            attributes.read(cloud, names.ROTATION),
            _shown_opacities(shown, child),
            np.array(start),
            np.array(ahead),
            its.pixel_angle,
        )
        found.append((rows + begin[properties_of(child).role], alphas, depths))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0)
    rows, alphas, depths = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, pointing.composited(alphas, depths)


def _shown_opacities(shown: Sequence, child: bpy.types.Object) -> Array:
    its, points = shown.its, selecting.points_of(shown, child)
    opacities = points.opacities
    if its.largest:
        longest = its.largest / max(child.matrix_world.median_scale, 1e-12)
        opacities = opacities * Region("SIZE", high=longest).inside(points)
    if its.slenderness:
        opacities = opacities * Region("NEEDLE", high=max(its.slenderness, 1.0)).inside(points)
    return opacities


def choose_columns(shown: Sequence, columns: Columns, numbers: Several[int], mode: str) -> None:
    """Select the points of some columns, in every frame."""
    its = shown.its
    lasting = its.num_static + its.num_dynamic
    weights = np.zeros(lasting + its.num_frames * its.num_loose, np.float32)
    for number in numbers:
        index, weight = columns.of(number)
        np.maximum.at(weights, index, weight)
    loose = weights[lasting:].reshape(its.num_frames, its.num_loose) if its.num_loose else None
    by_frame = None if loose is None else {t: row for t, row in enumerate(loose) if (row >= BELONGS).any()}
    selecting.choose_weights(shown, weights[:lasting], BELONGS, mode, by_frame)


def said(shown: Sequence, known: Table) -> str:
    """What is meant now, a sentence."""
    told = _read(shown)
    meant = ", ".join(known.title(number) for number in told.chosen) if told is not None else ""
    return f"{meant + ': ' if meant else ''}{selecting.said(shown)}"


def title(shown: Sequence) -> str:
    """What is selected is called, where it is a segment; else empty."""
    try:
        known = table_of(shown)
        last = _last(shown, known)
    except (NothingMeantError, CacheError):
        return ""
    return known.title(last.chosen[0])


def _choose(shown: Sequence, known: Table, wanted: Pointed) -> None:
    """Note what is selected, change it, and remember how; NothingMeantError if nothing would be left."""
    for child in selecting.lasting(shown):
        cloud = cloud_of(child)
        mask.write(cloud, names.BEFORE, mask.read(cloud, names.SELECTED))
    choose_columns(shown, known.segments, wanted.chosen, wanted.mode)
    if wanted.mode != "SET" and not selecting.is_anything(shown):
        _take_back(shown, wanted)
        raise NothingMeantError("Nothing would be left selected; take away less")
    shown.its.pointed = json.dumps(asdict(wanted) | {"after": _mark(shown, known)})


def _take_back(shown: Sequence, last: Pointed) -> None:
    """Select what was selected before it."""
    for child in selecting.lasting(shown):
        cloud = cloud_of(child)
        mask.write(cloud, names.SELECTED, mask.read(cloud, names.BEFORE))
    if shown.loose_object is not None:
        edits = frames.read(shown.empty)
        before = () if last.mode == "SET" else edits.selected[:-1]
        frames.write(shown.empty, frames.Edits(before, edits.done, edits.kept))
    selecting.redraw(shown)


def _last(shown: Sequence, known: Table) -> Pointed:
    last = _read(shown)
    if last is None or last.after != _mark(shown, known):
        raise NothingMeantError("Click on a thing first: what is selected is no segment")
    return last


def _read(shown: Sequence) -> Pointed | None:
    text = str(shown.its.pointed)
    if not text:
        return None
    told = json.loads(text)
    return Pointed(tuple(told["under"]), tuple(told["chosen"]), told["mode"], told["after"])


def _mark(shown: Sequence, known: Table) -> int:
    """Of what is selected now, and of the segments: another one whenever that is something else."""
    found = zlib.crc32(np.ascontiguousarray(known.segments.start).tobytes())
    for child in selecting.lasting(shown):
        found = zlib.crc32(np.packbits(mask.read(cloud_of(child), names.SELECTED)).tobytes(), found)
    steps = frames.read(shown.empty).selected if shown.loose_object is not None else ()
    return zlib.crc32(json.dumps(frames.regions.steps_to_json(steps)).encode(), found)
