"""Shots: what readers make of a layout, one for every picture, before anything is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.images import PictureInfo, inspect_picture
from legs4d.scene.lens import Lens
from legs4d.scene.sequence import Split

HOLD_OUT_EVERY = 8
"""Where a layout names no test cameras, the first of every eight is held out (Mip-NeRF 360's custom)."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One picture: who took it, from where, through which lens.

    Attributes:
        number: the camera's, the same in every frame.
        world_to_camera: [4, 4] float64.
        lens: for pictures of the size that it has.
        picture: its file; None where the reader gives pictures by itself.
        mask, objects: files of its foreground and of its object ids.
        depth: file of measured depths, see `depths.read_depth`.
        moment: when it was taken, in frames, where that is not when its frame was.
        film: of a video, what it may be called, and the number of the picture in it.
        as_stored: whether the picture is not to be turned as its metadata say, as its camera was calibrated so.
        has_alpha: whether the picture's file has a channel that tells what is opaque.
    """

    number: int
    world_to_camera: NDArray[np.float64]
    lens: Lens
    picture: Path | None = None
    mask: Path | None = None
    objects: Path | None = None
    depth: Path | None = None
    as_stored: bool = False
    has_alpha: bool = False
    film: tuple[tuple[str, ...], int] | None = None
    moment: float | None = None


Shots = dict[Split, list[list[Shot]]]
"""Per split, the shots of each frame; as many frames in each split."""


def file_shot(shot: Shot, where: str = "") -> Shot:
    """A shot whose lens fits its picture's file; reads its header.

    Raises:
        DatasetError: the picture is missing, damaged, or of another shape than its camera was calibrated for.
    """
    assert shot.picture is not None
    info = inspect_picture(shot.picture)
    lens, as_stored = fit_lens(shot.lens, info, where or str(shot.picture))
    return replace(shot, lens=lens, as_stored=as_stored, has_alpha=info.has_alpha)


def fit_lens(lens: Lens, info: PictureInfo, where: str) -> tuple[Lens, bool]:
    """A lens for pictures of this size, and whether they are to be read as stored, not as shown.

    Pictures may have been made smaller or larger since the calibration, if not cut.
    """
    for size, as_stored in ((info.shown, False), (info.stored, True)):
        if size == lens.size:
            return lens, as_stored
    for size, as_stored in ((info.shown, False), (info.stored, True)):
        if is_scaled(size, lens.size):
            return lens.resized(*size), as_stored
    raise DatasetError(
        f"is {info.shown[0]}×{info.shown[1]} pixels, the camera file says {lens.width}×{lens.height}",
        where=where,
        fix="pictures may be scaled after the calibration, but not cut",
    )


def is_scaled(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether pictures of this (width, height) are those of the other, made smaller or larger and not cut.

    Of nearly the same size they may well have been cut.
    """
    factor = size[0] / other[0]
    return size == other or (abs(size[1] - factor * other[1]) < 1 and not 0.9 < factor < 1.1)


def held_out(count: int) -> list[int]:
    """Positions of the test cameras among `count`: every eighth from the first, none of eight or fewer."""
    return list(range(0, count, HOLD_OUT_EVERY)) if count > HOLD_OUT_EVERY else []


def test_among(chosen: list[int], held: list[int]) -> list[int]:
    """Positions in `chosen` of the test cameras: of those held out of all, or if none of them was chosen, anew."""
    return [i for i, camera in enumerate(chosen) if camera in set(held)] or held_out(len(chosen))


def split_shots(frames: list[list[Shot]], test: list[int]) -> Shots:
    """Training and test shots, from all cameras' of each frame in one order, by the positions of those held out."""
    train = [i for i in range(len(frames[0])) if i not in set(test)]
    shots: Shots = {"train": [[frame[i] for i in train] for frame in frames]}
    if test:
        shots["test"] = [[frame[i] for i in test] for frame in frames]
    return shots
