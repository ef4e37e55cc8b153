"""Where in space the things of one frame are: sightings of several cameras that agree on a place and a size.

Any two sightings whose rays nearly meet propose a place. Every camera whose sighting has the place near its middle, at
a distance at which the thing has the proposed size, speaks for it. The best supported place is taken, its sightings are
used up, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from legs4d.priors.objects.sightings import PERSON, THING, Sightings
from legs4d.scene.camera import Cameras

OFF_MIDDLE = 0.6
"""Of half a box's sides: how far from its middle the place may be seen."""
SIZES = 1.7
"""Most that sizes of one thing may differ between two cameras, as a factor."""
LEAST_CAMERAS = 3
"""That must see a thing; two rays meet by chance too often."""
LEAST_SUPPORT = 0.8
"""Sum of the scores of the sightings that speak for a place."""
MOST = 4_000_000
"""Proposals times sightings that are looked at together; of more, a sample that is always the same."""
PART = 0.75
"""Of a thing's size: what is nearer to its middle, smaller and less supported is a part of it."""
NARROW = np.cos(np.radians(6.0))
"""Rays that are more nearly parallel than this tell no distance."""


@dataclass(frozen=True)
class Place:
    """One thing in one frame.

    Attributes:
        is_person: or else anything.
        position: [3] float64, the middle of it, in the world.
        size: [2] float64 width and height in units of the world, as cameras see them.
        support: sum of its sightings' scores.
        sightings: [K] numbers of its sightings in the frame, one a camera.
    """

    is_person: bool
    position: NDArray[np.float64]
    size: NDArray[np.float64]
    support: float
    sightings: NDArray[np.int64]


@dataclass(frozen=True)
class _Rays:
    """Sightings as rays: [N, 3] origins and directions of length 1, and what else is needed of their cameras."""

    origins: NDArray[np.float64]
    directions: NDArray[np.float64]
    viewmats: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    middles: NDArray[np.float64]
    halves: NDArray[np.float64]
    scores: NDArray[np.float64]
    cameras: NDArray[np.int64]

    def take(self, kept: NDArray[np.int64]) -> _Rays:
        return _Rays(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


def find_places(sightings: Sightings, cameras: Cameras) -> list[Place]:
    """The things of one frame, the best supported first; people and other things apart, as people hold things."""
    people = sightings.names == PERSON
    found = []
    for is_person in (True, False):
        numbers = np.flatnonzero(people == is_person)
        found += _without_parts(_search(_rays(sightings, cameras, numbers), numbers, is_person))
    return found


def _without_parts(places: list[Place]) -> list[Place]:
    """Those that are no part of a better supported one: a head and a trunk are boxes of people too."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda one: -one.support):
        inside = (
            (np.abs(place.position - whole.position) < PART * whole.size[[0, 1, 0]]).all()
            and place.size.mean() < whole.size.mean()
            and place.support < whole.support / 2
            for whole in kept
        )
        if not any(inside):
            kept.append(place)
    return kept


def project(
    points: NDArray[np.float64], viewmats: NDArray[np.float64], intrinsics: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixels [..., 2] and depths [...] of points [..., 3] in cameras [..., 4, 4], [..., 3, 3]; shapes broadcast."""
    seen = np.einsum("...ij,...j->...i", viewmats[..., :3, :3], points) + viewmats[..., :3, 3]
    depth = seen[..., 2]
    safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
    pixels = np.einsum("...ij,...j->...i", intrinsics[..., :2, :], seen / safe[..., None])
    return pixels, depth


def _rays(sightings: Sightings, cameras: Cameras, numbers: NDArray[np.int64]) -> _Rays:
    seen = sightings.cameras[numbers]
    boxes = sightings.boxes[numbers].astype(np.float64)
    middles, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    viewmats = cameras.world_to_camera[seen].astype(np.float64)
    intrinsics = cameras.intrinsics[seen].astype(np.float64)
    pixels = np.concatenate([middles, np.ones((len(middles), 1))], axis=1)
    directions = np.einsum("nij,nj->ni", np.linalg.inv(intrinsics), pixels) if len(pixels) else pixels
    directions = np.einsum("nji,nj->ni", viewmats[:, :3, :3], directions)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    origins = cameras.centers[seen].astype(np.float64)
    scores = sightings.scores[numbers].astype(np.float64)
    return _Rays(origins, directions, viewmats, intrinsics, middles, halves, scores, seen)


def _search(rays: _Rays, numbers: NDArray[np.int64], is_person: bool) -> list[Place]:
    found: list[Place] = []
    points, sizes = _proposals(rays)
    if not len(points):
        return found
    weights = _speaking(rays, points, sizes)
    while True:
        support = _support(weights, rays.cameras)
        best = int(np.argmax(support))
        chosen = _one_a_camera(weights[best], rays.cameras)
        if len(chosen) < LEAST_CAMERAS or support[best] < LEAST_SUPPORT:
            return found
        left = np.asarray(weights.any(axis=0))
        position, chosen = _settled(rays, chosen, weights[best], left)
        support_of = float(rays.scores[chosen].sum())
        found.append(Place(is_person, position, _size(rays.take(chosen), position), support_of, numbers[chosen]))
        # used up are its sightings, and others of the same cameras that show it
        pixels, _ = project(position, rays.viewmats, rays.intrinsics)
        on_it = (np.abs(pixels - rays.middles) < rays.halves).all(axis=1) & np.isin(rays.cameras, rays.cameras[chosen])
        on_it[chosen] = True
        weights[:, on_it] = 0


def _settled(
    rays: _Rays, chosen: NDArray[np.int64], weight: NDArray[np.float64], left: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The place that all its sightings agree on, and those of the ones that are left that speak for that place."""
    position = _meeting(rays.take(chosen), weight[chosen])
    for _ in range(2):
        weight = np.where(left, _speaking(rays, position[None], _size(rays.take(chosen), position).mean()[None])[0], 0)
        better = _one_a_camera(weight, rays.cameras)
        if len(better) < LEAST_CAMERAS:
            break
        chosen = better
        position = _meeting(rays.take(chosen), weight[chosen])
    return position, chosen


def _proposals(rays: _Rays) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places [H, 3] where two cameras' rays pass each other closely, and the sizes [H] that they give the thing."""
    one, other = np.triu_indices(len(rays.cameras), 1)
    kept = rays.cameras[one] != rays.cameras[other]
    one, other = one[kept], other[kept]
    most = max(1, MOST // max(1, len(rays.cameras)))
    if len(one) > most:
        sample = np.random.default_rng(0).choice(len(one), most, replace=False)
        one, other = one[sample], other[sample]
    a, b = rays.directions[one], rays.directions[other]
    cosine = (a * b).sum(axis=1)
    kept = np.abs(cosine) < NARROW
    one, other, a, b, cosine = one[kept], other[kept], a[kept], b[kept], cosine[kept]
    between = rays.origins[other] - rays.origins[one]
    along, against = (between * a).sum(axis=1), (between * b).sum(axis=1)
    rest = 1 - cosine**2
    near, far = (along - cosine * against) / rest, (cosine * along - against) / rest
    here, there = rays.origins[one] + near[:, None] * a, rays.origins[other] + far[:, None] * b
    points = (here + there) / 2
    sizes = np.stack([_apparent(rays.take(side), points) for side in (one, other)])
    gap = np.linalg.norm(here - there, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        alike = np.maximum(sizes[0] / sizes[1], sizes[1] / sizes[0]) < SIZES
    size = np.sqrt(np.maximum(sizes[0] * sizes[1], 0))
    kept = (near > 0) & (far > 0) & alike & (gap < size / 2)
    return points[kept], size[kept]


def _apparent(rays: _Rays, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """[H] mean of width and height that the thing in each ray's box has if it is at the point of that ray."""
    _, depth = project(points, rays.viewmats, rays.intrinsics)
    return (2 * rays.halves / rays.intrinsics[:, [0, 1], [0, 1]]).mean(axis=1) * depth


def _speaking(rays: _Rays, points: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """[H, N] weight with which each sighting speaks for each place: its score, less the farther off its middle."""
    pixels, depth = project(points[:, None], rays.viewmats[None], rays.intrinsics[None])
    off = (np.abs(pixels - rays.middles) / rays.halves).max(axis=-1) / OFF_MIDDLE
    apparent = (2 * rays.halves / rays.intrinsics[:, [0, 1], [0, 1]]).mean(axis=1) * depth
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.maximum(apparent / sizes[:, None], sizes[:, None] / apparent)
    return np.where((depth > 0) & (off < 1) & (ratio < SIZES), rays.scores * (1 - off**2 / 2), 0.0)


def _support(weights: NDArray[np.float64], cameras: NDArray[np.int64]) -> NDArray[np.float64]:
    """[H] sum over cameras of their best sighting's weight."""
    total = np.zeros(len(weights))
    for camera in np.unique(cameras):
        total += weights[:, cameras == camera].max(axis=1)
    return total


def _one_a_camera(weights: NDArray[np.float64], cameras: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the best sighting of each camera that has one with weight."""
    order = np.argsort(-weights, kind="stable")
    order = order[weights[order] > 0]
    _, first = np.unique(cameras[order], return_index=True)
    return np.sort(order[first])


def _meeting(rays: _Rays, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3] the point nearest to rays, in the sense of weighted least squares."""
    across = np.eye(3) - rays.directions[:, :, None] * rays.directions[:, None]
    across *= weights[:, None, None]
    return np.linalg.solve(across.sum(axis=0), np.einsum("nij,nj->i", across, rays.origins))


def _size(rays: _Rays, position: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2] median width and height in the world."""
    _, depth = project(position, rays.viewmats, rays.intrinsics)
    return np.median(2 * rays.halves / rays.intrinsics[:, [0, 1], [0, 1]] * depth[:, None], axis=0)


def voted_name(sightings: list[tuple[Sightings, NDArray[np.int64]]], is_person: bool) -> tuple[str, float]:
    """What a thing is called by its sightings (of several frames) together, and the share of them that say so."""
    if is_person:
        return PERSON, 1.0
    votes: dict[str, float] = {}
    for frame, numbers in sightings:
        for name, score in zip(frame.names[numbers].tolist(), frame.scores[numbers].tolist(), strict=True):
            if name != THING:
                votes[name] = votes.get(name, 0.0) + score
    if not votes:
        return THING, 0.0
    name = max(votes, key=lambda one: votes[one])
    return name, votes[name] / sum(votes.values())
