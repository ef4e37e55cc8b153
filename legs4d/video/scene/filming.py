"""Where the video's camera was in every frame, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from legs4d.scene.camera import Cameras

Floats = NDArray[np.float64]
DEFAULT_FIELD = 49.1
"""Degrees across the picture's shorter side where nobody says: a phone's main camera, and DreamScene4D's."""
HELD_AT = 1.5
"""Scene units above the floor at which a camera is taken to be held where nothing tells: then they are about metres."""


@dataclass(frozen=True)
class Floor:
    """The plane on which things rest: normal · x = height, in the world's axes.

    Attributes:
        normal: [3] unit, upwards.
        route: "given", "found", or "assumed".
    """

    normal: Floats
    height: float
    route: str


@dataclass(frozen=True)
class Filming:
    """T cameras.

    Attributes:
        world_to_camera: [T, 4, 4]; intrinsics: [T, 3, 3] of the pictures as they are looked at.
        route: "given", "found" (structure from motion), "turning" (homographies: it turns and zooms), "still".
        why: a sentence: how it was found, and why not in a better way.
        up: [3] unit, in the world.
        floor: what things rest on.
        points: [N, 3] of the background that were found on the way, world.
    """

    world_to_camera: Floats
    intrinsics: Floats
    width: int
    height: int
    route: str
    why: str
    up: Floats
    floor: Floor
    points: Floats = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def moves(self) -> bool:
        """Whether any camera differs from the first."""
        same = np.allclose(self.world_to_camera, self.world_to_camera[:1], atol=1e-7)
        return not (same and np.allclose(self.intrinsics, self.intrinsics[:1], rtol=1e-6))

    def turn(self, frame: int) -> Floats:
        """[3, 3] from the world's axes to the camera's."""
        return self.world_to_camera[frame, :3, :3]

    def center(self, frame: int) -> Floats:
        """[3] in the world."""
        return -self.turn(frame).T @ self.world_to_camera[frame, :3, 3]

    def ray(self, frame: int, pixel: Floats) -> Floats:
        """[..., 3] in the camera's axes, with z 1, of pixels [..., 2]."""
        inverse = np.linalg.inv(self.intrinsics[frame])
        return np.concatenate([pixel, np.ones((*pixel.shape[:-1], 1))], axis=-1) @ inverse.T

    def cameras(self) -> Cameras:
        """All of them, of one picture each."""
        count = len(self.world_to_camera)
        return Cameras(
            self.world_to_camera.astype(np.float32),
            self.intrinsics.astype(np.float32),
            self.width,
            self.height,
            (0,) * count,
        )

    @property
    def fov(self) -> float:
        """Degrees from the upper to the lower border in the first frame."""
        return float(np.degrees(2 * np.arctan(self.height / 2 / self.intrinsics[0, 1, 1])))


def default_intrinsics(width: int, height: int, fov: float | None = None) -> Floats:
    """[3, 3] of a field of view (degrees from the upper to the lower border), by default a phone's."""
    if fov is None:
        focal = min(width, height) / 2 / np.tan(np.radians(DEFAULT_FIELD) / 2)
    else:
        focal = height / 2 / np.tan(np.radians(fov) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def still(count: int, width: int, height: int, fov: float | None, why: str) -> Filming:
    """A camera that stands, held level at `HELD_AT` above a floor; the world's axes are its own."""
    up = np.array([0.0, -1.0, 0.0])
    return Filming(
        np.tile(np.eye(4), (count, 1, 1)),
        np.tile(default_intrinsics(width, height, fov), (count, 1, 1)),
        width,
        height,
        "still",
        why,
        up,
        Floor(up, -HELD_AT, "assumed"),
    )
