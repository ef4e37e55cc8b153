"""What the same points in pictures of several cameras tell: where these points are, and which cameras stand wrong.

Pictures are of one moment, or of what does not move. Each is matched with those of the nearest cameras: beyond some 50
degrees nothing finds the same points again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.protocols import MatchesPrior, Pairs
from legs4d.progress import go_on
from legs4d.scene.camera import Cameras
from legs4d.scene.sequence import InitialPoints

NEIGHBOURS = 3
"""Cameras that each one's picture is matched with, the nearest by angle."""
WIDEST = 50.0
"""Degrees between two cameras' views of what they look at, up to which they are matched."""
NARROWEST = 0.5
"""Degrees under which two rays tell no distance."""
SURE = 0.3
"""Score from which a match counts."""
OFF = 2.0
"""Pixels from the epipolar line, by the median of matches, beyond which they are wrong."""
FEWEST = 64
"""Matches, and pairs with half as many, without which nothing is said of a camera: pictures of wood that looks alike on
all sides, 50 degrees apart, had up to 27 that were all wrong, while pictures that share something have hundreds."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Matched:
    """Matches of C cameras.

    Attributes:
        pairs: (one, other) positions of cameras → their matches, one < other.
        off: the same keys → [N] how far each match is from its epipolar lines, pixels (the mean of both pictures').
    """

    pairs: dict[tuple[int, int], Pairs]
    off: dict[tuple[int, int], FloatArray]

    def errors(self, count: int) -> FloatArray:
        """[C] median distance from epipolar lines, pixels, in the best of a camera's pairs; NaN where few matched.

        By the best, as a camera that stands wrong spoils all of its pairs, and each neighbour has others. Walls that
        look alike spoil single pairs, however sure the matches are: 0 of 83 within 2 px at a mean score of 0.9.
        """
        found = np.full(count, np.nan)
        for camera in range(count):
            mine = [off for pair, off in self.off.items() if camera in pair and len(off) >= FEWEST // 2]
            if len(mine) > 1 and sum(map(len, mine)) >= FEWEST:
                found[camera] = min(np.median(off) for off in mine)
        return found


def match_cameras(
    pictures: Callable[[int], NDArray[np.float32]],
    cameras: Cameras,
    matcher: MatchesPrior,
    check: Callable[[int, int], object] = go_on,
    neighbours: int = NEIGHBOURS,
) -> Matched:
    """Match every camera's picture with its nearest cameras'.

    Args:
        pictures: position of a camera → its picture [H, W, 3].
        cameras: C views.
        check: told after each pair how many are done, of how many; raises to stop.
        neighbours: of each camera, see `NEIGHBOURS`.
    """
    wanted = near_pairs(cameras, neighbours)
    points = {}
    pairs, off = {}, {}
    for done, (one, other) in enumerate(wanted):
        for camera in (one, other):
            if camera not in points:
                points[camera] = matcher.points(pictures(camera))
        found = matcher.match(points[one], points[other])
        sure = found.scores >= SURE
        found = Pairs(found.first[sure], found.second[sure], found.scores[sure])
        pairs[one, other] = found
        off[one, other] = epipolar_distances(found, cameras, one, other)
        check(done + 1, len(wanted))
    return Matched(pairs, off)


def near_pairs(cameras: Cameras, neighbours: int = NEIGHBOURS) -> list[tuple[int, int]]:
    """Pairs of positions, ascending: each camera with those that see things from nearly where it does.

    The angle is that at which two cameras stand, seen from what both look at, if that is nearer than their axes say.
    """
    centers = cameras.centers.astype(np.float64)
    forward = cameras.world_to_camera[:, 2, :3].astype(np.float64)
    between = np.degrees(np.arccos(np.clip(forward @ forward.T, -1, 1)))
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    # cameras side by side look the same way, however far they stand apart: nearer ones first
    reach = max(float(np.median(apart)), 1e-12)
    cost = np.where(between <= WIDEST, between / WIDEST + apart / reach, np.inf)
    cost[apart < 1e-6 * reach] = np.inf
    found = set()
    for camera, row in enumerate(cost):
        for other in np.argsort(row, kind="stable")[:neighbours]:
            if np.isfinite(row[other]):
                found.add((min(camera, int(other)), max(camera, int(other))))
    return sorted(found)


def epipolar_distances(pairs: Pairs, cameras: Cameras, one: int, other: int) -> FloatArray:
    """[N] mean of the distances of both points of each pair from the other's epipolar line, pixels (Hartley and
    Zisserman 2004, section 11.4.3, without the squares)."""
    fundamental = _fundamental(cameras, one, other)
    first, second = (np.c_[points, np.ones(len(points))].astype(np.float64) for points in (pairs.first, pairs.second))
    there, here = first @ fundamental.T, second @ fundamental
    product = np.abs((second * there).sum(axis=1))
    lengths = [np.maximum(np.linalg.norm(lines[:, :2], axis=1), 1e-12) for lines in (there, here)]
    return np.asarray((product / lengths[0] + product / lengths[1]) / 2)


def _fundamental(cameras: Cameras, one: int, other: int) -> FloatArray:
    """[3, 3] F with x'ᵀ F x = 0 for x in `one`, x' in `other`."""
    viewmats = cameras.world_to_camera[[one, other]].astype(np.float64)
    intrinsics = cameras.intrinsics[[one, other]].astype(np.float64)
    turn = viewmats[1, :3, :3] @ viewmats[0, :3, :3].T
    x, y, z = viewmats[1, :3, 3] - turn @ viewmats[0, :3, 3]
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.linalg.inv(intrinsics[1]).T @ cross @ turn @ np.linalg.inv(intrinsics[0]))


def matched_points(
    matched: Matched,
    pictures: Callable[[int], NDArray[np.float32]],
    cameras: Cameras,
    masks: Callable[[int], NDArray[np.float32] | None] = lambda camera: None,
) -> InitialPoints:
    """Where the matched points are in space: each pair's, from matches within OFF pixels of their epipolar lines.

    Args:
        pictures, cameras: as in `match_cameras`; they give the colours.
        masks: position of a camera → [H, W] share of foreground; None where nobody knows, and no point is foreground.

    Returns:
        [N] points before both of their cameras, none in a direction in which rays hardly part; N may be 0.
    """
    positions, colors = [np.zeros((0, 3))], [np.zeros((0, 3), np.float32)]
    foreground = [np.zeros(0, np.bool_)]
    for (one, other), pairs in matched.pairs.items():
        off = matched.off[one, other]
        if not len(off) or np.median(off) > OFF:  # of things that look alike, or a camera that stands wrong
            continue
        kept = off <= OFF
        points, good = _triangulated(pairs.first[kept], pairs.second[kept], cameras, one, other)
        at = pairs.first[kept][good]
        positions.append(points[good])
        colors.append(_look(pictures(one), at))
        mask = masks(one)
        foreground.append(np.zeros(len(at), bool) if mask is None else _look(mask, at) > 0.5)
    return InitialPoints(
        np.concatenate(positions).astype(np.float32),
        np.concatenate(colors).astype(np.float32),
        np.concatenate(foreground),
    )


def _look(picture: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a picture [H, W, …] shows at pixels [N, 2]."""
    column, row = np.floor(at).astype(int).T
    return picture[np.clip(row, 0, picture.shape[0] - 1), np.clip(column, 0, picture.shape[1] - 1)]


def _triangulated(
    first: NDArray[np.float32], second: NDArray[np.float32], cameras: Cameras, one: int, other: int
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """[N, 3] middles of where two cameras' rays pass each other, and whether they are before both, at an angle."""
    origins = cameras.centers[[one, other]].astype(np.float64)
    a, b = (_directions(points, cameras, camera) for points, camera in ((first, one), (second, other)))
    cosine = (a * b).sum(axis=1)
    rest = np.maximum(1 - cosine**2, 1e-12)
    between = origins[1] - origins[0]
    along, against = a @ between, b @ between
    near, far = (along - cosine * against) / rest, (cosine * along - against) / rest
    middle = (origins[0] + near[:, None] * a + origins[1] + far[:, None] * b) / 2
    return middle, (near > 0) & (far > 0) & (cosine < np.cos(np.radians(NARROWEST)))


def _directions(points: NDArray[np.float32], cameras: Cameras, camera: int) -> FloatArray:
    """[N, 3] unit, in the world."""
    pixels = np.c_[points, np.ones(len(points))].astype(np.float64)
    seen = pixels @ np.linalg.inv(cameras.intrinsics[camera].astype(np.float64)).T
    rays = seen @ cameras.world_to_camera[camera, :3, :3].astype(np.float64)
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))
