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

from legs4d.config import DatasetSettings
from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.scene.footage.names import natural_key, some
from legs4d.scene.movies.alignment import Found, find_offsets
from legs4d.scene.movies.movie import Movie

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
        movies: the videos, a camera each.
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

    def __init__(self, movies: Sequence[Movie], offsets: Sequence[float] | None = None) -> None:
        self.movies = movies
        self._is_square = [False] * len(self.movies)
        self.sizes = [(movie.width, movie.height) for movie in self.movies]
        rate = self._common_rate()
        self.fps = float(rate)
        if offsets is None:
            self._check_lengths()
        begins = np.zeros(len(movies)) if offsets is None else np.array(offsets, np.float64)
        self._is_in_step = self._are_in_step(begins)
        if self._is_in_step:
            self.num_frames = min(movie.num_frames for movie in self.movies)
            self._chosen = [np.arange(self.num_frames)] * len(movies)
        else:
            self._chosen = self._choose_pictures(begins)
            self.num_frames = len(self._chosen[0])
        self.notes = tuple(self._describe(begins))

    def picture_number(self, position: int, frame: int) -> int:
        """Which picture of the video at this position a frame shows, counted from 0."""
        return int(self._chosen[position][frame])

    def read(self, position: int, frame: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB of the video at this position; DatasetError when it is damaged there. For several threads."""
        return self.movies[position].read(self.picture_number(position, frame), square=self._is_square[position])

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
        return notes + [f"{_several(names)} {note}." for note, names in of_each.items()]

    def _describe_rates(self, begins: NDArray[np.float64]) -> Iterator[str]:
        rates = sorted({f"{movie.fps:.6g}" for movie in self.movies}, key=float)
        steady = all(movie.is_steady and not movie.missing for movie in self.movies)
        if self._is_in_step:
            if not steady:
                yield (
                    "The videos' pictures do not come at a steady rate, but alike in all: each is a frame, of "
                    f"{self.fps:.6g} a second."
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
            f"The videos {what}: frames are {self.fps:.6g} a second, and show the picture of each video that is "
            f"nearest in time (at most {1000 * worst:.1f} ms off)."
        )

    def _describe_ends(self) -> Iterator[str]:
        unused = max(
            max(numbers[0], movie.num_frames - 1 - numbers[-1]) / movie.fps
            for movie, numbers in zip(self.movies, self._chosen, strict=True)
        )
        if unused * self.fps > 1 - 1e-6:
            yield (
                f"The videos do not begin and end together: the {self.num_frames} frames that all of them show are "
                f"used, up to {unused:.3g} s of one are not."
            )


def nearest(times: NDArray[np.float64], moments: NDArray[np.float64]) -> NDArray[np.int64]:
    """Position of the nearest of ascending times [N] to each moment [T]; of two as near, the earlier."""
    after = np.clip(np.searchsorted(times, moments), 1, max(len(times) - 1, 1))
    if len(times) == 1:
        return np.zeros(len(moments), np.int64)
    # Times are rounded to their stream's ticks: what is as near but for that is as near.
    is_before = moments - times[after - 1] <= times[after] - moments + 1e-6
    return np.where(is_before, after - 1, after)


def open_videos(
    paths: Sequence[Path],
    called: Sequence[tuple[str, ...]],
    settings: DatasetSettings,
    where: str,
    context: Context = QUIET,
) -> tuple[MovieSet, DatasetSettings]:
    """Videos on one clock, as `settings` say how they were begun, or as it is found from them.

    Args:
        called: what each camera may be called: its number, its video, that without suffix.
        context: told of videos that are opened, and put on one clock.

    Returns:
        The videos, and the settings, in which offsets that were found stand as if they had been said.

    Raises:
        DatasetError: see `MovieSet`; an offset names no camera, or is to be found and is not sure.
        Stopped: the context's stop signal is set.
    """
    movies: list[Movie] = []
    notes: tuple[str, ...] = ()
    reporter = context.reporter("videos")
    for done, path in enumerate(paths):
        reporter.step(done, len(paths))
        movies.append(Movie(path))
    reporter.step(len(paths), len(paths))
    given = resolve_offsets(settings.offsets, called, where)
    if settings.align is None:
        if not given:
            return MovieSet(movies), settings
        offsets = [given.get(i, 0.0) for i in range(len(movies))]
    else:
        found = find_offsets(movies, settings.align, context.reporter("align"))
        first = min(given, default=0)  # what was said of one holds, and the others are found relative to it
        shift = given.get(first, 0.0) - found[first].offset
        offsets = [given.get(i, each.offset + shift) for i, each in enumerate(found)]
        notes = (describe_offsets([names[0] for names in called], offsets, found, settings.align),)
    videos = MovieSet(movies, offsets)
    videos.notes = (*notes, *videos.notes)
    if settings.align is not None:
        known = {names[0]: round(offset, 6) for names, offset in zip(called, offsets, strict=True)}
        settings = settings.model_copy(update={"offsets": known, "align": None})
    return videos, settings


def resolve_offsets(offsets: Mapping[str, float], called: Sequence[tuple[str, ...]], where: str) -> dict[int, float]:
    """Offsets by the camera's position. Raises DatasetError when a name is no camera's, or two name the same."""
    found: dict[int, float] = {}
    known = [{natural_key(name) for name in names} for names in called]
    for name, seconds in offsets.items():
        places = [i for i, keys in enumerate(known) if natural_key(name) in keys]
        if len(places) != 1 or places[0] in found:
            what = "names no camera" if not places else "names several cameras, or one that is named already"
            raise DatasetError(
                f"the offset of {name!r} {what}",
                where=where,
                fix=f"name each once, of {some([names[-1] for names in called])}",
            )
        found[places[0]] = seconds
    return found


def describe_offsets(names: Sequence[str], offsets: Sequence[float], found: Sequence[Found], how: str) -> str:
    """What was found, in one sentence."""
    each = ", ".join(
        f"{name} {offset:+.3f} s ({one.confidence:.2f})"
        for name, offset, one in zip(names, offsets, found, strict=True)
    )
    return f"When the videos were begun was found by their {how}, with these confidences: {each}."


def _length(movie: Movie) -> str:
    return f"{movie.num_frames} frames ({movie.duration:.3g} s)"


def _several(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} other videos: each"
