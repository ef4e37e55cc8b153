"""Which pixels are which thing, in all pictures of one camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.priors.objects.places import project
from legs4d.priors.objects.sightings import Sightings, histogram
from legs4d.priors.objects.tracks import Thing
from legs4d.priors.picture_crops import crop, grown, put_back
from legs4d.priors.protocols import MasksPrior, PeoplePrior
from legs4d.scene.camera import Cameras

KEY_FRAMES = 6
"""A mask that a network cut serves this many frames, following its box."""
_LIKE = 0.6
"""Likeness of colours from which a thing is there where it should be, though no box was found."""
_PRESENT = 0.5
"""Score from which a person is."""
_SHOWN = 0.3
"""Of a box: the share that must lie in the picture."""
_AROUND = 0.5
"""Of a box, added around it, that is carried with the mask."""
_GRAIN = 96
"""Pixels a side of a carried mask."""

Pictures = Callable[[int], NDArray[np.float32]]
"""Frame → picture [H, W, 3] of the camera."""


@dataclass(frozen=True)
class View:
    """A thing in one picture.

    Attributes:
        box: [4] float32, pixels.
        depth: of its middle.
        score: of its sighting; 0 where it was not sighted, and only should be there.
    """

    box: NDArray[np.float32]
    depth: float
    score: float


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
    cutters: Cutters,
    step: Callable[[int], None],
) -> NDArray[np.uint8]:
    """[T, H, W] number of the thing in each pixel, counted from 1; 0 for none.

    Args:
        camera: its position in the sequence.
        sightings, cameras: of each frame.
        step: told after each frame; raises to stop.
    """
    width, height = cameras[0].width, cameras[0].height
    views = [_views(thing, camera, sightings, cameras) for thing in things]
    keys = [_keys(seen) for seen in views]
    cut: dict[tuple[int, int], NDArray[np.float32]] = {}
    labels = np.zeros((len(sightings), height, width), np.uint8)
    for frame in range(len(sightings)):
        picture = pictures(frame)
        shown: list[tuple[int, View, NDArray[np.float32]]] = []
        for number, (thing, seen) in enumerate(zip(things, views, strict=True)):
            if frame not in seen:
                continue
            mask = _mask(number, thing, frame, seen, keys[number], picture, pictures, cutters, cut)
            if mask is not None:
                shown.append((number, seen[frame], mask))
        # far ones first; things over the people who hold them
        for number, _, mask in sorted(shown, key=lambda one: (not things[one[0]].track.is_person, -one[1].depth)):
            labels[frame][mask > 0.5] = number + 1
        step(frame)
    return labels


def _views(thing: Thing, camera: int, sightings: list[Sightings], cameras: list[Cameras]) -> dict[int, View]:
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
        inside = np.clip(np.minimum(box[2:], [rig.width, rig.height]) - np.maximum(box[:2], 0), 0, None).prod()
        if inside >= _SHOWN * (box[2:] - box[:2]).prod():
            found[frame] = View(box.astype(np.float32), float(depth), score)
    return found


def _keys(views: dict[int, View]) -> dict[int, int]:
    """Frame → the frame whose mask serves it: of each stretch of frames, that of the surest sighting."""
    found: dict[int, int] = {}
    frames = sorted(views)
    for start in range(0, len(frames), KEY_FRAMES):
        stretch = frames[start : start + KEY_FRAMES]
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
    cutters: Cutters,
    cut: dict[tuple[int, int], NDArray[np.float32]],
) -> NDArray[np.float32] | None:
    """[H, W] of a thing in a frame; None where it does not show, being behind another."""
    view = views[frame]
    if thing.track.is_person and cutters.people is not None:
        people = cutters.people.people(picture, view.box[None])
        if people.masks is not None:
            return people.masks[0] if people.scores[0] >= _PRESENT else None
    if not view.score and float(histogram(picture, view.box) @ thing.colors) < _LIKE:
        return None
    key = keys[frame]
    if (number, key) not in cut:
        shown = picture if key == frame else pictures(key)
        cut[number, key] = cutters.masks.masks(shown, views[key].box[None])[0]
    if key == frame:
        return cut[number, key]
    return _carried(cut[number, key], views[key].box, view.box)


def _carried(mask: NDArray[np.float32], box: NDArray[np.float32], to: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mask [H, W] moved and resized as its box is."""
    before, after = grown(np.stack([box, to]), _AROUND)
    small = crop(torch.from_numpy(mask)[None, None], before, _GRAIN, _GRAIN)[0, 0]
    return put_back(small, after, *mask.shape)
