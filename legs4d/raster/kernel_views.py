"""Cameras as `_csrc.project` takes them. Imports no torch: lifting goes without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d import _csrc
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


def active_tiles(region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[C, tiles] 1 where a tile of `region` [C, H, W] holds a pixel that is needed; tiles row by row."""
    tile = _csrc.TILE
    count, height, width = region.shape
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.zeros((count, rows * tile, columns * tile), dtype=bool)
    padded[:, :height, :width] = region
    return padded.reshape(count, rows, tile, columns, tile).any(axis=(2, 4)).reshape(count, -1).astype(np.uint8)
