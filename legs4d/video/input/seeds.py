"""Masks in one frame where none are given: of boxes, of things that helpers know, or of what moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy.ndimage import binary_closing, binary_dilation, binary_opening, find_objects, label

from legs4d.errors import DatasetError, reason_of
from legs4d.priors.cache import best_prior, open_prior
from legs4d.priors.opencv import opencv
from legs4d.progress import StageReporter
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing, box_of

SURE = 0.4
"""Score from which a box is a thing."""
LOOKED_AT = 7
"""Frames in which things are looked for; that with the most of them counts."""
MOST = 10
"""Objects that are looked for unasked."""
MOVES = 0.10
"""Colour difference (0..1) from the median of other frames, of what moves."""
LEAST = 0.002
"""Share of the picture of what moves, at least; MOST_MOVES: if more of it moves, the camera does."""
MOST_MOVES = 0.4
AROUND = 12
"""Frames before and after, whose median is what stands still."""
MARGIN = 0.06
"""Of a box's sides, by which a box around what moves is larger than that."""


class _Box(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    box: Annotated[list[float], Field(min_length=4, max_length=4)]
    id: Annotated[int, Field(ge=1, le=255)] | None = None
    name: Annotated[str, Field(max_length=200)] = ""


class _Boxes(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    frame: Annotated[int, Field(ge=0)] = 0
    boxes: Annotated[list[_Box | Annotated[list[float], Field(min_length=4, max_length=4)]], Field(min_length=1)]


def from_boxes(clip: Clip, path: Path) -> tuple[list[Thing], int]:
    """The things in boxes of a file, {"frame": 0, "boxes": [[left, top, right, bottom], …]}, pixels of the video as it
    is; a box may also be {"box": […], "id": 2, "name": "ball"}. Frames are counted from the first that is read.

    Returns:
        Things with a mask in one frame, and that frame.

    Raises:
        DatasetError: the file cannot be read, or a box is not in the picture.
    """
    fix = 'write {"frame": 0, "boxes": [[left, top, right, bottom]]}'
    try:
        told = _Boxes.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise DatasetError(f"is no file of boxes ({reason})", where=str(path), fix=fix) from error
    if told.frame >= clip.num_frames:
        raise DatasetError(
            f"has boxes of frame {told.frame}", where=str(path), fix=f"frames are 0 to {clip.num_frames - 1}"
        )
    rows = [one if isinstance(one, _Box) else _Box(box=one) for one in told.boxes]
    boxes = np.array([one.box for one in rows], np.float32) * (clip.width / clip.full[0])
    for row, (left, top, right, bottom) in enumerate(boxes.tolist()):
        if not (0 <= left < right <= clip.width + 1 and 0 <= top < bottom <= clip.height + 1):
            size = f"{clip.full[0]}×{clip.full[1]}"
            raise DatasetError(f"box {row + 1} is not in the picture, which is {size}", where=str(path), fix=fix)
    names = [one.name for one in rows]
    ids = [one.id for one in rows]
    taken = {number for number in ids if number is not None}
    free = (number for number in range(1, 256) if number not in taken)
    numbers = [next(free) if number is None else number for number in ids]
    return _cut(clip, told.frame, boxes, names, numbers, "boxes"), told.frame


def find_known(clip: Clip, reporter: StageReporter) -> tuple[list[Thing], int] | None:
    """People and things that a helper of the role `boxes` knows, in the frame that shows most of them; None where no
    such helper is there, or it finds nothing."""
    prior = best_prior("boxes")
    if prior is None:
        return None
    helper = open_prior(prior.name, torch.device("cpu"))
    best: tuple[float, int, Any] | None = None
    for frame in np.unique(np.linspace(0, clip.num_frames - 1, LOOKED_AT).round().astype(int)).tolist():
        reporter.check()
        named = helper.boxes(clip.picture(frame))
        sure = named.scores >= SURE
        score = float(named.scores[sure].sum())
        if sure.any() and (best is None or score > best[0]):
            best = score, frame, (named.boxes[sure][:MOST], [n for n, s in zip(named.names, sure, strict=True) if s])
    if best is None:
        return None
    _, frame, (boxes, names) = best
    things = _cut(clip, frame, boxes, names[: len(boxes)], list(range(1, len(boxes) + 1)), prior.name)
    return things, frame


def find_moving(
    clip: Clip, reporter: StageReporter, align: Callable[[int, int], NDArray[np.float64]] | None
) -> tuple[list[Thing], int] | None:
    """What differs from the median of the frames around, in the frame in which most does; None where nothing does.

    Args:
        align: [3, 3] homography from a frame to another, of a camera that turns; None where it stands.
    """
    cv2 = opencv("what moves")
    best: tuple[int, int, NDArray[np.bool_]] | None = None
    for frame in np.unique(np.linspace(0, clip.num_frames - 1, 9).round().astype(int)).tolist():
        reporter.check()
        near = [f for f in range(frame - AROUND, frame + AROUND + 1) if 0 <= f < clip.num_frames]
        near = near[:: max(1, len(near) // 12)]
        stack = []
        for other in near:
            picture = cv2.GaussianBlur(clip.picture(other), (0, 0), 1.2)
            if align is not None and other != frame:
                size = clip.width, clip.height
                picture = cv2.warpPerspective(picture, align(other, frame), size, borderValue=(np.nan,) * 3)
            stack.append(picture)
        median = np.nanmedian(np.stack(stack), axis=0)
        own = cv2.GaussianBlur(clip.picture(frame), (0, 0), 1.2)
        moves = np.nan_to_num(np.abs(own - median).max(axis=-1)) > MOVES
        moves = binary_closing(binary_opening(moves, iterations=1), iterations=4)
        if moves.mean() < MOST_MOVES and (best is None or moves.sum() > best[0]):
            best = int(moves.sum()), frame, moves
    if best is None:
        return None
    _, frame, moves = best
    parts, count = label(binary_dilation(moves, iterations=2))
    sizes = np.bincount(parts[moves], minlength=count + 1)[1:]
    order = [n for n in np.argsort(-sizes).tolist() if sizes[n] >= LEAST * moves.size][:MOST]
    if not order:
        return None
    boxes = []
    for number in order:
        place = find_objects((parts == number + 1).astype(np.uint8))[0]
        (top, bottom), (left, right) = ((axis.start, axis.stop) for axis in place)
        extra = MARGIN * max(bottom - top, right - left)
        boxes.append(
            [
                max(0, left - extra),
                max(0, top - extra),
                min(clip.width, right + extra),
                min(clip.height, bottom + extra),
            ]
        )
    named = [""] * len(boxes)
    return _cut(clip, frame, np.array(boxes, np.float32), named, list(range(1, len(boxes) + 1)), "moves"), frame


def _cut(
    clip: Clip, frame: int, boxes: NDArray[np.float32], names: list[str], numbers: list[int], route: str
) -> list[Thing]:
    """A thing a box, cut out by the best helper of the role `masks`; GrabCut is always there."""
    prior = best_prior("masks")
    assert prior is not None, "GrabCut needs no weights"
    helper = open_prior(prior.name, torch.device("cpu"))
    soft = helper.masks(clip.picture(frame), boxes)
    things = []
    for mask, name, number in zip(soft >= 0.5, names, numbers, strict=True):
        parts, count = label(mask)
        if count > 1:  # the largest, and what is not much smaller
            sizes = np.bincount(parts.ravel())[1:]
            mask = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.2 * sizes.max()))
        masks = np.zeros(clip.pictures.shape[:3], np.bool_)
        masks[frame] = mask
        if box_of(mask) is not None:
            things.append(Thing(number, name, masks, route=f"{route}, cut out by {prior.name}, carried on"))
    return things
