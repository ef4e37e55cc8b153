"""What can be measured of each object in each frame, in units that need no scale: its own size, radians, frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from legs4d.gaussians.rigid import fit_rigid
from legs4d.motion.bodies import bodies, reach
from legs4d.motion.tracks import Floats, Tracks

FEW = 300
"""Points of an object that tell how it moves to a hundredth of its size; more would only take longer."""
FITS = 3
"""Rounds of a rigid fit: each weighs points by how well they agreed in the one before."""
OWN = 1.0
"""Sizes from a thing's centre up to which points are its own: masks give it some of the hands that held it."""
NEAREST = 0.05
"""Quantile that stands for the least distance: single points stray."""
GRIP = 0.2
"""Quantile of these distances up to which what is there tells how that moves."""


Poses = tuple[Floats, Floats]
"""Rotations [T, 3, 3] and translations [T, 3], scene units."""


@dataclass(frozen=True)
class Measures:
    """Of O objects over T frames.

    Attributes:
        center: [T, O, 3] median of its points, scene units.
        size: [O] diameter of the ball about the centre that holds most of its points, scene units.
        height: [T, O] of the lowest part over the floor, in its sizes.
        tall: [T, O] from its lowest part to its highest, scene units.
        velocity: [T, O, 3] of the centre, in its sizes a frame.
        turn: [T, O, 3] rotation vector of a frame's step, radians, about the centre.
        bend: [T, O] what is left of a step that is not rigid, in its sizes.
        gap: [T, O, O] least distance between two, in sizes of the smaller; infinite to itself and to what is not there.
        slip: [T, O, O] how fast that of the larger which is nearest to the smaller moves past it, in sizes of the
            smaller a frame; infinite where the gap is.
        poses: O, of each since the first frame; None where its points do not tell.
    """

    center: Floats
    size: Floats
    height: Floats
    tall: Floats
    velocity: Floats
    turn: Floats
    bend: Floats
    gap: Floats
    slip: Floats
    poses: tuple[Poses | None, ...]

    @property
    def speed(self) -> Floats:
        """[T, O] sizes a frame."""
        return np.linalg.norm(self.velocity, axis=2)


def measure(tracks: Tracks) -> Measures:
    """All of it."""
    frames, count = tracks.num_frames, len(tracks)
    some = [few(points) for points in tracks.points]
    center = np.stack([np.median(points, axis=1) for points in some], axis=1)
    size = np.array(
        [
            2 * np.median(np.quantile(np.linalg.norm(points - center[:, i, None], axis=2), 0.8, axis=1))
            for i, points in enumerate(some)
        ]
    )
    size = np.maximum(size, 1e-9)
    turn, bend = np.zeros((frames, count, 3)), np.zeros((frames, count))
    for i, points in enumerate(some):
        turn[:, i], bend[:, i] = _steps(points)
    shapes = [bodies(points) for points in tracks.points]
    low, high = np.array([reach(*one, tracks.up) for one in zip(tracks.points, shapes, strict=True)]).T
    low = np.maximum(low, center @ tracks.up - OWN * size)
    velocity = np.gradient(center, axis=0) if frames > 1 else np.zeros_like(center)
    return Measures(
        center,
        size,
        (low - tracks.floor) / size,
        high - low,
        velocity / size[:, None],
        turn,
        bend / size,
        *_gaps(tracks, shapes, center, size),
        tuple(poses_of(points) for points in some),
    )


def poses_of(points: Floats) -> Poses | None:
    """([T, 3, 3], [T, 3]) that take the first frame's points [n, 3] of [T, n, 3] to each frame's; None where they are
    on a line."""
    first = np.broadcast_to(points[0], points.shape)
    fit, weights = fit_rigid(first, points), np.ones(points.shape[:2])
    for _ in range(FITS - 1):
        moved = np.einsum("tij,tnj->tni", fit.rotation, first) + fit.translation[:, None]
        apart = np.linalg.norm(moved - points, axis=2)
        usual = np.maximum(np.median(apart, axis=1, keepdims=True), 1e-12)
        weights = 1 / (1 + (apart / usual) ** 2)
        fit = fit_rigid(first, points, weights)
    return (fit.rotation, fit.translation) if fit.rank.min() >= 2 else None


def few(points: Floats) -> Floats:
    """[T, n, 3] evenly spread ones of the points of an object, at most FEW."""
    count = points.shape[1]
    return points if count <= FEW else points[:, np.linspace(0, count - 1, FEW).round().astype(int)]


def _steps(points: Floats) -> tuple[Floats, Floats]:
    """([T, 3] rotation vectors, [T] what they leave): the mean of the step to a frame and the one from it."""
    if len(points) < 2:
        return np.zeros((len(points), 3)), np.zeros(len(points))
    fit, weights = fit_rigid(points[:-1], points[1:]), np.ones(points.shape[:2])[:-1]
    for _ in range(FITS - 1):
        moved = np.einsum("tij,tnj->tni", fit.rotation, points[:-1]) + fit.translation[:, None]
        away = np.linalg.norm(moved - points[1:], axis=2)
        usual = np.maximum(np.median(away, axis=1, keepdims=True), 1e-12)
        weights = 1 / (1 + (away / usual) ** 2)
        fit = fit_rigid(points[:-1], points[1:], weights)
    return _at_frames(rotation_vectors(fit.rotation)), _at_frames(fit.error)


def _at_frames(steps: Floats) -> Floats:
    """[T, ...] of frames from [T − 1, ...] of the steps between them."""
    both = np.concatenate([steps[:1], steps]), np.concatenate([steps, steps[-1:]])
    return (both[0] + both[1]) / 2


def rotation_vectors(rotations: Floats) -> Floats:
    """[..., 3] axis times angle (0..π) of rotations [..., 3, 3]."""
    from scipy.spatial.transform import Rotation

    flat = rotations.reshape(-1, 3, 3)
    return Rotation.from_matrix(flat).as_rotvec().reshape(*rotations.shape[:-2], 3)


def _gaps(tracks: Tracks, shapes: list[list[NDArray[np.intp]]], center: Floats, size: Floats) -> tuple[Floats, Floats]:
    """`Measures.gap` and `Measures.slip`."""
    frames, count = tracks.visible.shape
    gap, slip = np.full((frames, count, count), np.inf), np.full((frames, count, count), np.inf)
    for t in range(frames):
        there = np.flatnonzero(tracks.visible[t])
        points = {i: tracks.points[i][t][shapes[i][t]] for i in there}
        trees = {i: cKDTree(points[i]) for i in there}
        beside = [t - 1, t + 1] if 0 < t < frames - 1 else [t]  # a step alone may be that in which hands come or go
        for i in there:
            own = points[i][np.linalg.norm(points[i] - center[t, i], axis=1) <= OWN * size[i]]
            own = own if len(own) else points[i]
            ways = center[beside, i] - center[t, i]
            for j in there:
                if i != j and size[i] <= size[j]:
                    apart, hit = trees[j].query(own)
                    away = float(np.quantile(apart, NEAREST))
                    gap[t, i, j] = gap[t, j, i] = away / size[i]
                    nearest = shapes[j][t][np.unique(hit[apart <= np.quantile(apart, GRIP)])]
                    theirs = np.median(tracks.points[j][beside][:, nearest] - tracks.points[j][t, nearest], axis=1)
                    past = np.linalg.norm(theirs - ways, axis=1).min()
                    slip[t, i, j] = slip[t, j, i] = past / size[i]
    return gap, slip


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, last) of each stretch of True in [T]."""
    padded = np.concatenate([[False], flags, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]
