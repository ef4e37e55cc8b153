"""Calibrated pinhole cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cameras:
    """C pinhole cameras of one image size, OpenCV convention (x right, y down, z forward).

    Attributes:
        world_to_camera: [C, 4, 4] float32, rigid.
        intrinsics: [C, 3, 3] float32, pixels; pixel (0, 0) has its centre at (0.5, 0.5).
        width, height: image size in pixels.
        ids: C dataset camera numbers.
    """

    world_to_camera: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    width: int
    height: int
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.world_to_camera)

    def take(self, indices: list[int] | NDArray[np.integer]) -> Cameras:
        """The cameras at these positions (not ids), in this order."""
        picked = np.asarray(indices, dtype=np.int64)
        return Cameras(
            self.world_to_camera[picked],
            self.intrinsics[picked],
            self.width,
            self.height,
            tuple(self.ids[i] for i in picked),
        )

    @classmethod
    def together(cls, parts: Sequence[Cameras]) -> Cameras:
        """Cameras of one size, at least one part of them, in one table."""
        return cls(
            np.concatenate([part.world_to_camera for part in parts]),
            np.concatenate([part.intrinsics for part in parts]),
            parts[0].width,
            parts[0].height,
            tuple(i for part in parts for i in part.ids),
        )

    def scaled(self, scale: float) -> Cameras:
        """The same cameras for images resized to round(scale·W) × round(scale·H).

        fx and cx are multiplied by the ratio of the widths, fy and cy by that of the heights: with `scale` itself
        everything would lie up to half a pixel beside where it is in the picture.
        """
        width, height = round(self.width * scale), round(self.height * scale)
        intrinsics = self.intrinsics.copy()
        intrinsics[:, 0] *= width / self.width
        intrinsics[:, 1] *= height / self.height
        return Cameras(self.world_to_camera, intrinsics, width, height, self.ids)

    @property
    def centers(self) -> NDArray[np.float32]:
        """[C, 3] camera positions in the world."""
        rotation, translation = self.world_to_camera[:, :3, :3], self.world_to_camera[:, :3, 3]
        return -np.einsum("cji,cj->ci", rotation, translation)
