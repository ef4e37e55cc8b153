"""Which pictures a video shows, when, and from which packets each can be decoded, without decoding it.

A file's packets tell it, but not all of them are shown. A trimmed file begins before its first picture, at the key
picture that it needs, and marks what is to be discarded; a recording may begin between key pictures, or with pictures
that lean on ones before it; in transport streams the two fields of an interlaced picture may be packets of their own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

PROBED = 4
"""Pictures that are decoded of a stream whose packets need not be pictures, to see whether they are."""
GAP = 2.5
"""Times the usual interval: streams with greater ones were joined or cut, and are decoded to see what they show."""
STEADY = 0.45
"""Intervals by which a picture of a steady frame rate may be off its place: then it is still the nearest there."""
FALLBACK_RATE = 25
"""Pictures per second where a file tells none: raw streams."""
NEARLY, MOSTLY = 0.1, 0.7
"""With pictures missing, others are off their places by fewer intervals than this, and most follow on one another."""
PACKET_IS_PICTURE = frozenset({"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm"})
"""Containers, by FFmpeg's names, whose packets are whole pictures."""


class Opened:
    """A file that is open at its first packet; a context manager."""

    def __init__(self, path: Path) -> None:
        import av

        self.container = av.open(str(path), metadata_errors="replace")
        shown = [s for s in self.container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not shown:
            self.container.close()
            raise Unreadable("it has no pictures")
        self.stream: Any = shown[0]
        self.stream.thread_type = "SLICE"  # frame threads would hold a picture each, per camera

    def packets(self) -> Iterator[Any]:
        """From where the file stands; the last is empty, and makes the decoder give what it holds back."""
        return self.container.demux(self.stream)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()


class Unreadable(Exception):
    """The file cannot be read as a video; its message says why."""


@dataclass(frozen=True, order=True)
class Key:
    """A packet from which decoding may begin.

    Attributes:
        pts, dts: when it is shown, and when decoded, in ticks of the stream; Matroska tells the first alone.
        size: bytes.
    """

    pts: int
    dts: int
    size: int

    def is_packet(self, packet: Any) -> bool:
        """Whether a packet is this one: where a file was entered in its middle, times alone may be guessed."""
        return bool(packet.is_keyframe and packet.pts == self.pts and packet.size == self.size)

    def is_before(self, packet: Any) -> bool:
        """Whether a packet comes after this one."""
        if packet.dts is not None:
            return bool(packet.dts > self.dts)
        return bool(packet.is_keyframe and packet.pts is not None and packet.pts > self.pts)


@dataclass(frozen=True)
class PictureIndex:
    """The pictures of a video.

    Attributes:
        times: when each is shown, in ticks of the stream, ascending; where packets tell no times, their numbers.
        keys: from which packets decoding may begin, ascending; empty where it must begin with the file's first.
        seconds: when each is shown, from the first.
        rate: pictures per second.
        begin: seconds of the first on the file's own clock; 0 where it has none.
        is_steady: whether they come at that rate, but for those missing, rather than on average.
        missing: how many pictures of a steady rate are not there: cut off with what they lean on, or dropped.
    """

    times: list[int]
    keys: list[Key]
    seconds: list[float]
    rate: Fraction
    begin: float = 0.0
    is_steady: bool = True
    missing: int = 0

    @property
    def is_counted(self) -> bool:
        """Whether pictures are known by their number alone."""
        return not self.keys

    def starts(self, frame: int) -> Iterator[Key | None]:
        """Where decoding may begin to reach a picture: the nearest key, earlier ones, the file's first packet (None).

        Nearly always the first will do; a stream that refreshes its pictures in stripes has none that is whole.
        """
        last = bisect_right([key.pts for key in self.keys], self.times[frame]) - 1
        for back in (0, 1, 4):
            if last - back >= 0:
                yield self.keys[last - back]
        yield None

    def key_between(self, first: int, last: int) -> bool:
        """Whether a key lies after picture `first` and not after `last`, so that seeking is shorter than decoding."""
        return any(self.times[first] < key.pts <= self.times[last] for key in self.keys)


def index_pictures(opened: Callable[[], Opened]) -> PictureIndex | None:
    """Read all packets of a video, and decode pictures of it where they do not tell all.

    Args:
        opened: opens the file anew, at its first packet.

    Returns:
        None when there are no pictures.

    Raises:
        Unreadable: its first pictures cannot be decoded.
        av.FFmpegError: as FFmpeg says.
    """
    with opened() as video:
        told, keys = [], []
        for packet in video.packets():
            if packet.size:
                told.append((packet.pts, packet.is_discard))
                if packet.is_keyframe and packet.pts is not None:
                    dts = packet.pts if packet.dts is None else packet.dts
                    keys.append(Key(packet.pts, dts, packet.size))
        is_timed = all(pts is not None for pts, _ in told)
        shown = sorted(pts for pts, is_discarded in told if is_timed and not is_discarded)
        keys.sort()
        is_whole = not PACKET_IS_PICTURE.isdisjoint(video.container.format.name.split(","))
        if is_whole and keys and told[0][0] != keys[0].pts:
            # Players begin at the next key, and what was filmed before it would be missed without a word.
            raise Unreadable("its first pictures are damaged")
        if not shown or not keys or len(set(shown)) < len(shown):
            return _by_decoding(opened, [])
        if _are_pictures(opened, shown, is_whole):
            return _timed(shown, keys, video)
    return _by_decoding(opened, keys)


def _are_pictures(opened: Callable[[], Opened], shown: list[int], is_whole: bool) -> bool:
    """Whether the first pictures that are decoded are those that packets tell, and no gaps make the others doubtful."""
    steps = [after - before for before, after in pairwise(shown)]
    if not is_whole and steps and max(steps) > GAP * median(steps):
        return False
    with opened() as video:
        first = [picture.pts for picture in islice(pictures(video.packets()), 1 if is_whole else PROBED)]
    return first == shown[: len(first)] and len(first) > 0


def _by_decoding(opened: Callable[[], Opened], keys: list[Key]) -> PictureIndex | None:
    """What decoding shows, all of it; times only where they are in order."""
    with opened() as video:
        times = [picture.pts for picture in pictures(video.packets())]
        if not times:
            return None
        if keys and None not in times and all(before < after for before, after in pairwise(times)):
            return _timed(times, keys, video)
        rate = Fraction(video.stream.average_rate or video.stream.guessed_rate or FALLBACK_RATE)
    return PictureIndex(list(range(len(times))), [], [float(n / rate) for n in range(len(times))], rate)


def _timed(times: list[int], keys: list[Key], video: Opened) -> PictureIndex:
    """The index of pictures whose times are known."""
    tick, guessed, average = video.stream.time_base, video.stream.guessed_rate, video.stream.average_rate
    seconds, begin = [float((time - times[0]) * tick) for time in times], float(times[0] * tick)
    if len(times) == 1:
        return PictureIndex(times, keys, seconds, Fraction(average or guessed or FALLBACK_RATE), begin)
    measured = Fraction(len(times) - 1) / ((times[-1] - times[0]) * tick)
    usual = 1 / (Fraction(median(after - before for before, after in pairwise(times))) * tick)
    rates = [Fraction(rate) for rate in (guessed, average, measured, usual) if rate]
    for rate in rates:
        if all(abs(second * float(rate) - n) < STEADY for n, second in enumerate(seconds)):
            return PictureIndex(times, keys, seconds, rate, begin)
    for rate in rates:
        places = [round(second * float(rate)) for second in seconds]
        off = max(abs(second * float(rate) - place) for second, place in zip(seconds, places, strict=True))
        beside = sum(after == before + 1 for before, after in pairwise(places))
        if off < NEARLY and beside >= MOSTLY * (len(places) - 1) and len(set(places)) == len(places):
            return PictureIndex(times, keys, seconds, rate, begin, missing=places[-1] + 1 - len(places))
    return PictureIndex(times, keys, seconds, measured, begin, is_steady=False)


def pictures(packets: Iterable[Any]) -> Iterator[Any]:
    """What packets show, in the order of showing; those before the first key packet are left out."""
    coming = iter(packets)
    for packet in coming:
        if packet.is_keyframe or not packet.size:
            for each in chain([packet], coming):
                yield from each.decode()
