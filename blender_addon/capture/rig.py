"""Where the cameras of a capture stand. Pure numpy, Blender's axes (z up), metres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

GOLDEN = (5**0.5 - 1) / 2

TO_DATASET = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float64)
"""Blender's world (z up) to the dataset's (y down); the parent empty of an imported sequence turns it back."""


@dataclass(frozen=True)
class View:
    """One camera of a capture.

    Attributes:
        camera_id: the dataset's number of it.
        is_test: kept out of training.
        position: [3] in Blender's world.
        target: [3] the point in the middle of its image.
        track: [T, 3] where it is in each frame, if it moves; `position` is the first.
    """

    camera_id: int
    is_test: bool
    position: NDArray[np.float64]
    target: NDArray[np.float64]
    track: NDArray[np.float64] | None = None

    def at(self, frame: int) -> View:
        """As it stands in a frame, counted from 0."""
        return self if self.track is None else replace(self, position=self.track[frame], track=None)


def dome(
    count: int, center: NDArray, radius: float, arc: float, facing: float, elevations: tuple[float, float]
) -> NDArray[np.float64]:
    """[count, 3] positions spread evenly over a band of a sphere, ordered by azimuth.

    Args:
        arc: width of the band in azimuth, radians; 2π is all around.
        facing: azimuth of its middle, radians from +x towards +y.
        elevations: lower and upper edge of the band, radians above the horizon.
    """
    number = np.arange(count)
    low, high = np.sin(elevations[0]), np.sin(elevations[1])
    elevation = np.arcsin(low + (high - low) * ((number * GOLDEN + 0.5) % 1.0))
    return _on_sphere(center, radius, _azimuths(count, arc, facing), elevation)


def ring(
    count: int, center: NDArray, radius: float, arc: float, facing: float, elevation: float
) -> NDArray[np.float64]:
    """[count, 3] positions on a circle around the vertical through `center`, ordered by azimuth."""
    return _on_sphere(center, radius, _azimuths(count, arc, facing), np.full(count, elevation))


def along_path(count: int, points: NDArray) -> NDArray[np.float64]:
    """[count, 3] positions evenly spaced along the polyline `points` [P, 3], both ends included."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(steps)])
    wanted = np.linspace(0.0, length[-1], count)
    return np.stack([np.interp(wanted, length, points[:, axis]) for axis in range(3)], axis=1)


def views(positions: NDArray, target: NDArray, num_test: int) -> list[View]:
    """Numbers the cameras in order and keeps `num_test` of them, evenly spread and away from the ends, for testing."""
    count = len(positions)
    chosen = {int((k + 0.5) * count / num_test) for k in range(num_test)}
    return [View(i, i in chosen, np.asarray(p, float), np.asarray(target, float)) for i, p in enumerate(positions)]


def walk(track: NDArray, target: NDArray, tested: NDArray) -> list[View]:
    """One camera along a track [T, 3], a place a frame, numbered 0; those kept for testing [C, 3] stand still."""
    aim = np.asarray(target, float)
    walker = View(0, False, track[0], aim, np.asarray(track, float))
    return [walker, *(View(i, True, np.asarray(p, float), aim) for i, p in enumerate(tested, 1))]


def camera_matrix(view: View) -> NDArray[np.float64]:
    """[4, 4] camera to world as Blender has it: x right, y up, looking along -z."""
    backwards = view.position - view.target
    backwards = backwards / np.linalg.norm(backwards)
    up = np.array([0.0, 0.0, 1.0]) if abs(backwards[2]) < 0.999 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, backwards)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(backwards, right), backwards], axis=1)
    matrix[:3, 3] = view.position
    return matrix


def world_to_camera(blender_matrix: NDArray) -> NDArray[np.float64]:
    """[4, 4] OpenCV world-to-camera in the dataset's world, of a camera-to-world matrix of Blender's."""
    camera_to_world = np.eye(4)
    camera_to_world[:3, :3] = TO_DATASET @ blender_matrix[:3, :3] @ np.diag([1.0, -1.0, -1.0])
    camera_to_world[:3, 3] = TO_DATASET @ blender_matrix[:3, 3]
    return np.linalg.inv(camera_to_world).astype(np.float64)


def intrinsics(width: int, height: int, horizontal_angle: float) -> NDArray[np.float64]:
    """[3, 3] pixels, square, the principal point in the middle; `horizontal_angle` in radians."""
    focal = width / 2 / np.tan(horizontal_angle / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _azimuths(count: int, arc: float, facing: float) -> NDArray[np.float64]:
    """`count` angles; a full circle does not repeat its first one."""
    share = (np.arange(count) + 0.5) / count - 0.5 if arc > 2 * np.pi - 1e-3 else np.linspace(-0.5, 0.5, count)
    return facing + arc * share


def _on_sphere(center: NDArray, radius: float, azimuth: NDArray, elevation: NDArray) -> NDArray[np.float64]:
    direction = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    return np.asarray(center, float) + radius * direction
