"""Which objects a video has: by masks that are given, boxes, helpers, or by what moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from legs4d.context import Context
from legs4d.errors import DatasetError
from legs4d.video.input.clip import Clip
from legs4d.video.input.masks import masks_beside, read_masks
from legs4d.video.input.things import Thing
from legs4d.video.kept import Kept

MOST = 254
"""Objects: ids are bytes, 0 is the background."""


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
    """
    reporter = context.reporter("reading_masks")
    folder = wanted.masks or (None if wanted.boxes or wanted.found else masks_beside(clip))
    if folder is None:
        fix = "give masks by --masks FOLDER"
        raise DatasetError("no masks are given", where=str(clip.path), fix=fix)
    things = read_masks(clip, folder, reporter, first=wanted.first)
    _check(things, clip)
    return things


def _check(things: list[Thing], clip: Clip) -> None:
    if len(things) > MOST:
        raise DatasetError(f"has {len(things)} objects", where=str(clip.path), fix=f"at most {MOST} can be told apart")
    for thing in things:
        if not 1 <= thing.id <= 255:
            what = f"an object is numbered {thing.id}"
            raise DatasetError(what, where=str(clip.path), fix="number objects from 1 to 255")
    taken = np.zeros(clip.pictures.shape[:3], np.uint8)
    for thing in things:  # a pixel is of one object; what is given to several is the last one's
        taken[thing.masks] = thing.id
    for thing in things:
        thing.masks &= taken == thing.id
