"""Which pixels are which thing, in all pictures of one camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.objects.places import project
from legs4d.priors.objects.sightings import PERSON, Sightings, histogram
from legs4d.priors.objects.tracks import Thing
from legs4d.priors.picture_crops import clipped, crop, grown, intersections_over_unions, put_back
from legs4d.priors.protocols import MasksPrior, PeoplePrior
from legs4d.scene.camera import Cameras

KEY_FRAMES, PERSONS_KEY_FRAMES = 6, 3
"""A mask that a network cut serves this many frames, following its box; people change their shape."""
_LIKE = 0.6
"""Likeness of colours from which a thing is there where it should be, though no box was found."""
_PRESENT = 0.5
"""Score from which a person is."""
_SHOWN = 0.3
"""Of a box: the share that must lie in the picture."""
_FILLED = 0.08
"""Of a person's box in the picture, that a mask covers at least."""
_FITS = 0.5
"""IoU with the part of a thing's box that lies in the picture, from which a sighting is of it."""
_AGREE = 0.5
"""IoU with what moves, from which a person's mask by a network that knows no people is believed."""
_AROUND = 0.5
"""Of a box, added around it, that is carried with the mask."""
_GRAIN = 96
"""Pixels a side of a carried mask."""

Pictures = Callable[[int], NDArray[np.float32]]
"""Frame → picture [H, W, 3] of the camera."""
Moving = Callable[[int], NDArray[np.float32] | None]
"""Frame → [H, W] share of each pixel of the camera that moves; None where nobody knows."""


@dataclass(frozen=True)
class View:
    """A thing in one picture.

    Attributes:
        box: [4] float32, pixels.
        depth: of its middle.
        score: of its sighting; 0 where it was not sighted, and only should be there.
        whole: [4] float32, pixels: the box with what the picture's edge cuts off.
    """

    box: NDArray[np.float32]
    depth: float
    score: float
    whole: NDArray[np.float32]


@dataclass(frozen=True)
class Cutters:
    """Who cuts.

    Attributes:
        masks: cuts the main thing out of a box.
        people: cuts people out, if it gives masks; None has `masks` do that too.
    """

    masks: MasksPrior
    people: PeoplePrior | None


def cut_camera(
    camera: int,
    things: list[Thing],
    sightings: list[Sightings],
    cameras: list[Cameras],
    pictures: Pictures,
    moving: Moving,
    cutters: Cutters,
    step: Callable[[int], None],
) -> NDArray[np.uint8]:
    """[T, H, W] number of the thing in each pixel, counted from 1; 0 for none.

    Args:
        camera: its position in the sequence.
        sightings, cameras: of each frame.
        pictures, moving: of the camera.
        step: told after each frame; raises to stop.
    """
    width, height = cameras[0].width, cameras[0].height
    free = _free(things, sightings)
    views = [_views(thing, camera, sightings, cameras, free) for thing in things]
    keys = [
        _keys(seen, PERSONS_KEY_FRAMES if thing.track.is_person else KEY_FRAMES)
        for thing, seen in zip(things, views, strict=True)
    ]
    cut: dict[tuple[int, int], NDArray[np.float32]] = {}
    labels = np.zeros((len(sightings), height, width), np.uint8)
    for frame in range(len(sightings)):
        picture = pictures(frame)
        shown: list[tuple[int, View, NDArray[np.float32]]] = []
        for number, (thing, seen) in enumerate(zip(things, views, strict=True)):
            if frame not in seen:
                continue
            mask = _mask(number, thing, frame, seen, keys[number], picture, pictures, moving, cutters, cut)
            if mask is not None:
                shown.append((number, seen[frame], mask))
        # far ones first; things over the people who hold them
        for number, _, mask in sorted(shown, key=lambda one: (not things[one[0]].track.is_person, -one[1].depth)):
            labels[frame][mask > 0.5] = number + 1
        step(frame)
    return labels


def _free(things: list[Thing], sightings: list[Sightings]) -> list[NDArray[np.bool_]]:
    """Of each frame, which sightings are no thing's: those cut by a picture's edge have their middle elsewhere."""
    free = [np.ones(len(seen), bool) for seen in sightings]
    for thing in things:
        for frame, place in thing.track.places.items():
            free[frame][place.sightings] = False
    return free


def _views(
    thing: Thing,
    camera: int,
    sightings: list[Sightings],
    cameras: list[Cameras],
    free: list[NDArray[np.bool_]],
) -> dict[int, View]:
    """Frame → where a thing is in a camera's picture, of the frames in which it is in it."""
    found: dict[int, View] = {}
    track = thing.track
    for frame in range(track.first, track.last + 1):
        rig = cameras[frame]
        viewmat = rig.world_to_camera[camera].astype(np.float64)
        intrinsics = rig.intrinsics[camera].astype(np.float64)
        middle, depth = project(track.expected(frame), viewmat, intrinsics)
        if depth <= 0:
            continue
        half = track.size * intrinsics[[0, 1], [0, 1]] / depth / 2
        box, score = np.concatenate([middle - half, middle + half]), 0.0
        if frame in track.places:
            numbers = track.places[frame].sightings
            mine = numbers[sightings[frame].cameras[numbers] == camera]
            if len(mine):
                box, score = sightings[frame].boxes[mine[0]], float(sightings[frame].scores[mine[0]])
        whole = box
        if not score:
            box, score = _cut_by_edge(thing, camera, sightings[frame], free[frame], box, rig)
        inside = np.clip(np.minimum(box[2:], [rig.width, rig.height]) - np.maximum(box[:2], 0), 0, None).prod()
        if inside >= _SHOWN * (box[2:] - box[:2]).prod():
            found[frame] = View(box.astype(np.float32), float(depth), score, whole.astype(np.float32))
    return found


def _cut_by_edge(
    thing: Thing,
    camera: int,
    seen: Sightings,
    free: NDArray[np.bool_],
    box: NDArray[np.float64],
    rig: Cameras,
) -> tuple[NDArray[np.float64], float]:
    """The sighting that a thing should give, which is its box as far as it lies in the picture; else the box, and 0."""
    likely = np.flatnonzero(free & (seen.cameras == camera) & ((seen.names == PERSON) == thing.track.is_person))
    if not len(likely):
        return box, 0.0
    inside = clipped(box[None].astype(np.float32), rig.width, rig.height)
    overlap = intersections_over_unions(inside, seen.boxes[likely])[0]
    best = int(np.argmax(overlap))
    if overlap[best] < _FITS:
        return box, 0.0
    return seen.boxes[likely[best]].astype(np.float64), float(seen.scores[likely[best]])


def _area(box: NDArray[np.float32], picture: NDArray[np.float32]) -> float:
    """Pixels of a box that lie in the picture."""
    inside = clipped(box[None], picture.shape[1], picture.shape[0])[0]
    return float((inside[2:] - inside[:2]).prod())


def _keys(views: dict[int, View], count: int) -> dict[int, int]:
    """Frame → the frame whose mask serves it: of each stretch of frames, that of the surest sighting."""
    found: dict[int, int] = {}
    frames = sorted(views)
    for start in range(0, len(frames), count):
        stretch = frames[start : start + count]
        best = max(stretch, key=lambda frame: views[frame].score)
        found |= dict.fromkeys(stretch, best)
    return found


def _mask(
    number: int,
    thing: Thing,
    frame: int,
    views: dict[int, View],
    keys: dict[int, int],
    picture: NDArray[np.float32],
    pictures: Pictures,
    moving: Moving,
    cutters: Cutters,
    cut: dict[tuple[int, int], NDArray[np.float32]],
) -> NDArray[np.float32] | None:
    """[H, W] of a thing in a frame; None where it does not show, being behind another."""
    view = views[frame]
    if thing.track.is_person and cutters.people is not None:
        people = cutters.people.people(picture, view.whole[None])  # it expects all of somebody
        masks = people.masks if people.scores[0] >= _PRESENT else None
        filled = _FILLED * _area(view.box, picture)
        if masks is not None and (not view.score or (masks[0] > 0.5).sum() >= filled):
            return masks[0]
        # of somebody near by, of whom a part is seen, it makes nothing; whose box was found is there all the same
        if not view.score:
            return None
        stirs = moving(frame)
        if stirs is not None:
            inside = put_back(torch.ones(2, 2), view.box, *picture.shape[:2]) * stirs
            if (inside > 0.5).sum() >= filled:
                made = _by_network(number, frame, views, keys, picture, pictures, cutters, cut)
                return made if _agree(made, inside) else inside
    if not view.score and float(histogram(picture, view.box) @ thing.colors) < _LIKE:
        return None
    return _by_network(number, frame, views, keys, picture, pictures, cutters, cut)


def _agree(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Whether two masks are of the same thing."""
    both, either = ((one > 0.5) & (other > 0.5)).sum(), ((one > 0.5) | (other > 0.5)).sum()
    return bool(both > _AGREE * either)


def _by_network(
    number: int,
    frame: int,
    views: dict[int, View],
    keys: dict[int, int],
    picture: NDArray[np.float32],
    pictures: Pictures,
    cutters: Cutters,
    cut: dict[tuple[int, int], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """[H, W] of a thing, cut in its key frame and carried from there."""
    key = keys[frame]
    if (number, key) not in cut:
        shown = picture if key == frame else pictures(key)
        cut[number, key] = cutters.masks.masks(shown, views[key].box[None])[0]
    if key == frame:
        return cut[number, key]
    return _carried(cut[number, key], views[key].box, views[frame].box)


def _carried(mask: NDArray[np.float32], box: NDArray[np.float32], to: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask [H, W] moved and resized as its box is."""
    before, after = grown(np.stack([box, to]), _AROUND)
    small = crop(torch.from_numpy(mask)[None, None], before, _GRAIN, _GRAIN)[0, 0]
    return put_back(small, after, *mask.shape)
