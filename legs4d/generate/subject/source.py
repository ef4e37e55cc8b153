"""The source of an object: a video, a folder of pictures, or one picture, cut out and put into the middle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label

from legs4d.errors import DatasetError
from legs4d.generate.resizing import square, within
from legs4d.generate.subject.background import Cut, cut_out
from legs4d.progress import StageReporter
from legs4d.scene.footage.names import PICTURES, in_order, list_files
from legs4d.scene.given import which_takes
from legs4d.scene.images import as_bytes, as_unit, read_picture
from legs4d.scene.movies.movie import Movie
from legs4d.scene.movies.span import FOLDER_FPS, chosen_span

FILLED = 0.8
"""Share of a picture's side that the object's longest side takes, over all frames (4DGen)."""
MOST_FRAMES = 600
MOST_READ = 768
"""Pixels of a side beyond which pictures are made smaller before anything is cut out of them."""
HALF = 128
"""Alpha, of 255, from which on a pixel is the object's."""
SECOND = 0.3
"""Of the largest part's pixels: a part that lies apart and has more is another object."""
APART = 0.8
"""Share of the frames in which it lies apart."""
UNSTEADY = 1.5
"""Times that what a helper cuts out may grow or shrink from one picture to the next, without a word."""
CUT_OFF = 0.02
"""Share of the object's pixels on a picture's edge from which on it is told that the picture cuts it off."""


@dataclass(frozen=True)
class Subject:
    """An object in T pictures of one camera that stands still.

    Attributes:
        pictures: [T, S, S, 4] uint8 RGBA, colours times alpha.
        fps: pictures a second.
        by: how it was cut out.
        crop: (left, top, side) of the square that the pictures show, in pixels of the source.
        notes: what should be known of it, a sentence each.
    """

    pictures: NDArray[np.uint8]
    fps: float
    by: Cut
    crop: tuple[float, float, float]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def alphas(self) -> NDArray[np.float32]:
        """[T, S, S] 0..1."""
        return self.pictures[..., 3].astype(np.float32) / np.float32(255)


def source_files(path: Path) -> list[Path]:
    """The files that a source consists of, in their order. Raises DatasetError where there are none."""
    if path.is_dir():
        files = list_files(path, PICTURES)
        if not files:
            fix = which_takes(path) or "give a video, a picture or a folder of frames"
            raise DatasetError("holds no pictures", where=str(path), fix=fix)
        names = in_order([file.name for file in files], "pictures", str(path))
        return [path / name for name in names]
    if not path.exists():
        fix = "give a video, a picture or a folder of frames; words have spaces, or neither suffix nor slash"
        raise DatasetError("there is no such file or folder", where=str(path), fix=fix)
    return [path]


def read_subject(
    path: Path,
    size: int,
    device: torch.device,
    reporter: StageReporter,
    *,
    frames: tuple[int, int] | None = None,
    fps: float | None = None,
    centred: bool = True,
) -> Subject:
    """The object of a source, in square pictures.

    Args:
        size: S, pixels.
        frames: first and last that count, both included.
        fps: where the source's own is not to count.
        centred: whether to put the object into the middle; else the picture is taken as it is, and has to be square.

    Raises:
        DatasetError: it cannot be read, shows no object, or two.
        Stopped: the reporter says so.
    """
    coming = _Pictures(path, frames)
    pictures = []
    for number, picture in enumerate(coming):
        reporter.step(number, len(coming))
        # Bytes: as floats, a long video would need four times the memory.
        pictures.append(as_bytes(within(picture, MOST_READ)))
    if any(p.shape[:2] != pictures[0].shape[:2] for p in pictures):
        fix = "give frames of one video"
        raise DatasetError("the pictures are not all of one size", where=str(path), fix=fix)
    if any(p.shape[2] != pictures[0].shape[2] for p in pictures):
        pictures = [
            p if p.shape[2] == 4 else np.pad(p, ((0, 0), (0, 0), (0, 1)), constant_values=255) for p in pictures
        ]
    cut = cut_out(pictures, str(path), device, reporter, coming.first)
    del pictures
    _check_one_object(cut.pictures[..., 3], path, coming.first)
    height, width = cut.pictures.shape[1:3]
    if centred:
        crop = _middle(cut.pictures[..., 3])
    elif width != height:
        fix = "give square pictures, as the views' cameras see them"
        raise DatasetError(f"the pictures are {width}×{height}", where=str(path), fix=fix)
    else:
        crop = (0.0, 0.0, float(width))
    notes = []
    if _on_edge(cut.pictures[..., 3]) > CUT_OFF:
        notes.append("The picture's edge cuts the object off: beyond it nothing is known of it.")
    if cut.by == "u2netp" and (leap := _leap(cut.pictures[..., 3]))[1] > UNSTEADY:
        before, times = coming.first + leap[0], leap[1]
        notes.append(
            f"What is cut out changes {times:.1f} times in size from picture {before} to {before + 1}: in one of them "
            "it is hardly the object alone. Look at both; give pictures with alpha, or others by --frames."
        )
    shown = np.stack([square(as_unit(picture), crop, size) for picture in cut.pictures])
    own = coming.width / width
    return Subject(shown, fps or coming.fps, cut.by, (crop[0] * own, crop[1] * own, crop[2] * own), tuple(notes))


class _Pictures:
    """The pictures of a source, one after the other, [H, W, 3 or 4] in 0..1."""

    def __init__(self, path: Path, frames: tuple[int, int] | None) -> None:
        files = source_files(path)
        self._movie: Movie | None = None
        if path.is_file() and path.suffix.casefold() not in PICTURES:
            self._movie = Movie(path)
        count = self._movie.num_frames if self._movie else len(files)
        numbers = chosen_span(frames, count, path)
        if self._movie and len(numbers) == 1:
            fix = "give a longer one, or save that frame as a picture"
            raise DatasetError("is a video of a single frame, in which nothing moves", where=str(path), fix=fix)
        if len(numbers) > MOST_FRAMES:
            what = f"has {len(numbers)} frames, and {MOST_FRAMES} are the most that are taken together"
            fewer = numbers[:MOST_FRAMES]
            raise DatasetError(what, where=str(path), fix=f"choose some by --frames {fewer[0]}:{fewer[-1]}")
        self._numbers, self._files, self.first = numbers, files, numbers[0]
        self.fps = self._movie.fps if self._movie else FOLDER_FPS
        self.width = self._movie.shown_width if self._movie else read_picture(files[0]).shape[1]

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for number in self._numbers:
            if self._movie is not None:
                yield self._movie.read(number, square=True).astype(np.float32) / np.float32(255)
            else:
                yield as_unit(read_picture(self._files[number]))


def _check_one_object(alphas: NDArray[np.uint8], path: Path, first: int) -> None:
    """Raise DatasetError where a frame shows nothing, or most show two things."""
    apart, share = 0, 0.0
    for number, alpha in enumerate(alphas):
        parts, count = label(alpha >= HALF)
        if not count:
            what = f"picture {first + number} shows no object"
            raise DatasetError(what, where=str(path), fix="leave it out, by --frames FIRST:LAST")
        sizes = np.sort(np.bincount(parts.ravel())[1:])
        if count > 1 and sizes[-2] > SECOND * sizes[-1]:
            apart += 1
            share = max(share, float(sizes[-2] / sizes[-1]))
    if apart >= APART * len(alphas):
        what = f"shows two objects (the second has {share:.0%} of the first's pixels)"
        raise DatasetError(what, where=str(path), fix="make all but one transparent, and give them one after the other")


def _middle(alphas: NDArray[np.uint8]) -> tuple[float, float, float]:
    """(left, top, side) of the square that shows all that the object reaches, at `FILLED` of it."""
    rows, columns = (np.flatnonzero((alphas >= HALF).any(axis=axes)) for axes in ((0, 2), (0, 1)))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    side = max(bottom - top, right - left) / FILLED
    return float((left + right - side) / 2), float((top + bottom - side) / 2), float(side)


def _leap(alphas: NDArray[np.uint8]) -> tuple[int, float]:
    """The picture after which the object's size in pixels changes most, and how many times."""
    sizes = (alphas >= HALF).sum(axis=(1, 2)).astype(np.float64)
    if len(sizes) < 2:
        return 0, 1.0
    changes = np.exp(np.abs(np.diff(np.log(sizes))))
    return int(changes.argmax()), float(changes.max())


def _on_edge(alphas: NDArray[np.uint8]) -> float:
    """Largest share of an object's pixels that lie on the picture's edge."""
    solid = alphas >= HALF
    edge = np.ones(alphas.shape[1:], np.bool_)
    edge[1:-1, 1:-1] = False
    return float(((solid & edge).sum(axis=(1, 2)) / solid.sum(axis=(1, 2)).clip(min=1)).max())
