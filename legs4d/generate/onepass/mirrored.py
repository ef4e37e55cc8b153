"""An object in a mirror: a network answers it a little differently, and the mean of both answers errs less than either.

The mirror is x = 0 of the world of the cameras, in which the video's stands: left becomes right, and cameras that
stand as L4GM's four do become each other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from legs4d.gaussians.gaussians import Gaussians
from legs4d.generate.onepass.views import SideViews

_PLACE = np.array([-1, 1, 1], np.float32)
"""Signs of x y z."""
_TURN = np.array([1, 1, -1, -1], np.float32)
"""Signs of the parts w x y z of a turn."""


def mirrored_pictures(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[..., H, W, 4] of a camera on the mirror."""
    return np.ascontiguousarray(pictures[..., ::-1, :])


def mirrored_views(views: SideViews) -> SideViews:
    """What stands on the left was seen on the right: the last of the azimuths is the first one's image."""
    assert [-azimuth % 360 for azimuth in views.azimuths] == [*reversed(views.azimuths)]
    return replace(views, pictures=mirrored_pictures(views.pictures[::-1]))


def mirrored(gaussians: Gaussians) -> Gaussians:
    """Numpy Gaussians without view dependence."""
    return gaussians.replace(means=gaussians.means * _PLACE, quats=gaussians.quats * _TURN)
