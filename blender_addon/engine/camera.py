"""Blender's cameras as the rasteriser takes them: OpenCV axes (x right, y down, z forward), pixel centres at +0.5.

Pure numpy: what Blender knows comes in as its own matrices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Matrix = np.ndarray[Any, np.dtype[np.float64]]

FROM_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])
"""Blender's camera axes (x right, y up, z back) to OpenCV's."""

FAR_AWAY = 1000.0
"""Half widths that stand between a parallel view and the pinhole in its place: its lines converge by a thousandth."""


@dataclass(frozen=True)
class View:
    """A pinhole camera.

    Attributes:
        world_to_camera: [4, 4] rigid.
        fx, fy, cx, cy: pixels.
        width, height: pixels.
        crop: (left, top, width, height) of the part that is wanted, in pixels from the upper left corner; None is all.
        setback: how far the pinhole is behind the camera that it stands for; depths are larger by that. 0 for
            perspective cameras.
    """

    world_to_camera: Matrix
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    crop: tuple[int, int, int, int] | None = None
    setback: float = 0.0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is wanted."""
        return self.crop[2:] if self.crop else (self.width, self.height)

    def reduced(self, factor: int) -> View:
        """The same view in pixels `factor` times as large, at least one."""
        width, height = max(1, self.width // factor), max(1, self.height // factor)
        across, down = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * across,
            cx=self.cx * across,
            fy=self.fy * down,
            cy=self.cy * down,
            width=width,
            height=height,
        )


def view(projection: Any, camera_to_world: Any, width: int, height: int) -> View:
    """The pinhole that shows what Blender's matrices show.

    Args:
        projection: 4×4, from Blender's camera axes to clip space: of a perspective (with any shift) or parallel view.
        camera_to_world: 4×4, Blender's; its scale is ignored, as Blender ignores it.
        width, height: of the picture, pixels.
    """
    p = np.array(projection, np.float64)
    model = np.array(camera_to_world, np.float64)
    model[:3, :3] /= np.linalg.norm(model[:3, :3], axis=0)
    to_camera = FROM_BLENDER @ np.linalg.inv(model)
    if p[3, 3] == 0.0:
        shift_x, shift_y, setback = -p[0, 2], p[1, 2], 0.0
    else:
        shift_x, shift_y, setback = p[0, 3], -p[1, 3], FAR_AWAY / p[0, 0]
        to_camera[2, 3] += setback
    stretch = setback or 1.0
    return View(
        world_to_camera=to_camera,
        fx=p[0, 0] * stretch * width / 2,
        fy=p[1, 1] * stretch * height / 2,
        cx=(1 + shift_x) * width / 2,
        cy=(1 + shift_y) * height / 2,
        width=width,
        height=height,
        setback=setback,
    )


def border_pixels(border: tuple[float, float, float, float], width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) in pixels of a render border (min x, max x, min y, max y; from below).

    As Blender cuts it: multiplied in single precision, what is behind the point dropped.
    """
    left, right = (int(np.float32(edge) * np.float32(width)) for edge in border[:2])
    bottom, upper = (int(np.float32(edge) * np.float32(height)) for edge in border[2:])
    return left, height - upper, right - left, upper - bottom


def fitted(fit: str, width: int, height: int, aspect_x: float = 1.0, aspect_y: float = 1.0) -> float:
    """The side of the picture, in pixels of its width, that a camera's sensor width or height stands for.

    Args:
        fit: Blender's `sensor_fit`.
        aspect_x, aspect_y: of a pixel.
    """
    across = fit == "HORIZONTAL" or (fit == "AUTO" and width * aspect_x >= height * aspect_y)
    return float(width) if across else height * aspect_y / aspect_x


def shifted(projection: Any, share: float) -> Matrix:
    """A projection whose picture is moved by this share of its width, as a lens shift does."""
    p = np.array(projection, np.float64)
    if p[3, 3] == 0.0:
        p[0, 2] += 2.0 * share
    else:
        p[0, 3] -= 2.0 * share
    return p
