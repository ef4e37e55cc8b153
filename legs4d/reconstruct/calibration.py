"""Cameras of footage held against what their pictures show: which stand wrong, and points to start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.priors.cache import find_weights, is_there, open_prior, priors_folder
from legs4d.priors.protocols import MatchesPrior
from legs4d.priors.published import library
from legs4d.priors.registry import find_prior
from legs4d.reconstruct.matched import NEIGHBOURS, OFF, Matched, match_cameras, matched_points
from legs4d.reconstruct.stages import torch_threads
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_finer
from legs4d.scene.sequence import InitialPoints, Sequence

ENOUGH_PIXELS = 500_000
"""Of a picture that is matched: with more, points are found no better."""
MOST_VIEWS = 40
"""Of cameras that move, spread over time."""
FEWEST_POINTS = 50
"""Fewer are no start."""
RIG = 3
"""Cameras in the first frame, from which that frame is looked at alone."""


@dataclass(frozen=True)
class Views:
    """Pictures that are matched with each other, and those who took them.

    Attributes:
        cameras: C views.
        frames: of each, the frame.
        picture: position → [H, W, 3].
        masks: position → [H, W] share of foreground; None where nobody knows.
        scale: of the pictures, of their own size.
    """

    cameras: Cameras
    frames: list[int]
    picture: Callable[[int], NDArray[np.float32]]
    masks: Callable[[int], NDArray[np.float32] | None]
    scale: float

    @property
    def at_one_time(self) -> bool:
        return len(set(self.frames)) == 1


@dataclass(frozen=True)
class Misfit:
    """A camera whose matches miss their epipolar lines.

    Attributes:
        camera: its number in the dataset; frame: in which.
        pixels: by how much, in pixels of the footage's own size.
    """

    camera: int
    frame: int
    pixels: float

    def __str__(self) -> str:
        return (
            f"Camera {self.camera} seems to stand wrong: points that others see too miss their epipolar lines by "
            f"{self.pixels:.1f} pixels"
        )


def views_of(sequence: Sequence) -> Views:
    """What is matched of footage: the first frame of a rig; of few cameras, or one, pictures spread over time."""
    finer = open_finer(sequence, ENOUGH_PIXELS)
    first = finer.cameras("train", 0)
    if len(first) >= RIG:
        where = [(0, camera) for camera in range(len(first))]
    else:
        where = [(f, c) for f in range(finer.num_frames) for c in range(len(finer.cameras("train", f)))]
        where = [where[i] for i in np.unique(np.linspace(0, len(where) - 1, MOST_VIEWS).round().astype(int))]
    rigs = [finer.cameras("train", frame).take([camera]) for frame, camera in where]
    cameras = Cameras(
        np.concatenate([rig.world_to_camera for rig in rigs]),
        np.concatenate([rig.intrinsics for rig in rigs]),
        first.width,
        first.height,
        tuple(rig.ids[0] for rig in rigs),
    )

    def masks(view: int) -> NDArray[np.float32] | None:
        if isinstance(finer, MotionMasks):  # they would have to be found first
            return None
        found = finer.masks("train", where[view][0], [where[view][1]])
        return None if found is None else found[0]

    def picture(view: int) -> NDArray[np.float32]:
        return finer.images("train", where[view][0], [where[view][1]])[0]

    return Views(cameras, [frame for frame, _ in where], picture, masks, finer.reading.scale)


def match_views(views: Views, matcher: MatchesPrior, context: Context = QUIET) -> Matched:
    """See `matched.match_cameras`. Raises Stopped when told to stop."""
    neighbours = NEIGHBOURS if views.at_one_time else 2 * NEIGHBOURS  # views in a row see nearly the same
    return match_cameras(views.picture, views.cameras, matcher, context.reporter("match_cameras").step, neighbours)


def misfits(views: Views, matched: Matched) -> list[Misfit]:
    """The cameras whose matches miss their epipolar lines by more than OFF pixels of the footage's own size.

    What moves points along these lines does not show: a camera in a level ring that is turned to the side.
    """
    errors = matched.errors(len(views.cameras)) / views.scale
    return [
        Misfit(views.cameras.ids[i], views.frames[i], float(errors[i]))
        for i in np.flatnonzero(np.nan_to_num(errors) > OFF)
    ]


def unknown(views: Views, matched: Matched) -> list[int]:
    """Numbers of the cameras whose matches are too few to say anything about them."""
    known = {views.cameras.ids[i] for i in np.flatnonzero(~np.isnan(matched.errors(len(views.cameras))))}
    return sorted(set(views.cameras.ids) - known)


def start_points(views: Views, matched: Matched) -> InitialPoints | None:
    """Points of the matches, in the footage's world; None where there are hardly any.

    Of views at several times those on the foreground are left out, as that has moved.
    """
    found = matched_points(matched, views.picture, views.cameras, views.masks)
    if not views.at_one_time:
        kept = ~found.is_foreground
        found = InitialPoints(found.positions[kept], found.colors[kept], found.is_foreground[kept])
    return found if len(found.positions) >= FEWEST_POINTS else None


@dataclass(frozen=True)
class Look:
    """What matches say of footage.

    Attributes:
        misfits: cameras that seem to stand wrong.
        points: to start from, None where there are hardly any.
        matches: what was matched.
        unknown: numbers of cameras of which nothing is said, as their matches are too few.
    """

    misfits: list[Misfit]
    points: InitialPoints | None
    matches: Literal["lightglue", "none"] = "lightglue"
    unknown: tuple[int, ...] = ()


def has_matcher() -> bool:
    """Whether LightGlue can run here: its weights are there, and kornia is."""
    return is_there(find_prior("lightglue"), priors_folder()) and find_spec("kornia") is not None


def check_matcher() -> None:
    """Raises Legs4dError where LightGlue cannot run here; says what to do."""
    find_weights("lightglue")
    library("kornia", "matches")


def look_at_cameras(
    sequence: Sequence, device: torch.device, context: Context = QUIET, matcher: MatchesPrior | None = None
) -> Look:
    """Match the cameras of footage with each other.

    Args:
        device: where LightGlue runs.
        matcher: by default LightGlue, if its weights are there and kornia is; else nothing is said.

    Raises:
        Stopped: it was told to stop.
    """
    if matcher is None:
        if not has_matcher():
            return Look([], None, "none")
        matcher = open_prior("lightglue", device)
        assert matcher is not None
    views = views_of(sequence)
    if len(views.cameras) < RIG:
        return Look([], None, unknown=tuple(dict.fromkeys(views.cameras.ids)))
    with torch_threads(device):
        matched = match_views(views, matcher, context)
        points = start_points(views, matched)
        return Look(misfits(views, matched), points, unknown=tuple(unknown(views, matched)))
