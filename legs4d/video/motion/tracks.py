"""Where the points of an object go in the picture: flow inside crops that follow it, checked forth and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, map_coordinates, median_filter

from legs4d.priors.protocols import FlowPrior
from legs4d.progress import StageReporter
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Crop, Thing, box_of

Floats = NDArray[np.float64]
LEAST = 24
"""Pixels that show of an object, from which it counts as seen in a frame."""
BORDER = 1.15
"""Of the crop's side against the largest extent of the object."""
SMOOTH = 1.0
"""Frames over which the crop's size is made even."""
AGREE, SLACK = 0.01, 0.5
"""Flow forth and back agree where ‖f + b‖ ≤ AGREE (‖f‖ + ‖b‖) + SLACK pixels (as DreamScene4D has it)."""


@dataclass(frozen=True)
class Path:
    """Where an object is in the picture, centre_t + size_t · (canonical offset), factored out of its motion.

    Attributes:
        there: [T] bool, whether enough of it shows.
        centers: [T, 2] pixels; sizes: [T] relative to the canonical frame, > 0; both interpolated where it is hidden.
        crops: T, squares that follow it.
        canonical: the frame that shows it best.
    """

    there: NDArray[np.bool_]
    centers: Floats
    sizes: Floats
    crops: tuple[Crop, ...]
    canonical: int


def best_frame(thing: Thing) -> int:
    """The frame whose mask is the largest of those that no border cuts; of all, where borders cut every one.

    What another object stands before is smaller than in other frames, so that the largest is whole as well.
    """
    areas = np.array([int(thing.mask(frame).sum()) for frame in range(len(thing.masks))])
    mask = [thing.mask(frame) for frame in range(len(areas))]
    cut = np.array([m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any() for m in mask])
    free = np.where(cut, 0, areas)
    # one that a border cuts counts where it shows much more than any that is whole
    return int(free.argmax()) if free.max() > 0.4 * areas.max() else int(areas.argmax())


def follow(thing: Thing, side: int) -> Path:
    """The object's place and size in every frame, from its masks.

    Raises:
        ValueError: it is never seen.
    """
    count = len(thing.masks)
    areas = np.array([int(thing.mask(frame).sum()) for frame in range(count)], np.float64)
    there = areas >= LEAST
    if not there.any():
        raise ValueError("never seen")
    canonical = best_frame(thing)
    frames = np.flatnonzero(there)
    centers = np.zeros((count, 2))
    reach = np.zeros(count)
    for frame in frames:
        mask = thing.mask(int(frame))
        box = box_of(mask)
        assert box is not None
        left, top, right, bottom = box
        centers[frame] = (left + right) / 2, (top + bottom) / 2
        reach[frame] = max(right - left, bottom - top)
    every = np.arange(count)
    for axis in (0, 1):
        centers[:, axis] = np.interp(every, frames, centers[frames, axis])
    roots = np.sqrt(np.interp(every, frames, areas[frames]))
    if count > 2:  # what hides a part of it for a moment does not make it smaller
        roots = gaussian_filter1d(median_filter(roots, size=min(5, count | 1), mode="nearest"), SMOOTH, mode="nearest")
    sizes = roots / roots[canonical]
    unit = float((reach[frames] / sizes[frames]).max()) * BORDER
    crops = tuple(Crop.around(x, y, unit * size, side) for (x, y), size in zip(centers, sizes, strict=True))
    return Path(there, centers, sizes, crops, canonical)


def pixel_crops(path: Path, most: int) -> Path:
    """The same with crops whose pixels are the picture's own, where the largest has at most `most` of them a side; else
    as fine as that allows."""
    side = int(np.ceil(max(crop.scale * crop.side for crop in path.crops))) + 1
    scale = max(1.0, side / most)
    count = min(side, most)

    def at(center: Floats) -> Crop:
        left, top = (float(np.floor(value - scale * count / 2)) for value in center)
        return Crop(left, top, scale, count)

    return replace(path, crops=tuple(at(center) for center in path.centers))


def agreeing(forth: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """[H, W] where flow [H, W, 2] forth and that back from where it leads cancel."""
    height, width = forth.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    where = np.stack([rows + forth[..., 1], columns + forth[..., 0]])
    returned = np.stack([map_coordinates(back[..., axis], where, order=1, mode="nearest") for axis in (0, 1)], axis=-1)
    inside = (where[0] >= 0) & (where[0] <= height - 1) & (where[1] >= 0) & (where[1] <= width - 1)
    off = np.linalg.norm(forth + returned, axis=-1)
    sizes = np.linalg.norm(forth, axis=-1) + np.linalg.norm(returned, axis=-1)
    return np.asarray(inside & (off <= AGREE * sizes + SLACK))


@dataclass(frozen=True)
class Tracks:
    """P points over T frames.

    Attributes:
        places: [T, P, 2] pixels of the picture.
        sure: [T, P] whether flow has followed the point from the canonical frame to there.
    """

    places: NDArray[np.float32]
    sure: NDArray[np.bool_]


def track(clip: Clip, thing: Thing, path: Path, points: Floats, flow: FlowPrior, reporter: StageReporter) -> Tracks:
    """Follow points [P, 2] (pixels of the canonical frame's picture) through the video.

    The object alone is shown to flow, on grey: then edges of what is behind it do not pull at its own.
    """
    count = clip.num_frames
    places = np.tile(np.asarray(points, np.float32), (count, 1, 1))
    sure = np.zeros((count, len(points)), np.bool_)
    sure[path.canonical] = True
    shown: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def crop(frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if frame not in shown:
            mask = path.crops[frame].take(thing.mask(frame).astype(np.float32))
            picture = thing.picture(frame, clip.pictures[frame]).astype(np.float32) / np.float32(255)
            cut = path.crops[frame].take(picture)
            shown[frame] = cut * mask[..., None] + 0.5 * (1 - mask[..., None]), mask
            if len(shown) > 6:
                shown.pop(next(iter(shown)))
        return shown[frame]

    done = 0
    for step, end in ((1, count), (-1, -1)):
        before = path.canonical
        for frame in range(path.canonical + step, end, step):
            reporter.step(done, count)
            done += 1
            if not path.there[frame]:
                _carry(path, before, frame, places)
                continue
            (first, _), (second, mask) = crop(before), crop(frame)
            forth, back = flow.flow(first, second), flow.flow(second, first)
            good = agreeing(forth, back)
            one, other = path.crops[before], path.crops[frame]
            local = (places[before] - [one.left, one.top]) / one.scale
            where = [local[:, 1] - 0.5, local[:, 0] - 0.5]
            moved = local + np.stack(
                [map_coordinates(forth[..., axis], where, order=1, mode="nearest") for axis in (0, 1)], 1
            )
            held = map_coordinates(good.astype(np.float32), where, order=1, mode="constant") > 0.5
            at = [moved[:, 1] - 0.5, moved[:, 0] - 0.5]
            inside = map_coordinates(mask, at, order=1, mode="constant") > 0.5
            sure[frame] = sure[before] & held & inside
            places[frame] = moved * other.scale + [other.left, other.top]
            before = frame
    return Tracks(places, sure)


def _carry(path: Path, before: int, frame: int, places: NDArray[np.float32]) -> None:
    """Points of a hidden object go on with its place and size."""
    ratio = path.sizes[frame] / path.sizes[before]
    places[frame] = (places[before] - path.centers[before]) * ratio + path.centers[frame]
