"""The motion video: its pictures at the size of a camera, and whether that camera stood still."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from legs4d.errors import DatasetError
from legs4d.scene.footage.names import PICTURES, list_files
from legs4d.scene.given import which_takes
from legs4d.scene.images import area_resize, as_unit, read_picture
from legs4d.scene.movies.movie import Movie
from legs4d.scene.movies.span import FOLDER_FPS, chosen_span

LIKE = 0.02
"""Relative difference of two shapes of pictures that is rounding."""
COLUMNS, ROWS = 6, 4
"""Patches in which it is looked whether a camera moved."""
MOVED = 0.012
"""Of the picture's width: a patch that is found farther off than this has moved."""
SURE = 0.35
"""Height of a peak of phase correlation, of 1, from which it is believed."""
CHANGED = 0.12
"""Colour difference (0..1) of a place that shows something else."""
MOST_CHANGED = 0.6
"""Share of a picture beside the object that shows something else after a cut."""

Picture = NDArray[np.float32]


class MotionVideo:
    """A video file, or a folder of pictures.

    Args:
        frames: first and last that count, both included.

    Attributes:
        width, height: as it is shown, pixels.
        fps: pictures a second.

    Raises:
        DatasetError: it cannot be read, or has no such frames.
    """

    def __init__(self, path: Path, frames: tuple[int, int] | None = None, fps: float | None = None) -> None:
        self.path, self._movie, self._files = path, None, list[Path]()
        if path.is_dir():
            self._files = list_files(path, PICTURES)
            if not self._files:
                fix = which_takes(path) or "give a video, or a folder of its frames"
                raise DatasetError("holds no pictures", where=str(path), fix=fix)
            first = read_picture(self._files[0])
            self.height, self.width, count, own = first.shape[0], first.shape[1], len(self._files), FOLDER_FPS
        elif path.exists():
            self._movie = Movie(path)
            self.width, self.height = self._movie.shown_width, self._movie.shown_height
            count, own = self._movie.num_frames, self._movie.fps
        else:
            raise DatasetError("there is no such file or folder", where=str(path), fix="give a video of the motion")
        chosen = chosen_span(frames, count, path)
        self.first, self.num_frames, self.fps = chosen.start, len(chosen), fps or own
        if self.num_frames < 2:
            raise DatasetError("has a single frame, in which nothing moves", where=str(path), fix="give a longer video")

    def read(self, frame: int, width: int, height: int) -> Picture:
        """[height, width, 3] 0..1 of a frame, counted from the first that counts. Raises DatasetError if damaged."""
        number = self.first + frame
        picture: Picture
        if self._movie is not None:
            picture = self._movie.read(number, square=True).astype(np.float32) / np.float32(255)
        else:
            picture = as_unit(read_picture(self._files[number]))[..., :3]
        if picture.shape[:2] == (height, width):
            return np.ascontiguousarray(picture)
        return area_resize(picture, width, height)

    def check_shape(self, width: int, height: int) -> None:
        """Raise DatasetError when the pictures are not of a camera's shape."""
        if abs(self.width / self.height / (width / height) - 1) > LIKE:
            raise DatasetError(
                f"has pictures of {self.width}×{self.height}, and the camera has {width}×{height}",
                where=str(self.path),
                fix="cut the video to the camera's shape, or name the camera that it was made with",
            )


@dataclass(frozen=True)
class Still:
    """What a frame shows beside the object, against the first frame.

    Attributes:
        moved: share of the patches that can be told which lie elsewhere.
        changed: share of the places that show something else.
    """

    moved: float
    changed: float


def compare_surroundings(first: Picture, now: Picture, beside: NDArray[np.bool_]) -> Still:
    """Whether what is beside the object still is as it was.

    Args:
        first, now: [H, W, 3]; beside: [H, W] which pixels are not the object, in both.
    """
    height, width = beside.shape
    grey = [gaussian_filter(picture.mean(-1), 0.004 * width) for picture in (first, now)]
    told = moved = 0
    for top, bottom in _spans(height, ROWS):
        for left, right in _spans(width, COLUMNS):
            inside = np.s_[top:bottom, left:right]
            if beside[inside].mean() < 0.9 or grey[0][inside].std() < 0.02:
                continue
            shift, sure = _shift(grey[0][inside], grey[1][inside])
            if sure >= SURE:
                told += 1
                moved += float(np.hypot(*shift)) > max(1.0, MOVED * width)
    apart = np.abs(gaussian_filter(first, (2, 2, 0)) - gaussian_filter(now, (2, 2, 0))).mean(-1)
    changed = float((apart[beside] > CHANGED).mean()) if beside.any() else 0.0
    return Still(moved / told if told >= 3 else 0.0, changed)


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, length, parts + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in pairwise(edges)]


def _shift(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Pixels (down, right) from one patch to the other, and how sure that is: phase correlation (Kuglin 1975)."""
    taper = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    a, b = (np.fft.rfft2((patch - patch.mean()) * taper) for patch in (one, other))
    product = np.conj(a) * b
    # Weak frequencies are noise: they are damped, not raised to the others' size.
    weight = np.abs(product) + 0.05 * np.abs(product).max()
    surface = np.fft.irfft2(product / weight, one.shape)
    total = float((np.abs(product) / weight).mean())
    at = np.unravel_index(int(surface.argmax()), surface.shape)
    size = np.array(one.shape)
    shift = (np.array(at) + size // 2) % size - size // 2
    return shift.astype(np.float64), float(surface.max()) / max(total, 1e-9)
