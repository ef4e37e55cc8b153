"""A clip's motions together: as smooth as the frames allow, most along the ray, where a single frame says least.

What is sought is the change of each frame's motion that best weighs how sure the frame is of it against how a thing
moves: without sudden jerks, of the same size in all directions. A jerk may happen (a thing is hit, or stops), so that
large ones cost no more than their size (Huber 1964).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.animate.tracking.motions import Body, Motion, Sight
from legs4d.scene.camera import Cameras


@dataclass(frozen=True)
class SmoothSettings:
    """How stiff a clip is.

    Attributes:
        jerk: pixels across the picture by which speed changes from frame to frame, usually; turns likewise.
        floor: pixels by which every frame may be off in every direction, whatever it says itself.
        rounds: of reweighting.
    """

    jerk: float = 0.5
    floor: float = 0.15
    rounds: int = 8


def smoothed(
    motions: Sequence[Motion],
    informations: Sequence[NDArray[np.float64]],
    camera: Cameras,
    body: Body,
    settings: SmoothSettings,
) -> list[Motion]:
    """Motions of T frames, of each of which is known how sure it is: [6, 6] in pixels⁻², in its own view's axes."""
    count = len(motions)
    if count < 3:
        return list(motions)
    found = list(motions)
    for _ in range(2):  # turns do not add up, so that it is done once more where that led
        sights = [Sight.of(camera, body, motion) for motion in found]
        spread = np.array([np.linalg.inv(_covariance(information, settings.floor)) for information in informations])
        off = np.stack([s.change_between(m, o, body) for s, m, o in zip(sights, found, motions, strict=True)])
        pixel = float(np.median([sight.units[0] for sight in sights]))
        places = np.stack([sight.center for sight in sights]) / pixel
        rate = pixel / body.radius
        turns = np.zeros((count, 3))
        for t in range(1, count):
            step = Rotation.from_matrix(found[t][:3, :3] @ found[t - 1][:3, :3].T).as_rotvec()
            turns[t] = turns[t - 1] + step / rate
        # From a frame's six numbers to its place and turn in pixels, in the world's axes.
        frames = np.stack(
            [
                np.block(
                    [
                        [s.axes.T * (s.units[:3] / pixel), np.zeros((3, 3))],
                        [np.zeros((3, 3)), s.axes.T * (s.units[3:] / rate)],
                    ]
                )
                for s in sights
            ]
        )
        change = _solve(np.concatenate([places, turns], axis=1), frames, spread, off, settings)
        found = [s.changed(m, c) for s, m, c in zip(sights, found, change, strict=True)]
    return found


def _covariance(information: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    return np.linalg.inv(information + 1e-6 * np.eye(6)) + floor**2 * np.eye(6)


def _solve(
    state: NDArray[np.float64],
    frames: NDArray[np.float64],
    sure: NDArray[np.float64],
    off: NDArray[np.float64],
    settings: SmoothSettings,
) -> NDArray[np.float64]:
    """[T, 6] changes q that minimise Σ (q - off)ᵀ sure (q - off) + Σ huber(‖Δ²(state + frames q)‖ / jerk)."""
    count = len(state)
    second = scipy.sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(count - 2, count))
    spread = scipy.sparse.block_diag(list(frames), format="csr")
    bent = (scipy.sparse.kron(second, np.eye(6)) @ spread).tocsr()
    data, pull = scipy.sparse.block_diag(list(sure), format="csc"), np.einsum("tij,tj->ti", sure, off).ravel()
    at, change = (second @ state), np.zeros(count * 6)
    for _ in range(settings.rounds):
        now = at + (bent @ change).reshape(-1, 6)
        weight = np.empty_like(now)
        for part in (slice(0, 3), slice(3, 6)):
            size = np.linalg.norm(now[:, part], axis=1, keepdims=True) / settings.jerk
            weight[:, part] = 1 / (settings.jerk**2 * np.maximum(size, 1))
        weighted = bent.T @ scipy.sparse.diags(weight.ravel())
        change = scipy.sparse.linalg.spsolve((data + weighted @ bent).tocsc(), pull - weighted @ at.ravel())
    return np.asarray(change, np.float64).reshape(count, 6)


def ending(motions: list[Motion], end: Motion, body: Body) -> list[Motion]:
    """The same motions, but ending as is known: what they are off there has grown evenly."""
    last = motions[-1]
    turn = Rotation.from_matrix(end[:3, :3] @ last[:3, :3].T).as_rotvec()
    middle = [m[:3, :3] @ body.center + m[:3, 3] for m in motions]
    shift = end[:3, :3] @ body.center + end[:3, 3] - middle[-1]
    found = []
    for number, motion in enumerate(motions):
        share = number / (len(motions) - 1)
        mended = np.eye(4)
        mended[:3, :3] = Rotation.from_rotvec(share * turn).as_matrix() @ motion[:3, :3]
        mended[:3, 3] = middle[number] + share * shift - mended[:3, :3] @ body.center
        found.append(mended)
    return found
