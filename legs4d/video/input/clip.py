"""The pictures of a video, a folder of them, or DreamScene4D's layout; at the size at which they are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.scene.footage.names import PICTURES, list_files, list_folder, numbers_of
from legs4d.scene.given import which_takes
from legs4d.scene.images import area_resize, as_bytes, as_unit, read_picture
from legs4d.scene.movies.movie import Movie
from legs4d.scene.movies.span import FOLDER_FPS, chosen_span

LAYOUT = "JPEGImages"
"""Folder of DreamScene4D's and DAVIS's layout, which has a folder of pictures a video."""
LONGER_SIDE = 640
"""Pixels to which larger pictures are reduced, where no scale is told."""
MOST_BYTES = 3 << 30
"""Of all pictures together, 8 bits a channel, and of the masks."""
THUMB = 32
CUT_DIFFERENCE, CUT_TIMES, CUT_COLOURS = 0.12, 4.0, 0.35
"""A cut: thumbnails differ by more than this, by so many times more than others around, and so do the colours
(half the sum of absolute differences of two histograms)."""


@dataclass(frozen=True)
class Clip:
    """T pictures.

    Attributes:
        path: as it was given.
        names: T, of the pictures' files without suffix; of a video its frames' numbers, five digits.
        numbers: T, of the frames in what they come from.
        pictures: [T, H, W, 3] uint8.
        fps: pictures a second; times: [T] seconds from the first.
        full: (width, height) before they were reduced.
        root, name: of DreamScene4D's layout, the folder with JPEGImages, and the video's name in it.
        notes: what a person should know, a sentence each.
    """

    path: Path
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    pictures: NDArray[np.uint8]
    fps: float
    times: NDArray[np.float64]
    full: tuple[int, int]
    root: Path | None = None
    name: str = ""
    notes: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        return len(self.pictures)

    @property
    def height(self) -> int:
        return int(self.pictures.shape[1])

    @property
    def width(self) -> int:
        return int(self.pictures.shape[2])

    def picture(self, frame: int) -> NDArray[np.float32]:
        """[H, W, 3] 0..1."""
        return self.pictures[frame].astype(np.float32) / np.float32(255)


def open_clip(
    path: Path,
    reporter: StageReporter,
    *,
    frames: tuple[int, int] | None = None,
    scale: float | None = None,
    fps: float | None = None,
) -> Clip:
    """Read a video or a folder.

    Args:
        frames: first and last that count, both included, counted from 0; all by default.
        scale: of the pictures' size; by default so that the longer side is at most `LONGER_SIDE`.
        fps: where a folder's is known.

    Raises:
        DatasetError: it cannot be read, is too much at once, or has a cut.
    """
    if not path.exists():
        raise DatasetError("there is no such file or folder", where=str(path), fix="give a video, or its pictures")
    root, name = None, ""
    notes: tuple[str, ...] = ()
    if path.is_dir():
        folder, root, name = _folder_of_pictures(path)
        files = list_files(folder, PICTURES)
        if not files:
            fix = which_takes(folder) or "give a video, or a folder of its frames"
            raise DatasetError("holds no pictures", where=str(folder), fix=fix)
        chosen = chosen_span(frames, len(files), path)
        height, width = read_picture(files[0]).shape[:2]
        size = _size(width, height, scale)
        _check_room(len(chosen), size, path)
        pictures = np.empty((len(chosen), size[1], size[0], 3), np.uint8)
        for row, number in enumerate(chosen):
            reporter.step(row, len(chosen))
            picture = read_picture(files[number])
            if picture.shape[:2] != (height, width):
                told = f"is {picture.shape[1]}×{picture.shape[0]}, and the first picture {width}×{height}"
                raise DatasetError(told, where=str(files[number]), fix="give pictures of one size")
            pictures[row] = _small(as_unit(picture)[..., :3], size)
        names = tuple(files[number].stem for number in chosen)
        own = fps or FOLDER_FPS
        times = np.array(chosen, np.float64) / own
        if fps is None:
            notes = (
                f"No rate is told of a folder: {FOLDER_FPS:g} pictures a second are taken (--fps says otherwise).",
            )
        numbers = tuple(_file_number(files[number].stem, number) for number in chosen)
    else:
        movie = Movie(path)
        chosen = chosen_span(frames, movie.num_frames, path)
        width, height = movie.shown_width, movie.shown_height
        size = _size(width, height, scale)
        _check_room(len(chosen), size, path)
        pictures = np.empty((len(chosen), size[1], size[0], 3), np.uint8)
        for row, number in enumerate(chosen):
            reporter.step(row, len(chosen))
            pictures[row] = _small(movie.read(number, square=True).astype(np.float32) / np.float32(255), size)
        names = tuple(f"{number:05d}" for number in chosen)
        own = fps or movie.fps
        times = movie.seconds[list(chosen)] if fps is None else np.array(chosen, np.float64) / fps
        notes, numbers = movie.notes, tuple(chosen)
    reporter.step(len(chosen), len(chosen))
    cut = find_cut(pictures)
    if cut is not None:
        before = f"{chosen[0]}:{chosen[cut - 1]}"
        raise DatasetError(
            f"there is a cut between frames {chosen[cut - 1]} and {chosen[cut]}",
            where=str(path),
            fix=f"make a scene of each part, as by --frames {before}",
        )
    return Clip(path, names, numbers, pictures, float(own), times - times[0], (width, height), root, name, notes)


def find_cut(pictures: NDArray[np.uint8]) -> int | None:
    """The first frame that shows another scene than the one before it; None where there is none."""
    if len(pictures) < 2:
        return None
    rows, columns = (np.linspace(0, side - 1, THUMB).round().astype(int) for side in pictures.shape[1:3])
    # neighbouring pixels together: a thumbnail of single ones would flicker with every leaf
    thumbs = (
        np.mean(
            [
                pictures[:, np.minimum(rows + y, pictures.shape[1] - 1)][
                    :, :, np.minimum(columns + x, pictures.shape[2] - 1)
                ]
                for y in (0, 3)
                for x in (0, 3)
            ],
            axis=0,
        )
        / 255
    )
    apart = np.abs(np.diff(thumbs, axis=0)).mean(axis=(1, 2, 3))
    bins = np.clip((thumbs * 6).astype(int), 0, 5)
    codes = (bins * [36, 6, 1]).sum(axis=-1).reshape(len(pictures), -1)
    shares = np.stack([np.bincount(row, minlength=216) for row in codes]) / codes.shape[1]
    colours = np.abs(np.diff(shares, axis=0)).sum(axis=1) / 2
    for at in range(len(apart)):
        around = np.delete(apart[max(0, at - 6) : at + 7], min(at, 6))
        usual = float(np.median(around)) if len(around) else 0.0
        if apart[at] > CUT_DIFFERENCE and apart[at] > CUT_TIMES * usual and colours[at] > CUT_COLOURS:
            return at + 1
    return None


def _folder_of_pictures(path: Path) -> tuple[Path, Path | None, str]:
    """The folder that holds the pictures; of DreamScene4D's layout also its root and the video's name."""
    if path.parent.name == LAYOUT:
        return path, path.parent.parent, path.name
    inside = path / LAYOUT
    if not inside.is_dir():
        return path, None, ""
    if list_files(inside, PICTURES):
        return inside, path, ""
    videos = [folder for folder in list_folder(inside) if folder.is_dir()]
    if len(videos) != 1:
        names = ", ".join(folder.name for folder in videos[:8])
        what = f"holds {len(videos)} videos ({names})" if videos else "holds no video"
        raise DatasetError(what, where=str(inside), fix=f"name one: {inside}/NAME")
    return videos[0], path, videos[0].name


def _size(width: int, height: int, scale: float | None) -> tuple[int, int]:
    share = min(1.0, LONGER_SIDE / max(width, height)) if scale is None else scale
    return max(16, round(width * share)), max(16, round(height * share))


def _check_room(count: int, size: tuple[int, int], path: Path) -> None:
    needed = 5 * count * size[0] * size[1]
    if needed > MOST_BYTES:
        what = f"{count} pictures of {size[0]}×{size[1]} are more than is looked at together"
        smaller = max(0.01, (MOST_BYTES / needed) ** 0.5)
        fewer = int(count * MOST_BYTES / needed) - 1
        fix = f"take fewer by --frames 0:{fewer}, or smaller ones by --scale, {smaller:.2f} of now"
        raise DatasetError(what, where=str(path), fix=fix)


def _small(picture: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    resized = area_resize(picture, *size)
    return as_bytes(resized)


def _file_number(stem: str, otherwise: int) -> int:
    return numbers_of([stem])[0] if any(letter.isdecimal() for letter in stem) else otherwise
