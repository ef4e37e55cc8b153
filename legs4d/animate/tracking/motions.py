"""Rigid motions of an object, and small changes of them as a camera sees them.

A motion is [4, 4] float64: where a place of the object at rest is now. Changes are six numbers in pixels: how far they
move what is seen of the object, at most, so that all six are of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.gaussians.gaussians import Gaussians
from legs4d.portable.sh import rotate
from legs4d.portable.turns import multiply
from legs4d.scene.camera import Cameras

Motion = NDArray[np.float64]
ACROSS, ALONG, TURNS = slice(0, 2), 2, slice(3, 6)
"""Where the six numbers of a change are: right and down in the picture, away from the camera, and turns about these."""


@dataclass(frozen=True)
class Body:
    """The object at rest.

    Attributes:
        center: [3] of it.
        radius: within which most of it lies, scene units.
    """

    center: NDArray[np.float64]
    radius: float


@dataclass(frozen=True)
class Sight:
    """How a camera sees the object under a motion.

    Attributes:
        center: [3] where the object's middle is now.
        axes: [3, 3] rows: right, down and away, square to each other, the last from the camera to the middle.
        units: [6] scene units and radians that move what is seen by one pixel.
        distance: from the camera to the middle, scene units.
        pixel: [2] where the middle is seen.
    """

    center: NDArray[np.float64]
    axes: NDArray[np.float64]
    units: NDArray[np.float64]
    distance: float
    pixel: NDArray[np.float64]

    @classmethod
    def of(cls, camera: Cameras, body: Body, motion: Motion) -> Sight:
        """Through a single camera."""
        center = motion[:3, :3] @ body.center + motion[:3, 3]
        ray = center - camera.centers[0]
        distance = float(np.linalg.norm(ray))
        away = ray / distance
        right = camera.world_to_camera[0, 0, :3] - (camera.world_to_camera[0, 0, :3] @ away) * away
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(away, right), away])
        pixel = distance / float(camera.intrinsics[0, 0, 0])
        units = np.array([pixel, pixel, distance * pixel / body.radius, *[pixel / body.radius] * 3])
        placed = camera.world_to_camera[0, :3, :3] @ center + camera.world_to_camera[0, :3, 3]
        seen = camera.intrinsics[0].astype(np.float64) @ placed
        return cls(center, axes, units, distance, seen[:2] / max(float(seen[2]), 1e-9))

    def changed(self, motion: Motion, change: NDArray[np.float64]) -> Motion:
        """A motion followed by a small change [6], in pixels."""
        scaled = change * self.units
        turn = Rotation.from_rotvec(scaled[TURNS] @ self.axes).as_matrix()
        shift = scaled[:3] @ self.axes
        step = np.eye(4)
        step[:3, :3] = turn
        step[:3, 3] = self.center + shift - turn @ self.center
        return step @ motion

    def change_between(self, motion: Motion, other: Motion, body: Body) -> NDArray[np.float64]:
        """[6] the change that leads from a motion to another, in pixels."""
        turn = Rotation.from_matrix(other[:3, :3] @ motion[:3, :3].T).as_rotvec()
        shift = (other[:3, :3] - motion[:3, :3]) @ body.center + other[:3, 3] - motion[:3, 3]
        return np.concatenate([self.axes @ shift, self.axes @ turn]) / self.units


def body_of(means: NDArray[np.float32], opacities: NDArray[np.float32]) -> Body:
    """Of the object's Gaussians, [N, 3] and [N]."""
    weights = np.asarray(opacities, np.float64)
    center = np.average(means.astype(np.float64), axis=0, weights=weights)
    away = np.linalg.norm(means - center, axis=1)
    order = np.argsort(away)
    inside = np.searchsorted(np.cumsum(weights[order]), 0.9 * weights.sum())
    return Body(center, max(float(away[order][min(inside, len(away) - 1)]), 1e-6))


def moved(gaussians: Gaussians, motion: Motion) -> Gaussians:
    """Numpy Gaussians under a motion; what their colours show of the view turns with them."""
    means = gaussians.means @ motion[:3, :3].T + motion[:3, 3]
    quats = multiply(quaternion(motion), gaussians.quats.astype(np.float64))
    rest = None if gaussians.sh_rest is None else rotate(gaussians.sh_rest, motion[:3, :3])
    return gaussians.replace(means=means.astype(np.float32), quats=quats.astype(np.float32), sh_rest=rest)


def quaternion(motion: Motion) -> NDArray[np.float64]:
    """[4] wxyz of a motion's rotation, w ≥ 0."""
    return np.asarray(Rotation.from_matrix(motion[:3, :3]).as_quat(canonical=True, scalar_first=True), np.float64)


def inverse(motion: Motion) -> Motion:
    """The motion back."""
    back = np.eye(4)
    back[:3, :3] = motion[:3, :3].T
    back[:3, 3] = -motion[:3, :3].T @ motion[:3, 3]
    return back


def on_course(before: list[Motion], body: Body) -> Motion:
    """Where the object is next if it goes on as between the last two motions: shift of its middle and turn alike."""
    if len(before) < 2:
        return before[-1]
    last, earlier = before[-1], before[-2]
    turn = last[:3, :3] @ earlier[:3, :3].T
    middle = [m[:3, :3] @ body.center + m[:3, 3] for m in (earlier, last)]
    there = 2 * middle[1] - middle[0]
    found = np.eye(4)
    found[:3, :3] = turn @ last[:3, :3]
    found[:3, 3] = there - found[:3, :3] @ body.center
    return found
