"""Videos of several cameras on one clock: which picture of each belongs to a frame.

Videos begin at the same moment unless offsets say otherwise. Their frame rates may differ: frames come at the lowest,
and each shows the picture of every video that is nearest in time. Frames that not all videos show are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.readers.movie import Movie

FEW_FRAMES, FEW_SHARE = 5, 0.1
"""Videos that end so many frames apart at most, and by so much of the longest, were stopped one after another; where
they differ by more, they may not have begun at once either, and nothing is guessed."""
SAME_SHAPE = 0.02
"""Relative difference of two pictures' width by height that is rounding."""
SAME_RATE = 1e-4
"""Relative difference of frame rates that is rounding."""
IN_STEP = 0.25
"""Frames by which pictures of one number may be apart in time and still belong together."""
ABOUT = 1.1
"""Times the lowest rate: a steady rate below this is preferred to an average one."""


class MovieSet:
    """Synchronised videos.

    Args:
        paths: the videos, a camera each.
        offsets: seconds by which each was begun later than some common moment; None where nothing is known, and then
            they must be of about the same length.

    Attributes:
        sizes: (width, height) of each video's pictures, pixels.
        num_frames: how many frames all of them show.
        fps: frames per second.
        notes: what a person should know of them, a sentence each.

    Raises:
        DatasetError: one cannot be read, they differ in length without offsets, or share no moment.
    """

    def __init__(self, paths: Sequence[Path], offsets: Sequence[float] | None = None) -> None:
        self.movies = [Movie(path) for path in paths]
        self._is_square = [False] * len(self.movies)
        self.sizes = [(movie.width, movie.height) for movie in self.movies]
        rate = self._common_rate()
        self.fps = float(rate)
        if offsets is None:
            self._check_lengths()
        begins = np.zeros(len(paths)) if offsets is None else np.array(offsets, np.float64)
        self._is_in_step = self._are_in_step(begins)
        if self._is_in_step:
            self.num_frames = min(movie.num_frames for movie in self.movies)
            self._chosen = [np.arange(self.num_frames)] * len(paths)
        else:
            self._chosen = self._choose_pictures(begins)
            self.num_frames = len(self._chosen[0])
        self.notes = tuple(self._describe(begins))

    def read(self, position: int, frame: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB of the video at this position; DatasetError when it is damaged there. For several threads."""
        return self.movies[position].read(int(self._chosen[position][frame]), square=self._is_square[position])

    def fit_shape(self, position: int, width: float, height: float) -> bool:
        """Whether a video's pictures have the shape of a calibration: as stored or, if need be, with square pixels."""
        movie = self.movies[position]
        stored, shown = (movie.width, movie.height), (movie.shown_width, movie.shown_height)
        for is_square, (w, h) in ((False, stored), (True, shown)):
            if abs(width * h - height * w) <= SAME_SHAPE * height * w:
                self._is_square[position], self.sizes[position] = is_square, (w, h)
                return True
        self._is_square[position], self.sizes[position] = False, stored
        return False

    def describe_size(self, position: int) -> str:
        """W×H, and how players show it where that differs."""
        movie = self.movies[position]
        stored, shown = f"{movie.width}×{movie.height}", f"{movie.shown_width}×{movie.shown_height}"
        return stored if shown == stored else f"{stored}, shown as {shown}"

    def _common_rate(self) -> Fraction:
        """The lowest; of rates that are about it, a steady one."""
        lowest = min(movie.rate for movie in self.movies)
        steady = [movie.rate for movie in self.movies if movie.is_steady and movie.rate <= ABOUT * lowest]
        return min(steady, default=lowest)

    def _check_lengths(self) -> None:
        longest = max(self.movies, key=lambda movie: movie.duration)
        shortest = min(self.movies, key=lambda movie: movie.duration)
        frames = (longest.duration - shortest.duration) * self.fps
        if frames > FEW_FRAMES + 0.5 or frames > FEW_SHARE * longest.duration * self.fps + 0.5:
            raise DatasetError(
                f"lasts {_length(shortest)}, {longest.path.name} {_length(longest)}",
                where=str(shortest.path),
                fix=f"cut them alike, or say when it began with --offset {shortest.path.stem}=SECONDS (0: with the "
                "others), or have that found with --align sound or motion",
            )

    def _are_in_step(self, begins: NDArray[np.float64]) -> bool:
        """Whether all videos show their pictures at the same moments, as one shutter release makes them."""
        if np.ptp(begins) > 0:
            return False
        count = min(movie.num_frames for movie in self.movies)
        first = self.movies[0].seconds[:count]
        return all(np.abs(movie.seconds[:count] - first).max() < IN_STEP / self.fps for movie in self.movies)

    def _choose_pictures(self, begins: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        """Per video, the number of the picture of each frame."""
        start = begins.max()
        ends = [begin + movie.seconds[-1] + 0.5 / movie.fps for begin, movie in zip(begins, self.movies, strict=True)]
        count = int(np.floor((min(ends) - start) * self.fps + 1e-6)) + 1
        if count < 1:
            first, last = self.movies[int(np.argmin(ends))], self.movies[int(np.argmax(begins))]
            raise DatasetError(
                f"ends {start - min(ends):.3g} s before {last.path.name} begins",
                where=str(first.path),
                fix="check the offsets, or leave one of the two out",
            )
        self._moments = start + np.arange(count) / self.fps
        return [nearest(movie.seconds, self._moments - begin) for begin, movie in zip(begins, self.movies, strict=True)]

    def _describe(self, begins: NDArray[np.float64]) -> list[str]:
        notes = [*self._describe_rates(begins), *self._describe_ends()]
        of_each: dict[str, list[str]] = {}
        for movie in self.movies:
            for note in movie.notes:
                of_each.setdefault(note, []).append(movie.path.name)
        return notes + [f"{_several(names)} {note}" for note, names in of_each.items()]

    def _describe_rates(self, begins: NDArray[np.float64]) -> Iterator[str]:
        rates = sorted({f"{movie.fps:.6g}" for movie in self.movies}, key=float)
        steady = all(movie.is_steady and not movie.missing for movie in self.movies)
        if self._is_in_step:
            if not steady:
                yield (
                    "the videos' pictures do not come at a steady rate, but alike in all: each is a frame, of "
                    f"{self.fps:.6g} a second"
                )
            return
        if steady and float(rates[-1]) - float(rates[0]) <= SAME_RATE * float(rates[-1]):
            return
        worst = max(
            np.abs(movie.seconds[numbers] + begin - self._moments).max()
            for movie, numbers, begin in zip(self.movies, self._chosen, begins, strict=True)
        )
        what = f"have {' and '.join(rates)} frames a second" if len(rates) > 1 else "do not show all pictures"
        if not all(movie.is_steady for movie in self.movies):
            what += ", which vary"
        yield (
            f"the videos {what}: frames are {self.fps:.6g} a second, and show the picture of each video that is "
            f"nearest in time (at most {1000 * worst:.1f} ms off)"
        )

    def _describe_ends(self) -> Iterator[str]:
        unused = max(
            max(numbers[0], movie.num_frames - 1 - numbers[-1]) / movie.fps
            for movie, numbers in zip(self.movies, self._chosen, strict=True)
        )
        if unused * self.fps > 1 - 1e-6:
            yield (
                f"the videos do not begin and end together: the {self.num_frames} frames that all of them show are "
                f"used, up to {unused:.3g} s of one are not"
            )


def nearest(times: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of the nearest of ascending times [N] to each moment [T]; of two as near, the earlier."""
    after = np.clip(np.searchsorted(times, moments), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.zeros(len(moments), np.int64)
    # Times are rounded to their stream's ticks: what is as near but for that is as near.
    is_before = moments - times[after - 1] <= times[after] - moments + 1e-6
    return np.where(is_before, after - 1, after)


def resolve_offsets(offsets: Mapping[str, float], names: Sequence[tuple[str, ...]], where: str) -> list[float] | None:
    """Offsets by camera name as a list, 0 where none is given; None when there are none.

    Args:
        names: what each camera may be called: its number, its video, that without suffix.

    Raises:
        DatasetError: a name is no camera's, or two name the same.
    """
    if not offsets:
        return None
    found: dict[int, float] = {}
    for name, seconds in offsets.items():
        places = [i for i, known in enumerate(names) if name in known]
        if len(places) != 1 or places[0] in found:
            what = "names no camera" if not places else "names several cameras, or one that is named already"
            raise DatasetError(
                f"the offset of {name!r} {what}",
                where=where,
                fix=f"name each once, of {', '.join(known[-1] for known in names)}",
            )
        found[places[0]] = seconds
    return [found.get(i, 0.0) for i in range(len(names))]


def _length(movie: Movie) -> str:
    return f"{movie.num_frames} frames ({movie.duration:.3g} s)"


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other videos: each"
