"""Foreground masks for footage that has none: what moves against the background, cut out along its colours.

Per camera, over samples of the whole clip (cameras must stand still): the background is each pixel's median colour, its
noise the median absolute deviation. In a frame, pixels far from the background are foreground for sure. People who
barely move are in the median too; they show by their activity, the spread of a pixel's colour in the samples around the
frame, along their outlines. The region that movement and activity enclose is then cut by colour (GrabCut, Rother et al.
2004). What never moves in the clip is background, whatever it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.context import QUIET, Context
from legs4d.errors import DatasetError
from legs4d.progress import StageReporter
from legs4d.scene.images import ImageCache, area_resize, as_bytes
from legs4d.scene.sequence import Sequence, Split, cameras_move
from legs4d.scene.wrapped import Wrapped

VERSION = 1
"""Of this code: raise it when the same footage gets other masks, so that runs made from them are told apart."""

WORKING_WIDTH = 320
"""Pixels: wider pictures are cut at this width, as GrabCut takes time and the outline is good to a pixel or two."""
SAMPLE_BYTES = 192 << 20
MAX_SAMPLES = 48
"""Frames, spread evenly over the clip, from which the background is known; fewer where they would not fit in memory."""
MIN_FRAMES = 3
"""A median of fewer tells nothing."""
NEAREST_SAMPLES = 15
"""Samples around a frame in which activity is measured."""

MOVES = 6.0
"""Deviations from the background from which a pixel is foreground for sure."""
CALM, MOVED = 3.0, 12.0
"""Below the first, a pixel that elsewhere in the clip exceeded the second shows background that was uncovered."""
NOISE_FLOOR = 0.004
"""Of colours in 0..1: added to the measured noise, as pictures have steps of 1/255."""
ACTIVE, MOST_ACTIVE = 2.0, 4.0
"""Spread, relative to the picture's median, of pixels on a moving thing, and what its most active one has at least."""
SMALLEST = 20
"""Pixels; smaller spots are noise."""
BRIDGE = 1 / 40
"""Of the picture's width: outlines closer than twice this enclose what is between them."""
WIDEST = 1 / 12
"""Of the picture's width: what outlines enclose is filled when nothing in it is farther from them. A ball's arc and the
two who play it enclose half of a room."""
RIM = 1 / 64
"""Of the picture's width: how far around the region GrabCut may still find foreground."""
GRABCUT_ROUNDS = 3
_MARGIN = 30
"""Pixels of surely background around the region, from which GrabCut learns its colours."""


class MotionMasks(Wrapped):
    """A `Sequence` with the masks of what moves, for one without masks. Masks are found when they are asked for.

    Args:
        sequence: footage without masks, of cameras that stand still.
    """

    def __init__(self, sequence: Sequence) -> None:
        super().__init__(sequence)
        self.see_through = False
        self._cache, self._lock = ImageCache(), Lock()
        self._backgrounds: list[_Background] | None = None

    def objects(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.uint8] | None:
        return self._sequence.objects(split, frame, cameras)

    def fingerprint(self, *, language: bool = False) -> str:
        """The footage's."""
        return self._sequence.fingerprint(language=language)

    def prepare(self, context: Context = QUIET) -> None:
        """Learn the backgrounds now, telling of it; else the first mask takes that time.

        Raises:
            DatasetError: the clip is too short, cameras move, or OpenCV is not installed.
            Stopped: the stop signal is set.
        """
        with self._lock:
            if self._backgrounds is None:
                reporter = context.reporter("foreground_from_motion")
                self._backgrounds = _learn(self._sequence, reporter)

    def masks(self, split: Split, frame: int, cameras: list[int] | None = None) -> NDArray[np.float32] | None:
        """[C, H, W] share of each pixel that moves, 0..1; None for the test cameras, and where that cannot be told, as
        cameras move or there are too few frames.

        Raises:
            DatasetError: OpenCV is not installed.
        """
        if split != "train" or not self._can_tell:
            return None
        self.prepare()
        wanted = list(range(len(self.cameras(split, frame)))) if cameras is None else cameras
        with _one_thread_each(), ThreadPoolExecutor(thread_name_prefix="legs4d-mask") as pool:
            return np.stack(list(pool.map(lambda camera: self._mask(frame, int(camera)), wanted)))

    @cached_property
    def _can_tell(self) -> bool:
        return self.num_frames >= MIN_FRAMES and not cameras_move(self._sequence)

    def _mask(self, frame: int, camera: int) -> NDArray[np.float32]:
        return self._cache.get((frame, camera), lambda: self._find(frame, camera))

    def _find(self, frame: int, camera: int) -> NDArray[np.float32]:
        import cv2

        assert self._backgrounds is not None
        picture = self._sequence.images("train", frame, [camera])[0]
        height, width = picture.shape[:2]
        background = self._backgrounds[camera]
        small = area_resize(picture, *background.size)
        mask = background.foreground(small, frame).astype(np.float32)
        if mask.shape == (height, width):
            return mask
        return np.clip(cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def with_masks(sequence: Sequence) -> Sequence:
    """The footage itself if it has masks, else with those of what moves."""
    return sequence if sequence.masks("train", 0, []) is not None else MotionMasks(sequence)


@dataclass(frozen=True)
class _Background:
    """What one camera sees when nothing moves, at the working width.

    Attributes:
        frames: [S] numbers of the samples, ascending.
        samples: [S, H, W, 3] uint8.
    """

    frames: NDArray[np.int64]
    samples: NDArray[np.uint8]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.samples.shape[2], self.samples.shape[1]

    @cached_property
    def median(self) -> NDArray[np.float32]:
        return (np.median(self.samples, axis=0) / 255).astype(np.float32)

    @cached_property
    def noise(self) -> NDArray[np.float32]:
        """[H, W] standard deviation that a calm pixel has."""
        spread = np.median(np.abs(self.samples - np.rint(self.median * 255).astype(np.int16)), axis=0) / 255
        return (1.4826 * np.maximum(spread, np.median(spread)).max(axis=-1) + NOISE_FLOOR).astype(np.float32)

    @cached_property
    def farthest(self) -> NDArray[np.float32]:
        """[H, W] deviations from the background of the sample that is farthest from it."""
        farthest = np.zeros(self.noise.shape, np.float32)
        for sample in self.samples:
            farthest = np.maximum(farthest, self.deviation(sample.astype(np.float32) / 255))
        return farthest

    def deviation(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """[H, W] how many standard deviations a picture [H, W, 3] is from the background."""
        return np.abs(picture - self.median).max(axis=-1) / self.noise

    def activity(self, frame: int) -> NDArray[np.float32]:
        """[H, W] spread of the samples around a frame, relative to the picture's median."""
        import cv2

        nearest = np.sort(np.argsort(np.abs(self.frames - frame), kind="stable")[:NEAREST_SAMPLES])
        spread = (self.samples[nearest].astype(np.float32) / 255).std(axis=0).max(axis=-1)
        smooth = cv2.GaussianBlur(spread, (0, 0), 1.0).astype(np.float32)
        return smooth / max(float(np.median(spread)), NOISE_FLOOR)

    def foreground(self, picture: NDArray[np.float32], frame: int) -> NDArray[np.bool_]:
        """[H, W] what is foreground in a picture [H, W, 3] of a frame."""
        import cv2

        far = self.deviation(picture)
        moving = _opened((far > MOVES).astype(np.uint8))
        region = _enclosed(moving | _active(self.activity(frame)), self.size[0])
        if not region.any():
            return np.zeros(far.shape, bool)
        labels = np.full(far.shape, cv2.GC_BGD, np.uint8)
        labels[cv2.dilate(region, _disk(round(RIM * self.size[0]))) > 0] = cv2.GC_PR_BGD
        labels[region > 0] = cv2.GC_PR_FGD
        calm = cv2.blur(far, (5, 5)) < CALM
        uncovered = cv2.morphologyEx(((self.farthest > MOVED) & calm).astype(np.uint8), cv2.MORPH_CLOSE, _disk(1))
        labels[(uncovered > 0) & calm & (region > 0)] = cv2.GC_PR_BGD
        sure = cv2.erode(moving, _disk(1)).astype(np.uint8)  # compression and mixed pixels make a rim
        labels[sure > 0] = cv2.GC_FGD
        cut = _grab_cut(as_bytes(picture), labels)
        return _without_spots(_opened(cut) | sure, SMALLEST) > 0


def _learn(sequence: Sequence, reporter: StageReporter) -> list[_Background]:
    """The background of each training camera."""
    _check(sequence)
    first = sequence.cameras("train", 0)
    width = min(first.width, WORKING_WIDTH)
    height = max(1, round(first.height * width / first.width))
    fitting = SAMPLE_BYTES // (len(first) * width * height * 3)
    count = min(sequence.num_frames, MAX_SAMPLES, max(MIN_FRAMES, fitting))
    frames = np.unique(np.linspace(0, sequence.num_frames - 1, count).round().astype(np.int64))
    samples = np.empty((len(first), len(frames), height, width, 3), np.uint8)
    total = len(frames) * len(first)
    for done, frame in enumerate(frames.tolist()):
        for camera in range(len(first)):
            # One at a time: a frame of many large pictures takes a minute, and a person who stops it has long gone.
            reporter.step(done * len(first) + camera, total)
            picture = sequence.images("train", frame, [camera])[0]
            samples[camera, done] = np.rint(area_resize(picture, width, height) * 255)
    reporter.step(total, total)
    return [_Background(frames, of_camera) for of_camera in samples]


def _check(sequence: Sequence) -> None:
    where = str(sequence.root)
    fix = "add foreground masks: seg/<camera>/<frame>.png in the native layout, or an alpha channel in NeRF's"
    if sequence.num_frames < MIN_FRAMES:
        what = f"has no masks, and in {sequence.num_frames} frames nothing can be seen to move"
        raise DatasetError(what, where=where, fix=fix)
    if cameras_move(sequence):
        raise DatasetError("has no masks, and its cameras move, so that everything does", where=where, fix=fix)
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise DatasetError(
            "has no masks, and finding them needs OpenCV, which is not installed",
            where=where,
            fix="pip install opencv-python-headless",
        ) from error


def _active(activity: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where things sway: connected active pixels, of which one at least is very active."""
    import cv2

    active = _opened((activity > ACTIVE).astype(np.uint8))
    count, labels, _, _ = cv2.connectedComponentsWithStats(active, connectivity=8)
    strong = np.zeros(count, np.uint8)
    strong[np.unique(labels[activity > MOST_ACTIVE])] = 1
    strong[0] = 0
    return _without_spots(strong[labels], SMALLEST)


def _enclosed(outline: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Outlines in a picture of this width with what they enclose, gaps in them bridged."""
    import cv2

    gap = max(1, round(BRIDGE * width))
    border = 2 * gap + 1
    padded = np.pad(outline, border)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disk(gap))
    count, holes, _, _ = cv2.connectedComponentsWithStats(1 - closed, connectivity=4)
    depth = cv2.distanceTransform(1 - closed, cv2.DIST_L2, 3)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, np.asarray(holes, np.int64), depth)
    filled = (deepest <= WIDEST * width)[holes] & (holes != holes[0, 0])
    whole = (closed | filled)[border:-border, border:-border]
    return np.ascontiguousarray(whole, np.uint8)


def _grab_cut(picture: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W] 1 where GrabCut finds foreground, from labels that say where it is sure, probable, or impossible."""
    import cv2

    possible, sure = labels != cv2.GC_BGD, labels == cv2.GC_FGD
    rows, columns = np.flatnonzero(possible.any(axis=1)), np.flatnonzero(possible.any(axis=0))
    part = (
        slice(max(0, rows[0] - _MARGIN), rows[-1] + 1 + _MARGIN),
        slice(max(0, columns[0] - _MARGIN), columns[-1] + 1 + _MARGIN),
    )
    cut = np.ascontiguousarray(labels[part])
    foreground = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if foreground.any() and not foreground.all():
        whole = np.ascontiguousarray(picture[part])
        cv2.setRNGSeed(0)  # of this thread: the same picture gets the same mask
        models = np.zeros((1, 65)), np.zeros((1, 65))
        everywhere: Any = None  # no rectangle: OpenCV's types ask for one
        cv2.grabCut(whole, cut, everywhere, *models, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = sure.astype(np.uint8)
    found[part] = np.isin(cut, (cv2.GC_FGD, cv2.GC_PR_FGD))
    return found


def _without_spots(mask: NDArray[np.uint8], smallest: int) -> NDArray[np.uint8]:
    import cv2

    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = (statistics[:, cv2.CC_STAT_AREA] >= smallest).astype(np.uint8)
    large[0] = 0
    return large[labels]


def _opened(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Without single pixels and thin lines."""
    import cv2

    return cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disk(1)).astype(np.uint8)


def _disk(radius: int) -> NDArray[np.uint8]:
    import cv2

    size = 2 * radius + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.uint8)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own beside those that call it."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
