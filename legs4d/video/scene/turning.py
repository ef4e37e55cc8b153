"""A camera that stays in one place, and turns and zooms: points of the background matched between frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from legs4d.priors.opencv import opencv
from legs4d.progress import StageReporter
from legs4d.video.input.clip import Clip
from legs4d.video.input.things import Thing, free_of

Floats = NDArray[np.float64]
POINTS = 1500
"""Of SIFT (Lowe 2004) in a picture."""
RATIO = 0.75
"""Lowe's, of the best match to the second."""
NEAR = 2.5
"""Pixels that a match may be off a homography, of pictures 480 wide."""
LEAST = 24
"""Matches that a frame needs."""
AROUND = 3
"""Pixels around masks where no points are taken."""
STILL = 0.6
"""Pixels, of pictures 480 wide, by which the background of a still camera may seem to move."""
OFF = 1.5
"""Pixels, likewise, that matches of a camera that only turns are off in the median at most."""


@dataclass(frozen=True)
class Turning:
    """What a video's background does.

    Attributes:
        rotations: [T, 3, 3] from the reference frame's axes to each frame's; zooms: [T] of focal lengths.
        moved: pixels (of pictures 480 wide) that the background moves at most; off: median rest per frame, [T].
        matched: [T] matches that agree.
        reference: the frame that the others are told from.
    """

    rotations: Floats
    zooms: Floats
    moved: float
    off: Floats
    matched: NDArray[np.int64]
    reference: int

    @property
    def is_known(self) -> bool:
        """Whether each frame could be told from another."""
        return bool((self.matched >= LEAST).all())

    @property
    def is_still(self) -> bool:
        return self.is_known and self.moved < STILL

    @property
    def only_turns(self) -> bool:
        """Whether what is seen agrees with a camera in one place."""
        return self.is_known and bool((self.off < OFF).all())


def find_turning(clip: Clip, things: list[Thing], matrix: Floats, reporter: StageReporter) -> Turning:
    """Match every frame with the middle one, or where that shows nothing of it, with its neighbour.

    Args:
        matrix: [3, 3] intrinsics of the reference frame.
    """
    cv2 = opencv("the camera's motion")
    cv2.setRNGSeed(0)
    sift = cv2.SIFT_create(nfeatures=POINTS)
    count, unit = clip.num_frames, clip.width / 480
    found = []
    for frame in range(count):
        reporter.step(frame, 2 * count)
        free = free_of(things, frame, (clip.height, clip.width), AROUND)
        grey = cv2.cvtColor(clip.pictures[frame], cv2.COLOR_RGB2GRAY)
        points, looks = sift.detectAndCompute(grey, free.astype(np.uint8))
        places = np.array([point.pt for point in points], np.float64).reshape(-1, 2) + 0.5
        found.append((places, looks))
    reference = count // 2
    rotations, zooms = np.tile(np.eye(3), (count, 1, 1)), np.ones(count)
    off, matched = np.zeros(count), np.zeros(count, np.int64)
    matched[reference] = max(len(found[reference][0]), 0)
    grid = np.stack(np.meshgrid(np.linspace(0, clip.width, 5), np.linspace(0, clip.height, 4)), -1).reshape(-1, 2)
    moved = 0.0
    done = 0
    for order in (range(reference + 1, count), range(reference - 1, -1, -1)):
        before = reference
        for frame in order:
            reporter.step(count + done, 2 * count)
            done += 1
            base, pairs = reference, _pairs(cv2, found[reference], found[frame], NEAR * unit)
            if len(pairs[0]) < 2 * LEAST:
                other = _pairs(cv2, found[before], found[frame], NEAR * unit)
                if len(other[0]) > len(pairs[0]):
                    base, pairs = before, other
            matched[frame] = len(pairs[0])
            if matched[frame] >= 4:
                start = rotations[before], zooms[before]
                rotations[frame], zooms[frame], off[frame] = _solve(
                    pairs, (rotations[base], zooms[base]), start, matrix
                )
                off[frame] /= unit
                shown = _project(grid, np.eye(3), 1.0, rotations[frame], zooms[frame], matrix)
                moved = max(moved, float(np.linalg.norm(shown - grid, axis=1).max()) / unit)
            before = frame
    reporter.step(2 * count, 2 * count)
    return Turning(rotations, zooms, moved, off, matched, reference)


def _pairs(cv2: Any, one: tuple[Floats, Any], other: tuple[Floats, Any], near: float) -> tuple[Floats, Floats]:
    """Places in two frames that agree with one homography."""
    nothing = np.zeros((0, 2))
    if one[1] is None or other[1] is None or min(len(one[0]), len(other[0])) < 8:
        return nothing, nothing
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one[1], other[1], k=2)
    good = [m[0] for m in matches if len(m) == 2 and m[0].distance < RATIO * m[1].distance]
    if len(good) < 8:
        return nothing, nothing
    first = one[0][[m.queryIdx for m in good]]
    second = other[0][[m.trainIdx for m in good]]
    _, inside = cv2.findHomography(first, second, cv2.RANSAC, near)
    if inside is None:
        return nothing, nothing
    kept = inside.ravel().astype(bool)
    return first[kept], second[kept]


def _solve(
    pairs: tuple[Floats, Floats], base: tuple[Floats, float], start: tuple[Floats, float], matrix: Floats
) -> tuple[Floats, float, float]:
    """(rotation, zoom, median rest in pixels) of a frame that shows `pairs[1]` where its base shows `pairs[0]`."""
    first, second = pairs

    def rest(values: Floats) -> Floats:
        turn = Rotation.from_rotvec(values[:3]).as_matrix()
        drawn = _project(first, *base, turn, float(np.exp(values[3])), matrix)
        return np.asarray((drawn - second).ravel())

    begin = np.concatenate([Rotation.from_matrix(start[0]).as_rotvec(), [np.log(start[1])]])
    found = least_squares(rest, begin, loss="soft_l1", max_nfev=60).x
    left = float(np.median(np.linalg.norm(rest(found).reshape(-1, 2), axis=1)))
    return Rotation.from_rotvec(found[:3]).as_matrix(), float(np.exp(found[3])), left


def _project(places: Floats, turn: Floats, zoom: float, to: Floats, to_zoom: float, matrix: Floats) -> Floats:
    """[N, 2] where a frame with the rotation `to` shows what one with `turn` shows at `places`."""
    one, other = _zoomed(matrix, zoom), _zoomed(matrix, to_zoom)
    rays = np.concatenate([places, np.ones((len(places), 1))], axis=1) @ np.linalg.inv(one).T @ turn
    pixel = rays @ to.T @ other.T
    return np.asarray(pixel[:, :2] / np.where(np.abs(pixel[:, 2:]) < 1e-9, 1e-9, pixel[:, 2:]))


def _zoomed(matrix: Floats, zoom: float) -> Floats:
    found = matrix.copy()
    found[0, 0] *= zoom
    found[1, 1] *= zoom
    return found


def homography(turning: Turning, matrix: Floats, one: int, other: int) -> Floats:
    """[3, 3] that takes pixels (OpenCV's, whose first has its middle at 0) of a frame to those of another."""
    first, second = (_zoomed(matrix, float(turning.zooms[frame])) for frame in (one, other))
    whole = second @ turning.rotations[other] @ turning.rotations[one].T @ np.linalg.inv(first)
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
    return np.asarray(np.linalg.inv(half) @ whole @ half)
