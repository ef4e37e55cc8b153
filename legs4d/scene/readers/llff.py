"""LLFF's camera file, `poses_bounds.npy`: a row of 17 numbers per camera; and whose picture or video each row is.

A row holds a 3×5 matrix (camera to world with axes down, right, backwards; then height, width and focal length of the
full pictures) and two depth bounds. Rows have no names: they are in the order of the files that they were made from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError, reason_of
from legs4d.scene.footage.arrays import ARRAY_ERRORS
from legs4d.scene.lens import Lens

SAME_SHAPE = 0.02
"""Relative difference of two pictures' width by height that is rounding."""


@dataclass(frozen=True)
class LlffCamera:
    """One row: world to camera [4, 4], OpenCV; size and focal length of the full pictures, pixels; camera z of the
    nearest and the farthest that it sees, scene units."""

    world_to_camera: NDArray[np.float64]
    width: float
    height: float
    focal: float
    bounds: tuple[float, float]

    def lens(self, size: tuple[int, int], where: str) -> Lens:
        """For pictures of this size, which may be scaled, but not cut. Raises DatasetError when they are cut."""
        width, height = size
        if not abs(self.width * height - self.height * width) <= SAME_SHAPE * self.height * width:
            raise DatasetError(
                f"is calibrated for {self.width:g}×{self.height:g} pixels, its pictures are {width}×{height}",
                where=where,
                fix="pictures may be scaled, but not cropped",
            )
        focal = self.focal * width / self.width, self.focal * height / self.height
        return Lens("PINHOLE", width, height, focal, (width / 2, height / 2))


def read_poses(path: Path) -> list[LlffCamera]:
    """The rows of a file. Raises DatasetError when it cannot be read or holds something else."""
    try:
        rows = np.load(path, allow_pickle=False)
    except ARRAY_ERRORS as error:
        fix = "copy the dataset again"
        raise DatasetError(f"cannot be read ({reason_of(error)})", where=str(path), fix=fix) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        shape = f"{rows.dtype} {rows.shape}" if isinstance(rows, np.ndarray) else "an archive"
        raise DatasetError(f"is {shape}", where=str(path), fix="it must be [cameras, 17] numbers")
    return [_camera(row.astype(np.float64)) for row in rows]


def match_rows(
    names: Sequence[str], num_rows: int, where: str, what: str = "videos or folders cam*"
) -> tuple[list[int], str | None]:
    """The row of each file, and a note where that is not simply the order of names.

    As many files as rows belong together in order. Where files have been taken out, their numbers tell the rows: cam05
    has row 5, as names begin at 0 in this layout; or row 4, where a number as high as the number of rows shows that
    they begin at 1.

    Args:
        names: in natural order.
        what: is named by them, in the plural.

    Raises:
        DatasetError: there are more files than rows, or their numbers do not tell.
    """
    if len(names) == num_rows:
        return list(range(num_rows)), None
    found = [re.findall(r"\d+", name) for name in names]
    numbers = [int(digits[-1]) if digits else -1 for digits in found]
    first = 1 if num_rows in numbers and 0 not in numbers else 0
    rows = [number - first for number in numbers]
    if not names or len(names) > num_rows or len(set(rows)) < len(rows) or not all(0 <= r < num_rows for r in rows):
        raise DatasetError(
            f"has {num_rows} poses, but there are {len(names)} {what}, whose names do not tell which pose is whose",
            where=where,
            fix="copy the dataset again, and leave cameras out with --leave-out",
        )
    gone = num_rows - len(names)
    return rows, (
        f"{gone} of {num_rows} cameras {'has' if gone == 1 else 'have'} no footage: the others have the poses that "
        f"their numbers say, counted from {first} ({names[0]}: row {rows[0]} of the poses)."
    )


def bounds_of(cameras: Sequence[LlffCamera]) -> tuple[float, float] | None:
    """Camera z of the nearest and the farthest that any of these cameras sees; None where a row says nothing usable."""
    near, far = np.array([camera.bounds for camera in cameras]).T
    usable = np.isfinite([near, far]).all() and (near > 0).all() and (far > near).all()
    return (float(near.min()), float(far.max())) if usable else None


def _camera(row: NDArray[np.float64]) -> LlffCamera:
    down, right, back, center, (height, width, focal) = row[:15].reshape(3, 5).T
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = np.stack([right, down, -back])  # OpenCV's axes in the world
    world_to_camera[:3, 3] = -world_to_camera[:3, :3] @ center
    return LlffCamera(world_to_camera, float(width), float(height), float(focal), (float(row[15]), float(row[16])))
