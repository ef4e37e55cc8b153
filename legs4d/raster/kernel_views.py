"""Cameras as `_csrc.project` takes them. Imports no torch: lifting goes without."""

from __future__ import annotations

from typing import Any

import numpy as np

from legs4d.raster.constants import BLUR
from legs4d.scene.camera import Cameras


def camera_options(cameras: Cameras, near: float) -> dict[str, Any]:
    """What `_csrc.project` wants to know of the cameras."""
    return {
        "viewmats": np.ascontiguousarray(cameras.world_to_camera, dtype=np.float32),
        "intrinsics": np.ascontiguousarray(cameras.intrinsics, dtype=np.float32),
        "width": cameras.width,
        "height": cameras.height,
        "near_plane": near,
        "blur": BLUR,
    }
