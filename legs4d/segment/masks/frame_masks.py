"""Masks of the pictures of one frame: how many there are, which pixels each has, and which of them are one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras

MOST_MASKS = 5000
"""In one picture; SAM's automatic masks are 50 to 500."""
LEAST_PIXELS = 10
"""That a mask has; fewer are dust."""
ALL = 0.99
"""Share of a picture from which a mask of it tells nothing."""
THIN = 0.5
"""Share of a mask's pixels that lie at its outline, from which all of it is outline, and counts."""
_ASPECT = 0.02
"""By which the sides of a mask may differ from its picture's, as sizes are whole pixels."""


@dataclass(frozen=True)
class FrameMasks:
    """What masks say of C pictures of one frame.

    Attributes:
        frame: of the run.
        cameras: C, of the masks' size.
        index: [C, H, W, K] int32, which masks have a pixel, 0..R-1; -1 fills up.
        view: [R] int32, the picture that each mask is of.
        identity: [R] int64, which thing each shows, the same number in all pictures and frames; None where nobody
            told, as of SAM's.
        left_out: masks that were dropped, as they have fewer than LEAST_PIXELS or all pixels.
        unsure: [C, H, W] bool, the pixels to either side of an outline, which a mask that is a pixel off has wrong;
            they say nothing. None where there are none.
    """

    frame: int
    cameras: Cameras
    index: NDArray[np.int32]
    view: NDArray[np.int32]
    identity: NDArray[np.int64] | None = None
    left_out: int = 0
    unsure: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.view)

    def areas(self) -> NDArray[np.int64]:
        """[R] pixels of each mask."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self))

    def mask(self, number: int) -> NDArray[np.bool_]:
        """[H, W] of one mask."""
        return np.asarray((self.index[self.view[number]] == number).any(axis=-1))

    def take_views(self, wanted: Sequence[int]) -> FrameMasks:
        """Those of these pictures alone, in this order."""
        kept = np.concatenate([np.flatnonzero(self.view == view) for view in wanted] or [np.zeros(0, np.int64)])
        number = np.full(len(self) + 1, -1, np.int32)
        number[kept] = np.arange(len(kept))
        place = np.full(len(self.cameras), -1, np.int32)
        place[list(wanted)] = np.arange(len(wanted))
        return replace(
            self,
            cameras=self.cameras.take(list(wanted)),
            index=number[self.index[list(wanted)]],
            view=place[self.view[kept]],
            identity=None if self.identity is None else self.identity[kept],
            unsure=None if self.unsure is None else self.unsure[list(wanted)],
        )


def masks_of_pictures(
    frame: int,
    cameras: Cameras,
    masks: Sequence[NDArray[np.bool_]],
    identities: Sequence[NDArray[np.integer]] | None = None,
    *,
    where: str = "masks",
) -> FrameMasks:
    """Of C pictures with any number of overlapping masks each.

    Args:
        frame: of the run.
        cameras: C, of any size of the masks' shape; what they see is what the masks are of.
        masks: C arrays [n, h, w]; one size for all of a picture, which may differ between pictures.
        identities: C arrays [n], see `FrameMasks.identity`.
        where: what to call them where they are wrong.

    Raises:
        DatasetError: there are too many, or they have another shape than the pictures.
    """
    if len(masks) != len(cameras):
        raise ValueError(f"{len(masks)} pictures' masks for {len(cameras)} cameras")
    for camera, some in zip(cameras.ids, masks, strict=True):
        _check(some, cameras, f"{where}, camera {camera}")
    height = max((some.shape[1] for some in masks if len(some)), default=cameras.height)
    sized = resized(cameras, min(height, cameras.height))
    views, names, index, unsure, count, left_out = [], [], [], [], 0, 0
    for camera, some in enumerate(masks):
        fitted = _fitted(some, sized.height, sized.width)
        areas = fitted.sum(axis=(1, 2))
        kept = (areas >= LEAST_PIXELS) & (areas < ALL * sized.height * sized.width)
        left_out += int((~kept).sum())
        index.append(_stacked(fitted[kept], count))
        unsure.append(_outlines(fitted[kept], sized.height, sized.width))
        views.append(np.full(int(kept.sum()), camera, np.int32))
        names.append(np.zeros(0, np.int64) if identities is None else np.asarray(identities[camera], np.int64)[kept])
        count += int(kept.sum())
    deepest = max(part.shape[2] for part in index)
    padded = [np.pad(p, ((0, 0), (0, 0), (0, deepest - p.shape[2])), constant_values=-1) for p in index]
    return FrameMasks(
        frame,
        sized,
        np.stack(padded).astype(np.int32),
        np.concatenate(views),
        None if identities is None else np.concatenate(names),
        left_out,
        np.stack(unsure),
    )


def masks_of_labels(frame: int, cameras: Cameras, labels: NDArray[np.integer]) -> FrameMasks:
    """Of pictures whose every pixel has the number of the thing it shows, 0 for none.

    Args:
        labels: [C, H, W] of the cameras' size.
    """
    flat = labels.reshape(len(cameras), -1)
    values, inverse = np.unique(flat, return_inverse=True)
    inverse = inverse.reshape(flat.shape)
    areas = np.stack([np.bincount(row, minlength=len(values)) for row in inverse])
    there = areas >= 1
    kept = (areas >= LEAST_PIXELS) & (areas < ALL * flat.shape[1]) & (values != 0)
    number = np.full(kept.shape, -1, np.int32)
    number[kept] = np.arange(kept.sum())
    index = np.take_along_axis(number, inverse, axis=1).reshape(*labels.shape, 1)
    view, value = np.nonzero(kept)
    left_out = int((there & ~kept & (values != 0)).sum())
    edge = _edges(labels)
    # what is all outline keeps its pixels
    outline = np.bincount(index[edge & (index[..., 0] >= 0), 0], minlength=len(view))
    thin = outline > THIN * areas[kept]
    unsure = edge & ~np.append(thin, False)[index[..., 0]]
    return FrameMasks(frame, cameras, index, view.astype(np.int32), values[value].astype(np.int64), left_out, unsure)


def _edges(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """[C, H, W] where one of the eight pixels around another shows another number."""
    edge = np.zeros(labels.shape, np.bool_)
    for one, other in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, :, :-1], np.s_[:, :, 1:]),
        (np.s_[:, :-1, :-1], np.s_[:, 1:, 1:]),
        (np.s_[:, :-1, 1:], np.s_[:, 1:, :-1]),
    ):
        differs = labels[one] != labels[other]
        edge[one] |= differs
        edge[other] |= differs
    return edge


def _outlines(masks: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """[H, W] the pixels at the outlines of masks [n, H, W]; not those of what is all outline."""
    unsure, thin = np.zeros((height, width), np.bool_), np.zeros((height, width), np.bool_)
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        around = np.s_[max(0, rows[0] - 1) : rows[-1] + 2, max(0, columns[0] - 1) : columns[-1] + 2]
        part = mask[around]
        edge = _edges(part[None])[0]
        if (edge & part).sum() > THIN * part.sum():
            thin[around] |= part
        else:
            unsure[around] |= edge
    return unsure & ~thin


def resized(cameras: Cameras, height: int) -> Cameras:
    """The same views in pictures of this height."""
    if height == cameras.height:
        return cameras
    width = max(1, round(cameras.width * height / cameras.height))
    intrinsics = cameras.intrinsics.copy()
    intrinsics[:, 0] *= width / cameras.width
    intrinsics[:, 1] *= height / cameras.height
    return Cameras(cameras.world_to_camera, intrinsics, width, height, cameras.ids)


def _check(masks: NDArray[np.bool_], cameras: Cameras, where: str) -> None:
    if masks.ndim != 3:
        raise DatasetError(f"masks of shape {masks.shape}", where=where, fix="give [masks, height, width]")
    count, height, width = masks.shape
    if count > MOST_MASKS:
        raise DatasetError(f"{count:,} masks of one picture, at most {MOST_MASKS:,} are taken", where=where)
    if count and not (width and height and abs(width * cameras.height / (height * cameras.width) - 1) <= _ASPECT):
        raise DatasetError(
            f"masks of {width}×{height}, the pictures are {cameras.width}×{cameras.height}",
            where=where,
            fix="give masks of whole pictures, of any size of the same shape",
        )


def _fitted(masks: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """[n, height, width] by the pixels that are nearest."""
    if masks.shape[1:] == (height, width) or not len(masks):
        return masks.reshape(len(masks), height, width) if len(masks) else np.zeros((0, height, width), np.bool_)
    rows = ((np.arange(height) + 0.5) * masks.shape[1] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * masks.shape[2] / width).astype(np.int64)
    return masks[:, rows[:, None], columns]


def _stacked(masks: NDArray[np.bool_], first: int) -> NDArray[np.int32]:
    """[H, W, K] which masks have each pixel, numbered from `first`; K as many as meet in one, at least 1."""
    depth = masks.sum(axis=0, dtype=np.int32)
    index = np.full((*masks.shape[1:], max(1, int(depth.max(initial=0)))), -1, np.int32)
    used = np.zeros(masks.shape[1:], np.int32)
    for number, mask in enumerate(masks):
        rows, columns = np.nonzero(mask)
        index[rows, columns, used[rows, columns]] = first + number
        used[rows, columns] += 1
    return index
