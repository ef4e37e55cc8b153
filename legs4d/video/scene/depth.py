"""How far away objects are by depth maps, a person's or a helper's, which know it but for a scale and an offset.

Of every frame both are fitted on the background: on its points, where structure from motion has found some, else on
the floor. Single pictures' maps have a scale and an offset of their own each, so that no frame helps another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from legs4d.priors.depth.maps import FILES, read_map
from legs4d.priors.protocols import DepthPrior
from legs4d.progress import StageReporter
from legs4d.scene.footage.names import list_files
from legs4d.video.input.clip import Clip
from legs4d.video.input.masks import matched
from legs4d.video.input.things import Thing, free_of
from legs4d.video.scene.filming import Filming

Floats = NDArray[np.float64]
MOST = 4000
"""Pixels of the background that a map is fitted on."""
POINTS = 30
"""Of structure from motion in a frame, from which they are what it is fitted on."""
BORDER = 3
"""Pixels around masks that are not the background's; INSIDE: of a mask's rim, that are not the object's."""
INSIDE = 2
ROUNDS = 300
"""Pairs of pixels that are tried."""
NEAR = 0.04
"""Relative difference of two inverse depths that agree; of the largest one, `FLOOR` at least."""
FLOOR = 0.01
LEAST_SHARE = 0.15
"""Of the background's pixels, that have to agree: what stands on a floor hides most of it."""
LEAST = 25
"""And pixels, or points."""
SPREAD = 1.3
"""The largest over the least inverse depth of those that agree: at one distance nothing tells scale from offset."""


@dataclass(frozen=True)
class Told:
    """What depth maps say.

    Attributes:
        inverse: [T, K] median of 1 / depth of what shows of each object, scene units; NaN where a map says nothing.
        fitted: [T] whether a scale and an offset were found.
    """

    inverse: Floats
    fitted: NDArray[np.bool_]

    @property
    def why(self) -> str:
        """In how many frames, for a person; no full stop."""
        count = int(self.fitted.sum())
        return f"Scale and offset of depth maps were found in {count} of {len(self.fitted)} frames"


def maps_of(clip: Clip, folder: Path | None, helper: DepthPrior | None) -> Iterator[NDArray[np.float32] | None]:
    """T maps [H, W] of 1 / depth but for a scale and an offset; None in frames that have none.

    Args:
        folder: with a file a frame, which belong to pictures as masks do; else `helper` makes them.

    Raises:
        DatasetError: no file belongs to a picture, or one cannot be read.
    """
    frames = range(clip.num_frames)
    if folder is None:
        assert helper is not None, "there are files, or a helper"
        return (helper.disparity(clip.picture(frame)[None])[0] for frame in frames)
    # matched at once, not when the first map is wanted: much is made before
    files = matched(clip, folder, list_files(folder, FILES), "depth maps")
    return (read_map(files[frame], clip.width, clip.height) if frame in files else None for frame in frames)


def told_by(
    maps: Iterator[NDArray[np.float32] | None],
    clip: Clip,
    things: list[Thing],
    filming: Filming,
    reporter: StageReporter,
) -> Told:
    """Fit every frame's map, and look what it says of the objects."""
    inverse, fitted = np.full((clip.num_frames, len(things)), np.nan), np.zeros(clip.num_frames, np.bool_)
    for frame, disparity in enumerate(maps):
        reporter.step(frame, clip.num_frames)
        if disparity is None:
            continue
        fit = _fit(disparity, things, filming, frame)
        if fit is None:
            continue
        fitted[frame] = True
        scale, offset = fit
        for row, thing in enumerate(things):
            mask = thing.masks[frame]
            core = binary_erosion(mask, iterations=INSIDE)
            shown = disparity[core if core.any() else mask]
            shown = shown[np.isfinite(shown)]
            if len(shown):
                value = scale * float(np.median(shown)) + offset
                inverse[frame, row] = value if value > 0 else np.nan
    reporter.step(clip.num_frames, clip.num_frames)
    return Told(inverse, fitted)


def _fit(
    disparity: NDArray[np.float32], things: list[Thing], filming: Filming, frame: int
) -> tuple[float, float] | None:
    """(scale, offset) of a frame: 1 / depth = scale · disparity + offset; None where nothing tells them."""
    free = free_of(things, frame, disparity.shape, BORDER)
    for find in (_at_points, _on_floor):
        values, true = find(disparity, free, filming, frame)
        known = np.isfinite(values) & np.isfinite(true)
        found = affine(values[known], true[known])
        if found is not None:
            return found
    return None


def _at_points(
    disparity: NDArray[np.float32], free: NDArray[np.bool_], filming: Filming, frame: int
) -> tuple[Floats, Floats]:
    """(disparity, 1 / depth) at points of the background that are known in the world, in this frame."""
    inside = (filming.points - filming.center(frame)) @ filming.turn(frame).T
    inside = inside[inside[:, 2] > 1e-6]
    pixel = inside @ filming.intrinsics[frame].T
    at = np.floor(pixel[:, :2] / pixel[:, 2:]).astype(int)
    shown = (at >= 0).all(axis=1) & (at < [filming.width, filming.height]).all(axis=1)
    at, depth = at[shown], inside[shown, 2]
    kept = free[at[:, 1], at[:, 0]]
    if kept.sum() < POINTS:
        return np.zeros(0), np.zeros(0)
    return disparity[at[kept, 1], at[kept, 0]].astype(np.float64), 1 / depth[kept]


def _on_floor(
    disparity: NDArray[np.float32], free: NDArray[np.bool_], filming: Filming, frame: int
) -> tuple[Floats, Floats]:
    """(disparity, 1 / depth that the floor has there) of pixels below the horizon, of which some show the floor."""
    rows, columns = np.nonzero(free)
    chosen = np.linspace(0, len(rows) - 1, min(MOST, len(rows))).astype(int) if len(rows) else np.zeros(0, int)
    rows, columns = rows[chosen], columns[chosen]
    rays = filming.ray(frame, np.stack([columns, rows], axis=1) + 0.5) @ filming.turn(frame)
    floor = filming.floor
    above = float(floor.normal @ filming.center(frame)) - floor.height
    true = -(rays @ floor.normal) / above if above > 0 else np.zeros(len(rows))
    below = true > 0
    return disparity[rows[below], columns[below]].astype(np.float64), true[below]


def affine(values: Floats, true: Floats) -> tuple[float, float] | None:
    """(scale > 0, offset) with which most of the values are the true inverse depths; None where too few agree.

    Args:
        values: [N] of a map, disparity but for a scale and an offset.
        true: [N] 1 / depth at the same pixels, positive, 1 / scene units.

    Pairs by chance (Fischler and Bolles 1981), then least squares of those that agree. What stands on a floor is nearer
    than the floor behind it, and agrees with none of it.
    """
    count = len(values)
    if count < LEAST:
        return None
    chance = np.random.default_rng(0)
    near = np.maximum(NEAR * true, FLOOR * float(true.max()))
    best, most = np.zeros(count, bool), 0
    for one, other in chance.integers(0, count, (ROUNDS, 2)):
        apart = values[one] - values[other]
        if abs(apart) < 1e-12:
            continue
        scale = (true[one] - true[other]) / apart
        if scale <= 0:
            continue
        agree = np.abs(scale * (values - values[one]) + true[one] - true) < near
        if agree.sum() > most:
            best, most = agree, int(agree.sum())
    if most < max(LEAST, LEAST_SHARE * count) or true[best].max() < SPREAD * true[best].min():
        return None
    for _ in range(3):
        weight = 1 / near[best]
        design = np.stack([values[best], np.ones(int(best.sum()))], axis=1)
        scale, offset = np.linalg.lstsq(design * weight[:, None], true[best] * weight, rcond=None)[0]
        if scale <= 0:
            return None
        best = np.abs(scale * values + offset - true) < near
        if best.sum() < LEAST:
            return None
    return float(scale), float(offset)
