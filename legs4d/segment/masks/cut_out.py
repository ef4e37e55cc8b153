"""Masks that helpers cut out of pictures, of whatever is there: the things that a detector boxes, and the main thing of
each of many crops. Nobody says which are one thing, or real: pictures have to agree (`association`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.gaussians.store.footage import cameras_taken
from legs4d.gaussians.store.run import Run
from legs4d.priors.cache import best_prior, open_prior
from legs4d.priors.picture_crops import intersections_over_unions
from legs4d.priors.protocols import BoxesPrior, MasksPrior
from legs4d.progress import go_on
from legs4d.scene import sequence as footage
from legs4d.segment.masks.frame_masks import FrameMasks, masks_of_pictures

CROPS = (1.0, 0.5, 0.25)
"""Sides of crops, as shares of the picture's shorter one; each kind is laid with half of it between two."""
SURE = 0.5
"""Share of a pixel from which it is in a mask."""
FILLS = (0.02, 0.8)
"""Share of its box that a mask has: less is dust, more is what the box shows and no thing in it."""
CLEAR = 0.6
"""Of what a mask says of its pixels, the share that it says for sure (under 0.2, or over 0.8)."""
INSIDE = 0.9
"""Of a mask's pixels that do not touch the edge of its crop: else the crop cuts the thing."""
SAME = 0.8
"""IoU from which two masks of a picture are one."""


@dataclass(frozen=True)
class CutOutMasks:
    """Masks of the pictures of footage by helpers.

    Attributes:
        run: whose cameras see the pictures.
        sequence: the footage.
        cutter: cuts the main thing out of a box.
        finder: finds boxes; None where there is none.
        name: what it is called in messages.
        check: called before each picture; what it raises ends the work.
    """

    run: Run
    sequence: footage.Sequence
    cutter: MasksPrior
    finder: BoxesPrior | None
    name: str
    check: Callable[[], None] = go_on
    has_identities: bool = False

    def frames(self) -> list[int]:
        """All."""
        return list(range(self.sequence.num_frames))

    def masks(self, frame: int) -> FrameMasks:
        """Of all training pictures of a frame."""
        cameras = cameras_taken(self.run, self.sequence, frame)
        found = []
        for place in range(len(cameras)):
            self.check()
            picture = np.asarray(self.sequence.images("train", frame, [place])[0], np.float32)
            found.append(cut_out(picture, self.cutter, self.finder))
        return masks_of_pictures(frame, cameras, found, where=self.name)


def open_cut_out(run: Run, sequence: footage.Sequence, device: str, check: Callable[[], None] = go_on) -> CutOutMasks:
    """With the best helpers whose weights are there. Raises DatasetError where none cuts."""
    cutter, finder = best_prior("masks"), best_prior("boxes")
    if cutter is None:
        raise DatasetError("no helper that cuts is there", where="--masks priors", fix="get one by `legs4d priors get`")
    opened = [open_prior(prior.name, torch.device(device)) for prior in (cutter, finder) if prior is not None]
    names = " and ".join(prior.name for prior in (cutter, finder) if prior is not None)
    return CutOutMasks(run, sequence, opened[0], opened[1] if len(opened) > 1 else None, names, check)


def cut_out(picture: NDArray[np.float32], cutter: MasksPrior, finder: BoxesPrior | None) -> NDArray[np.bool_]:
    """[n, H, W] masks of the things in a picture [H, W, 3], 0..1, the surest first, none twice."""
    height, width = picture.shape[:2]
    crops = crops_of(height, width)
    boxes = crops if finder is None else np.concatenate([finder.boxes(picture).boxes.reshape(-1, 4), crops])
    named = len(boxes) - len(crops)
    kept: list[NDArray[np.bool_]] = []
    around: list[NDArray[np.float32]] = []
    for number, box in enumerate(boxes.astype(np.float32)):
        shares = cutter.masks(picture, box[None])[0]
        left, top, right, bottom = _pixels(box, width, height)
        part = shares[top:bottom, left:right]
        mask = shares >= SURE
        inside = mask[top:bottom, left:right]
        if not part.size or not FILLS[0] <= inside.mean() <= FILLS[1]:
            continue
        if ((part < 0.2) | (part > 0.8)).mean() < CLEAR or (number >= named and _at_edge(inside) > 1 - INSIDE):
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        own = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
        alike = intersections_over_unions(own[None], np.array(around, np.float32).reshape(-1, 4))[0]
        if any(_iou(mask, kept[other]) >= SAME for other in np.flatnonzero(alike >= SAME / 2)):
            continue
        kept.append(mask)
        around.append(own)
    return np.stack(kept) if kept else np.zeros((0, height, width), np.bool_)


def crops_of(height: int, width: int) -> NDArray[np.float32]:
    """[n, 4] squares all over a picture (left, top, right, bottom), the large ones first."""
    found = []
    for share in CROPS:
        side = share * min(height, width)
        across, down = (max(1, round((size - side) / (side / 2)) + 1) for size in (width, height))
        for y in np.linspace(0, height - side, down):
            found += [(x, y, x + side, y + side) for x in np.linspace(0, width - side, across)]
    return np.array(found, np.float32)


def _pixels(box: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int]:
    left, top, right, bottom = np.rint(box).astype(int)
    return max(0, left), max(0, top), min(width, right), min(height, bottom)


def _at_edge(mask: NDArray[np.bool_]) -> float:
    """Share of the outermost pixels that are in a mask."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return float(edge.mean())


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
