"""Objects at their distances: world states of every frame, and each object's rigid part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.rigid import fit_rigid
from legs4d.video.scene.distance import Distances
from legs4d.video.scene.filming import Filming

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moving:
    """An object's motion in its own space, whose unit is its distance in the canonical frame.

    Attributes:
        means: [T, N, 3], quats: [T, N, 4] wxyz, in the axes of the canonical frame's camera.
        colors: [T, N, 3] SH DC; scales: [N, 3]; opacities: [N]; seen: [N].
        centers: [T, 3] on the ray of its middle, with z 1; sizes: [T] relative to the canonical frame.
        there: [T]; canonical: the frame that shows it best.
    """

    means: NDArray[np.float32]
    quats: NDArray[np.float32]
    colors: NDArray[np.float32]
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    seen: NDArray[np.float32]
    centers: Floats
    sizes: Floats
    there: NDArray[np.bool_]
    canonical: int

    def in_camera(self, frame: int, filming: Filming) -> Floats:
        """[N, 3] in a frame's camera's axes, where its middle's z is 1."""
        turn = filming.turn(frame) @ filming.turn(self.canonical).T
        return self.centers[frame] + self.sizes[frame] * (self.means[frame].astype(np.float64) @ turn.T)

    def in_world(self, frame: int, filming: Filming, distances: Distances) -> Gaussians:
        """Its Gaussians in the world."""
        factor = distances.factors[frame]
        turn = filming.turn(frame)
        places = filming.center(frame) + factor * self.in_camera(frame, filming) @ turn
        upright = Rotation.from_matrix(filming.turn(self.canonical).T)
        quats = (upright * Rotation.from_quat(self.quats[frame][:, [1, 2, 3, 0]])).as_quat()[:, [3, 0, 1, 2]]
        return Gaussians(
            places.astype(np.float32),
            quats.astype(np.float32),
            (self.scales * (factor * self.sizes[frame])).astype(np.float32),
            self.opacities,
            self.colors[frame],
            np.ones(len(places), bool),
        )


@dataclass(frozen=True)
class Course:
    """An object's rigid part: pose [T, 7] world from object, place and wxyz; scale [T]."""

    pose: Floats
    scale: Floats


def course_of(states: list[Floats], opacities: NDArray[np.float32], reference: int) -> Course:
    """What of an object's motion is one similarity a frame: nearest to its Gaussians in the world, [N, 3] each.

    Its own axes are the world's, and its size is 1, in the reference frame.
    """
    rest = states[reference]
    middle = np.average(rest, axis=0, weights=np.maximum(opacities, 1e-6))
    pose, scale = np.zeros((len(states), 7)), np.ones(len(states))
    for frame, now in enumerate(states):
        fit = fit_rigid(rest - middle, now, opacities, scaled=True)
        pose[frame, :3] = fit.translation[0]
        pose[frame, 3:] = Rotation.from_matrix(fit.rotation[0]).as_quat()[[3, 0, 1, 2]]
        scale[frame] = fit.scale[0] if np.isfinite(fit.scale[0]) and fit.scale[0] > 0 else 1.0
        if frame and pose[frame, 3:] @ pose[frame - 1, 3:] < 0:
            pose[frame, 3:] *= -1
    return Course(pose, scale)
