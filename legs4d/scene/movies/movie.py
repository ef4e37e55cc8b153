"""Frames of a video by their number: the next one at once, any other after a seek; only a few are ever in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError
from legs4d.scene.footage.names import VIDEOS
from legs4d.scene.given import which_takes
from legs4d.scene.movies.colors import BT2020_PRIMARIES, check_colors, to_rgb, turn_of
from legs4d.scene.movies.index import Key, Opened, PictureIndex, Unreadable, index_pictures, pictures


class Movie:
    """A video file. Opening it reads its packets' times, and decodes its first picture.

    Whatever the order of access, a picture is the one that decoding from the beginning shows there: packets that the
    file marks as discarded are not shown.

    Args:
        path: a file that FFmpeg reads.

    Attributes:
        width, height: pixels, as it is shown: turned by the file's display matrix.
        shown_width, shown_height: where pixels are not square, what players make of them; else the same.
        num_frames: how many pictures it shows.
        rate, fps: pictures per second, exact and as a float; on average where they do not come at a steady rate.
        is_steady: whether they do, but for those missing.
        missing: how many pictures of a steady rate are not there: dropped, or cut off with what they lean on.
        seconds: when each is shown, from the first.
        begin: seconds of the first on the file's own clock, which its sound goes by.
        notes: what of the file a person should know, sentences without its name.

    Raises:
        DatasetError: PyAV is not installed, this is no readable video, or its colours are not read (HDR).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._index = self._read_index()
        self._opened = self._open()
        self._coming: Iterator[Any] | None = None
        self._next = 0
        first = self._first_frame()
        self._turn = turn_of(first, str(path))
        self._stored = first.width, first.height
        self.width, self.height = self._turned(first.width, first.height)
        aspect = float(self._opened.stream.sample_aspect_ratio or 1)
        wide = round(first.width * aspect) if aspect > 1 else first.width
        tall = round(first.height / aspect) if aspect < 1 else first.height
        self.shown_width, self.shown_height = self._turned(wide, tall)
        self.num_frames, self.seconds = len(self._index.times), np.array(self._index.seconds)
        self.rate, self.fps, self.is_steady = self._index.rate, float(self._index.rate), self._index.is_steady
        self.missing, self.begin = self._index.missing, self._index.begin
        self.notes = self._describe(first)

    def read(self, frame: int, *, square: bool = False) -> NDArray[np.uint8]:
        """[H, W, 3] RGB. May be called by several threads.

        Args:
            square: at the shown size, where pixels are square.

        Raises:
            DatasetError: the video is damaged there.
        """
        with self._lock:
            picture = self._decode_safely(frame)
            if (picture.width, picture.height) != self._stored:
                raise self._damaged(f"frame {frame} has another size than the first")
            size = (self.shown_width, self.shown_height) if square else (self.width, self.height)
            return self._turn(to_rgb(picture, *self._turned(*size)))

    def read_small(self, frame: int, width: int) -> NDArray[np.float64]:
        """[H, W] luma in 0..255 as stored, W at most `width`: enough to see that something moves. As `read`."""
        with self._lock:
            picture = self._decode_safely(frame)
            wide = min(width, picture.width)
            small = picture.reformat(
                width=wide, height=max(1, round(picture.height * wide / picture.width)), format="gray"
            )
            return small.to_ndarray().astype(np.float64)

    @property
    def duration(self) -> float:
        """Seconds, the last picture's included."""
        return float(self.seconds[-1]) + 1 / self.fps

    def _decode_safely(self, frame: int) -> Any:
        import av

        try:
            return self._decode(frame)
        except av.FFmpegError as error:
            self._coming = None
            raise self._damaged(f"frame {frame}: {error.strerror}") from error

    def _decode(self, frame: int) -> Any:
        """The picture of this number, from where decoding stands or from a key before it."""
        if self._coming is not None and self._next <= frame and not self._index.key_between(self._next, frame):
            found = self._find(self._coming, frame)
            if found is not None:
                return found
        for start in self._index.starts(frame):
            self._coming = self._decoding_from(start)
            self._next = 0
            found = self._find(self._coming, frame)
            if found is not None:
                return found
        self._coming = None
        raise self._damaged(f"frame {frame} cannot be decoded")

    def _find(self, coming: Iterator[Any], frame: int) -> Any | None:
        """The picture, if it is among those that are coming."""
        wanted = self._index.times[frame]
        for number, picture in enumerate(coming, self._next):
            time = number if self._index.is_counted else picture.pts
            if time is not None and time >= wanted:
                self._next = frame + 1
                return picture if time == wanted else None
        return None

    def _decoding_from(self, start: Key | None) -> Iterator[Any]:
        """Pictures from this key on, or from the file's first packet."""
        if start is not None:
            # Demuxers seek by the time of decoding, and not always to the packet asked for.
            self._opened.container.seek(start.dts, stream=self._opened.stream, backward=True)
            packets = self._opened.packets()
            for packet in packets:
                if start.is_packet(packet):
                    return pictures(chain([packet], packets))
                if start.is_before(packet):
                    break
        self._opened.container.close()
        self._opened = self._open()
        return pictures(self._opened.packets())

    def _turned(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self._turn.transpose else (width, height)

    # -- opening ---------------------------------------------------------------------------------------------------

    def _read_index(self) -> PictureIndex:
        import_av(self.path)
        import av

        try:
            index = index_pictures(self._open)
        except Unreadable as error:
            raise self._damaged(str(error)) from error
        except av.FFmpegError as error:
            raise self._damaged(error.strerror or str(error)) from error
        if index is None:
            raise self._damaged("it has no pictures")
        return index

    def _first_frame(self) -> Any:
        frame = self._decode_safely(0)
        check_colors(frame, str(self.path))
        return frame

    def _open(self) -> Opened:
        import av

        try:
            return Opened(self.path)
        except Unreadable as error:
            raise self._damaged(str(error)) from error
        except (av.FFmpegError, OSError) as error:
            raise self._damaged(getattr(error, "strerror", None) or str(error)) from error

    def _describe(self, first: Any) -> tuple[str, ...]:
        found = []
        if first.interlaced_frame:
            found.append("is interlaced: what moves has combs, unless it is deinterlaced first (ffmpeg -vf bwdif)")
        if int(first.color_primaries) == BT2020_PRIMARIES:
            found.append(
                "has BT.2020's primaries: its colours are taken as they are, and look paler than on a television"
            )
        if any(component.is_alpha for component in first.format.components):
            found.append("has an alpha channel, which is not used")
        return tuple(found)

    def _damaged(self, reason: str) -> DatasetError:
        other = None if self.path.suffix.lower() in VIDEOS else which_takes(self.path)
        return DatasetError(
            f"cannot be read as a video ({reason})", where=str(self.path), fix=other or "copy or encode it again"
        )


def import_av(path: Path) -> None:
    """Raise DatasetError when PyAV is not installed; `path` is what needs it."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise DatasetError("videos need PyAV, which is not installed", where=str(path), fix="pip install av") from error
