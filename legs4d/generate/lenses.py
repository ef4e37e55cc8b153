"""Cameras around an object: level or raised, on a sphere, looking at its middle.

+y is up; azimuth 0 stands on +z, where the object's front is, and grows towards +x; elevations are above the object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from legs4d.scene.camera import Cameras
from legs4d.scene.stage import Stage

UP = np.array([0.0, 1.0, 0.0])
PSEUDO_ELEVATION = 30.0
PSEUDO_AZIMUTHS = (*np.arange(0, 180, 22.5).tolist(), *np.arange(-180, 0, 22.5).tolist())
"""Degrees, of the sixteen pictures that SyncDreamer predicts (Liu et al. 2023), in their order."""
NEAR_SHARE = 0.2
"""Near plane, as a share of a lens's distance: an object reaches from 0.42 of it on at most."""


@dataclass(frozen=True)
class Lens:
    """How cameras of one kind see an object.

    Attributes:
        angle: field of view, degrees, of pictures as wide as high.
        distance: of the camera from the object's middle.
    """

    angle: float
    distance: float

    @property
    def near(self) -> float:
        return NEAR_SHARE * self.distance

    @property
    def reach(self) -> float:
        """Half the side of what a picture shows at the distance of the object's middle."""
        return float(self.distance * np.tan(np.radians(self.angle / 2)))

    @property
    def stage(self) -> Stage:
        """Around the object, which stands at the origin."""
        return Stage(np.zeros(3, np.float32), self.distance, -UP.astype(np.float32), self.near)

    def cameras(self, elevations: ArrayLike, azimuths: ArrayLike, size: int, first: int = 0) -> Cameras:
        """Cameras at these places (degrees, [C] both) for pictures of size², with ids from `first` on."""
        e, a = np.broadcast_arrays(np.radians(elevations), np.radians(azimuths))
        e, a = np.atleast_1d(e), np.atleast_1d(a)
        back = np.stack([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], axis=1)
        right = np.stack([np.cos(a), np.zeros(len(a)), -np.sin(a)], axis=1)
        poses = np.tile(np.eye(4), (len(a), 1, 1))
        poses[:, :3, :3] = np.stack([right, -np.cross(back, right), -back], axis=1)
        poses[:, 2, 3] = self.distance
        focal = size / 2 / np.tan(np.radians(self.angle / 2))
        lens = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
        return Cameras(
            poses.astype(np.float32),
            np.tile(lens, (len(a), 1, 1)).astype(np.float32),
            size,
            size,
            tuple(range(first, first + len(a))),
        )

    def pseudo(self, size: int) -> Cameras:
        """The sixteen cameras of pseudo views, with ids from 1 on; the reference's is 0."""
        return self.cameras(PSEUDO_ELEVATION, PSEUDO_AZIMUTHS, size, first=1)


FOURDGEN = Lens(40.0, 2.5)
"""What 4DGen takes all cameras to be (Yin et al. 2023), and what a picture of unknown origin is taken with here."""
SYNCDREAMER = Lens(float(2 * np.degrees(np.arctan(128 / 280))), 1.5)
"""What SyncDreamer's pictures are of: 280 pixels of focal length at 256."""
LENSES = {"syncdreamer": SYNCDREAMER, "4dgen": FOURDGEN}
