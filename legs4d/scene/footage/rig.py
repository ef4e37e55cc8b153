"""Which pictures of a list are one camera's, and which one frame's: told by poses, times and names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.scene.footage.names import as_posix, in_order

SAME_POSE = 1e-4
"""Of the cameras' spread, and of a rotation's entries: poses closer than this are one camera's."""

HALF = 0.49
"""Of a frame: cameras whose clocks differ by more cannot be told from one that comes back to a place."""

FILLED = 0.8
"""Of all frames of all cameras of a rig, those that have a picture at least."""

CLOCKS = 8.0
"""Times of moving cameras are one frame's where gaps between frames are at least so much longer than those within."""


class Posed(Protocol):
    """A picture with a name and a pose, world to camera [4, 4]."""

    name: str
    world_to_camera: NDArray[np.float64]


def number_cameras(pictures: Sequence[Posed]) -> list[int]:
    """A number per picture, the same for the same pose, in the order in which poses first appear."""
    poses = np.array([picture.world_to_camera for picture in pictures])
    rotations = poses[:, :3, :3]
    centers = -np.einsum("nji,nj->ni", rotations, poses[:, :3, 3])
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()) or 1.0
    features = np.concatenate([rotations.reshape(len(poses), 9), (centers - centers.mean(axis=0)) / spread], axis=1)
    different, of_picture = np.unique(features, axis=0, return_inverse=True)
    alike = cKDTree(different).query_ball_point(different, SAME_POSE, p=np.inf)
    leaders = [min(near) for near in alike]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(leaders[i], len(numbers)) for i in of_picture.ravel()]


def times_by_name(pictures: Sequence[Posed], numbers: Sequence[int], where: str) -> list[float]:
    """Times of pictures that have none: the place of each among its camera's, by name, where all cameras have several.

    Raises:
        DatasetError: a camera's pictures are not named so that their order is known.
    """
    times = [0.0] * len(pictures)
    counts = np.bincount(numbers)
    if counts.min() < 2 or 2 * counts.min() < counts.max():
        return times
    for number in dict.fromkeys(numbers):
        own = [i for i, n in enumerate(numbers) if n == number]
        place = {name: k for k, name in enumerate(in_order([pictures[i].name for i in own], "pictures", where))}
        for i in own:
            times[i] = float(place[pictures[i].name])
    return times


def frame_times(times: Sequence[float], numbers: Sequence[int]) -> list[float]:
    """The time of each frame, ascending: times within half a frame are one frame's.

    How long a frame is follows from cameras with several pictures; where there are none, gaps between frames must stand
    out, or every time is a frame.
    """
    ordered = sorted(set(times))
    of_camera: dict[int, list[float]] = {}
    for time, number in zip(times, numbers, strict=True):
        of_camera.setdefault(number, []).append(time)
    steps = [np.diff(sorted(set(own))) for own in of_camera.values() if len(set(own)) > 1]
    if steps:
        grouped = _grouped(ordered, HALF * float(np.median(np.concatenate(steps))))
        if _is_rig([nearest_time(grouped, time) for time in times], numbers):
            return grouped
    gaps = np.sort(np.diff(ordered))
    if len(gaps) > 1 and gaps[0] > 0:
        jump = int(np.argmax(gaps[1:] / gaps[:-1]))
        if gaps[jump + 1] > CLOCKS * gaps[jump]:
            grouped = _grouped(ordered, float(gaps[jump + 1]) / 2)
            counts = np.bincount([nearest_time(grouped, time) for time in times])
            if len(set(counts.tolist())) == 1:  # the same cameras in each
                return grouped
    return ordered


def nearest_time(moments: Sequence[float], time: float) -> int:
    """The frame whose time is nearest."""
    return int(np.abs(np.array(moments) - time).argmin())


def camera_names(files: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """What each camera may be called, from the names of its pictures: the part of the names that is its own; its place.

    Args:
        files: of each camera, the names of its pictures.
    """
    parts = [[re.split(r"[/_.\-]+", str(as_posix(name).with_suffix(""))) for name in own] for own in files]
    own_names: list[list[str]] = [[] for _ in files]
    depth = min((len(split) for own in parts for split in own), default=0)
    for place in range(depth):
        here = [{split[place] for split in own} for own in parts]
        if all(len(values) == 1 for values in here) and len(set().union(*here)) == len(files):
            for names, values in zip(own_names, here, strict=True):
                names.extend(values)
    return [(*names, str(i)) for i, names in enumerate(own_names)]


def _is_rig(frames: Sequence[int], numbers: Sequence[int]) -> bool:
    """Whether nearly every camera has one picture in nearly every frame: not one camera that comes back to a place."""
    taken = set(zip(frames, numbers, strict=True))
    return len(taken) == len(frames) and len(taken) >= FILLED * len(set(frames)) * len(set(numbers))


def _grouped(ordered: Sequence[float], reach: float) -> list[float]:
    """Mean times of groups that begin where a time is further than `reach` from the first of its group."""
    groups: list[list[float]] = []
    for time in ordered:
        if groups and time - groups[-1][0] <= reach:
            groups[-1].append(time)
        else:
            groups.append([time])
    return [float(np.mean(group)) for group in groups]
