"""Which objects a video has: by masks that are given, boxes, helpers that know things, or by what moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.video.input.carried import carry
from legs4d.video.input.clip import Clip
from legs4d.video.input.masks import masks_beside, read_masks
from legs4d.video.input.seeds import find_known, find_moving, from_boxes
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept, State
from legs4d.video.scene.filming import default_intrinsics
from legs4d.video.scene.turning import find_turning, homography

KEPT = "masks"


@dataclass(frozen=True)
class Wanted:
    """How objects are told.

    Attributes:
        masks: their folder, None for those beside the video, if any.
        first: whether only the first frame's count.
        boxes: a file of boxes.
        found: look for objects though there are masks beside the video.
    """

    masks: Path | None = None
    first: bool = False
    boxes: Path | None = None
    found: bool = False


def find_things(clip: Clip, wanted: Wanted, context: Context, kept: Kept, warnings: list[str]) -> list[Thing]:
    """The objects, each with masks of all frames.

    Raises:
        DatasetError: there are none.
        Stopped: the stop signal is set.
    """
    folder = wanted.masks or (None if wanted.boxes or wanted.found else masks_beside(clip))
    if folder is not None and wanted.boxes is not None:
        raise DatasetError("masks are given too", where=str(wanted.boxes), fix="give --masks or --boxes")
    if folder is not None:
        things = read_masks(clip, folder, context.reporter("reading_masks"), first=wanted.first)
        _check(things, clip)
        frame = _only_frame(things)
        if frame is None or clip.num_frames == 1:
            return things
        for thing in things:
            thing.route = f"given in frame {frame}, carried on"
    elif wanted.first:
        fix = "give them by --masks FOLDER --first"
        raise DatasetError("there are no masks beside the video", where=str(clip.path), fix=fix)
    else:
        state = kept.read(KEPT)
        if state is not None:
            return _from_state(state)
        things, frame = _looked_for(clip, wanted, context, warnings)
        _check(things, clip)
    state = kept.read(KEPT)
    if state is None:
        carry(clip, [thing for thing in things if thing.masks[frame].any()], frame, context.reporter("carrying_masks"))
        _without_overlaps(things, clip)
        state = _as_state(things)
        kept.write(KEPT, state)
    return _from_state(state)


def _looked_for(clip: Clip, wanted: Wanted, context: Context, warnings: list[str]) -> tuple[list[Thing], int]:
    reporter = context.reporter("finding_objects")
    reporter.step(0, 1)  # who is told of progress knows where it ends if there are none
    if wanted.boxes is not None:
        found = from_boxes(clip, wanted.boxes)
        if not found[0]:
            raise DatasetError("nothing can be cut out of its boxes", where=str(wanted.boxes), fix="draw them tighter")
        return found
    known = find_known(clip, reporter)
    if known is not None and known[0]:
        return known
    if clip.num_frames > 2:
        turning = find_turning(clip, [], default_intrinsics(clip.width, clip.height), reporter)
        align = None
        if turning.is_known and not turning.is_still:
            matrix = default_intrinsics(clip.width, clip.height)

            def align(one: int, other: int) -> NDArray[np.float64]:
                return homography(turning, matrix, one, other)

        moving = find_moving(clip, reporter, align)
        if moving is not None and moving[0]:
            warnings.append("No masks were given: what moves was cut out. Look at video/objects.png.")
            return moving
    raise DatasetError(
        "no masks are given, no helper finds a thing in it, and nothing moves",
        where=str(clip.path),
        fix="give masks by --masks FOLDER, or boxes by --boxes FILE",
    )


def _only_frame(things: list[Thing]) -> int | None:
    """The frame that alone has masks; None where several have."""
    frames = {int(frame) for thing in things for frame in np.flatnonzero(thing.areas)}
    return frames.pop() if len(frames) == 1 else None


def _check(things: list[Thing], clip: Clip) -> None:
    for thing in things:
        if not 1 <= thing.id <= 255:
            what = f"an object is numbered {thing.id}"
            raise DatasetError(what, where=str(clip.path), fix="number objects from 1 to 255")
    _without_overlaps(things, clip)


def _without_overlaps(things: list[Thing], clip: Clip) -> None:
    """A pixel is of one object: what is given to several is the last one's."""
    taken = np.zeros(clip.pictures.shape[:3], np.uint8)
    for thing in things:
        taken[thing.masks] = thing.id
    for thing in things:
        thing.masks &= taken == thing.id


def _as_state(things: list[Thing]) -> State:
    state: State = {"ids": np.array([thing.id for thing in things])}
    for thing in things:
        state[f"{thing.id}.masks"] = np.packbits(thing.masks, axis=-1)
        state[f"{thing.id}.told"] = np.array([thing.name, thing.route])
    return {**state, "width": np.array(things[0].masks.shape[2])}


def _from_state(state: State) -> list[Thing]:
    width = int(state["width"])
    found = []
    for number in state["ids"].tolist():
        masks = np.unpackbits(state[f"{number}.masks"], axis=-1, count=width).astype(bool)
        name, route = (str(text) for text in state[f"{number}.told"])
        found.append(Thing(number, name, masks, route=route))
    return found
