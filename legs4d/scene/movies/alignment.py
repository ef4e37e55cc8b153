"""When each of several videos was begun, found from what they have in common: their sound, or how much moves in them.

Both become a curve over time: where it gets louder (claps, words, steps), or how many pixels change. Two curves are
laid over each other at every offset, and belong where they correlate best and most of what happens in them overlaps.
An offset is believed when no other one is nearly as good. Not every pair of videos need be sure: offsets go from video
to video along the surest pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.scene.movies.movie import Movie

SOUND_RATE, SOUND_STEP = 8000, 0.005
"""Samples a second that sound is reduced to, and seconds of a curve's value: sound goes 1.7 m in them."""
SOUND_FLOOR = 1e-3
"""Of the loudest: what is fainter is silence."""
MOTION_WIDTH, MOTION_STEP = 96, 1 / 120
"""Pixels that pictures are reduced to before they are compared with the ones before, and seconds of a curve's value."""
NOISE, NOISE_FLOOR = 4.0, 6.0
"""A pixel moves that changes by more than so many times the picture's median change, and so many of 255 steps."""
STILL = 0.05
"""Of a video's mean motion: less is none."""
AGREE = 0.1
"""Seconds by which offsets found from how much moves, and from when that changes, may differ."""
LEAST_OVERLAP, LEAST_SECONDS = 0.3, {"sound": 1.0, "motion": 0.4}
"""Share of the shorter curve, and seconds, that must overlap."""
LEAST_SHARE = 0.1
"""Of what happens in both: less, and noise correlates with noise."""
GUARD = 0.15
"""Seconds around the best offset in which others belong to the same peak."""
SURE = {"sound": 0.2, "motion": 0.25}
"""Confidence from which an offset is believed. In 3 to 8 s of videos that have nothing in common, the most that was
found is 0.18 by sound (120 pairs) and 0.20 by motion (48); wrong offsets of ones that do have had 0.06 and 0. One batch
of simulated sound did not keep to that: offsets more than 20 ms off had up to 0.38, which is believed here; 150 further
pairs had none above 0.06, and why that batch did is not known."""

How = Literal["sound", "motion"]


@dataclass(frozen=True)
class Curve:
    """Values at even steps of time.

    Attributes:
        start: seconds of the first, from the video's first picture.
        step: seconds from one to the next.
    """

    start: float
    step: float
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """When a video was begun.

    Attributes:
        offset: seconds later than the first one.
        confidence: 0..1; how much better this correlates than the next best offset.
    """

    offset: float
    confidence: float


def find_offsets(movies: Sequence[Movie], how: How, reporter: StageReporter) -> list[Found]:
    """Offsets of all videos to the first.

    Args:
        reporter: told of every video, and asked whether to stop.

    Raises:
        DatasetError: a video has no sound, or nothing sure was found for it.
        Stopped: the stop signal is set.
    """
    curves = []
    for done, movie in enumerate(movies):
        reporter.step(done, len(movies))
        curves.append(sound_curve(movie, reporter) if how == "sound" else motion_curve(movie, reporter))
    pairs = {}
    for i, j in combinations(range(len(movies)), 2):
        reporter.check()
        pairs[i, j] = compare(curves[i], curves[j], how)
    found = _along_surest(pairs, len(movies))
    for movie, each in zip(movies, found, strict=True):
        if each.confidence < SURE[how]:
            raise DatasetError(
                f"when it was begun cannot be told by its {how} (confidence {each.confidence:.2f} of {SURE[how]})",
                where=str(movie.path),
                fix=f"try --align {'motion' if how == 'sound' else 'sound'}, or measure it and say --offset "
                f"{movie.path.stem}=SECONDS",
            )
    reporter.step(len(movies), len(movies))
    return found


def compare(first: Curve, second: Curve, how: How) -> Found:
    """The offset of the second video at which their curves suit best; of confidence 0 where none does."""
    if how == "sound":
        return _best(first, second, how)
    level, change = _best(first, second, how), _best(_changes(first), _changes(second), how)
    return change if abs(level.offset - change.offset) < AGREE else Found(change.offset, 0.0)


def _best(first: Curve, second: Curve, how: How) -> Found:
    """The offset that explains most of both curves."""
    a, b, step = first.values, second.values, first.step
    least = max(LEAST_SECONDS[how] / step, LEAST_OVERLAP * min(len(a), len(b)))
    correlation, share = correlate(a, b, least)
    score = np.maximum(correlation, 0) * share
    best = int(np.argmax(score))
    if score[best] <= 0:
        return Found(0.0, 0.0)
    guard = round(GUARD / step)
    others = np.concatenate([score[: max(best - guard, 0)], score[best + guard + 1 :]])
    lag = best - (len(b) - 1) + _between(score, best)
    confidence = correlation[best] * (1 - others.max(initial=0.0) / score[best])
    return Found(float(lag * step + first.start - second.start), float(confidence))


def _changes(curve: Curve) -> Curve:
    """When a curve rises or falls, over four steps before against four after: a picture's time at 30 a second."""
    kernel = np.concatenate([np.ones(4), -np.ones(4)]) / 4
    return Curve(curve.start, curve.step, np.abs(np.convolve(np.pad(curve.values, 4, mode="edge"), kernel, "valid")))


def correlate(
    a: NDArray[np.float64], b: NDArray[np.float64], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A curve with another one shifted by 1 - len(b) steps and more.

    Args:
        least: steps that must overlap; elsewhere both results are 0.

    Returns:
        [len(a) + len(b) - 1] their correlation over what overlaps, -1..1, and how much of what happens in both that is,
        0..1.
    """
    from scipy.signal import fftconvolve

    def sums(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(fftconvolve(x, y[::-1]), np.float64)

    a, b = a - a.mean(), b - b.mean()
    ones_a, ones_b = np.ones(len(a)), np.ones(len(b))
    count = np.rint(sums(ones_a, ones_b))
    of_a, of_b = np.maximum(sums(a * a, ones_b), 0), np.maximum(sums(ones_a, b * b), 0)
    whole = (a * a).sum() * (b * b).sum()
    if whole <= 0:
        return np.zeros(len(count)), np.zeros(len(count))
    share = np.where(count >= least, np.sqrt(of_a * of_b / whole), 0.0)
    # Where hardly anything happens, noise correlates with noise.
    together = np.where(share > LEAST_SHARE, sums(a, b), 0.0)
    return together / np.maximum(np.sqrt(of_a * of_b), 1e-12 * np.sqrt(whole)), share


def sound_curve(movie: Movie, reporter: StageReporter) -> Curve:
    """How much louder a video's sound gets, step by step. Raises DatasetError when it has none."""
    import av

    hop = round(SOUND_RATE * SOUND_STEP)
    levels: list[NDArray[np.float64]] = []
    rest, start = np.zeros(0, np.float64), 0.0
    try:
        with av.open(str(movie.path)) as container:
            if not container.streams.audio:
                raise DatasetError("has no sound", where=str(movie.path), fix="use --align motion, or --offset")
            resampler = av.AudioResampler(format="flt", layout="mono", rate=SOUND_RATE)
            for number, frame in enumerate(container.decode(audio=0)):
                reporter.check()
                if number == 0:
                    start = float(frame.time or 0.0) - movie.begin
                for piece in resampler.resample(frame):
                    samples = np.concatenate([rest, piece.to_ndarray().ravel()])
                    whole = len(samples) // hop * hop
                    levels.append(np.sqrt(np.square(samples[:whole]).reshape(-1, hop).mean(axis=1)))
                    rest = samples[whole:]
    except av.FFmpegError as error:
        raise DatasetError(
            f"its sound cannot be read ({error.strerror})", where=str(movie.path), fix="use --align motion, or --offset"
        ) from error
    level = np.concatenate(levels) if levels else np.zeros(0)
    if len(level) < 2 or not level.any():
        raise DatasetError("its sound is silence", where=str(movie.path), fix="use --align motion, or --offset")
    loud = np.log10(np.maximum(level, SOUND_FLOOR * level.max()))
    return Curve(start + SOUND_STEP, SOUND_STEP, np.maximum(np.diff(_smooth(loud, 3)), 0.0))


def motion_curve(movie: Movie, reporter: StageReporter) -> Curve:
    """How many pixels change in equal times. Raises DatasetError when there are too few pictures."""
    moving: list[float] = []
    before: NDArray[np.float64] | None = None
    for frame in range(movie.num_frames):
        reporter.check()
        picture = movie.read_small(frame, MOTION_WIDTH)
        if before is not None:
            change = np.abs(picture - before)
            share = (change > NOISE * np.median(change) + NOISE_FLOOR).mean()
            moving.append(float(share / (movie.seconds[frame] - movie.seconds[frame - 1])))
        before = picture
    if len(moving) < 3:
        raise DatasetError(
            f"has {movie.num_frames} pictures, which are too few to tell when it was begun",
            where=str(movie.path),
            fix=f"say --offset {movie.path.stem}=SECONDS",
        )
    between = (movie.seconds[1:] + movie.seconds[:-1]) / 2
    grid = np.arange(between[0], between[-1] + 1e-9, MOTION_STEP)
    level = np.log(np.array(moving) + STILL * np.mean(moving) + 1e-6)
    return Curve(float(between[0]), MOTION_STEP, np.interp(grid, between, level))


def _along_surest(pairs: dict[tuple[int, int], Found], count: int) -> list[Found]:
    """Offsets to the first, from pair to pair: each video is reached by the surest pair with one that was."""
    reached = {0: Found(0.0, 1.0)}
    while len(reached) < count:
        ways = [
            (pairs[min(i, j), max(i, j)].confidence, i, j) for i in reached for j in range(count) if j not in reached
        ]
        _, i, j = max(ways)
        pair = pairs[min(i, j), max(i, j)]
        step = pair.offset if i < j else -pair.offset
        reached[j] = Found(reached[i].offset + step, min(reached[i].confidence, pair.confidence))
    return [reached[i] for i in range(count)]


def _between(values: NDArray[np.float64], best: int) -> float:
    """Where the top of a parabola through a peak and its neighbours lies, -0.5..0.5 steps from it."""
    if not 0 < best < len(values) - 1:
        return 0.0
    before, top, after = values[best - 1 : best + 2]
    bend = before - 2 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0 and min(before, after) > -1 else 0.0


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.convolve(np.pad(values, width // 2, mode="edge"), np.ones(width) / width, mode="valid")
