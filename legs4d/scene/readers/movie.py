"""Frames of a video by their number: the next one at once, any other after a seek; only a few are ever in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import DatasetError

if TYPE_CHECKING:
    import av


class Movie:
    """A video file. Opening it reads its packets' times, but decodes nothing.

    Args:
        path: a file that FFmpeg reads.

    Attributes:
        width, height: pixels.
        num_frames: how many pictures it holds.
        fps: frames per second, on average.

    Raises:
        DatasetError: PyAV is not installed, or this is no readable video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._decoder: Iterator[Any] | None = None
        self._next = 0
        self._container = self._open()
        stream = self._container.streams.video[0]
        # Frame threads would hold a picture each, per camera.
        stream.thread_type = "SLICE"
        self._stream = stream
        self.width, self.height = stream.codec_context.width, stream.codec_context.height
        self.fps = float(stream.average_rate or 0)
        packets = [(p.pts, p.is_keyframe) for p in self._container.demux(stream) if p.pts is not None]
        self._times = sorted(pts for pts, _ in packets)
        self._keys = sorted(pts for pts, is_key in packets if is_key)
        self.num_frames = len(self._times)
        if not self.num_frames or not self._keys or not self.fps:
            raise self._damaged("it has no pictures")

    def read(self, frame: int) -> NDArray[np.uint8]:
        """[H, W, 3] RGB. May be called by several threads.

        Raises:
            DatasetError: the video is damaged there.
        """
        import av

        with self._lock:
            try:
                picture = self._decode(frame)
            except av.FFmpegError as error:
                self._decoder = None
                raise self._damaged(f"frame {frame}: {error.strerror}") from error
            return np.asarray(picture.to_ndarray(format="rgb24"))

    def _decode(self, frame: int) -> Any:
        wanted = self._times[frame]
        near = self._decoder is not None and self._next <= frame
        key = self._keys[max(0, bisect_right(self._keys, wanted) - 1)]
        # Forward to the next keyframe at most: beyond it, a seek is shorter.
        if not near or key > self._times[min(self._next, self.num_frames - 1)]:
            self._container.seek(key, stream=self._stream, backward=True)
            self._decoder = self._container.decode(self._stream)
        assert self._decoder is not None
        for picture in self._decoder:
            if picture.pts is not None and picture.pts >= wanted:
                self._next = frame + 1
                return picture
        self._decoder = None
        raise self._damaged(f"it ends before frame {frame}")

    def _open(self) -> av.container.InputContainer:
        try:
            import av
        except ImportError as error:
            raise DatasetError(
                "videos need PyAV, which is not installed", where=str(self.path), fix="pip install av"
            ) from error
        try:
            container = av.open(str(self.path))
        except (av.FFmpegError, OSError) as error:
            raise self._damaged(getattr(error, "strerror", None) or str(error)) from error
        if not container.streams.video:
            raise self._damaged("it has no pictures")
        return container

    def _damaged(self, reason: str) -> DatasetError:
        return DatasetError(
            f"cannot be read as a video ({reason})", where=str(self.path), fix="copy or encode it again"
        )


class MovieSet:
    """Synchronised videos: frame t of each was filmed at the same moment.

    Raises:
        DatasetError: one cannot be read, or they differ in size or frame rate.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.movies = [Movie(path) for path in paths]
        first = self.movies[0]
        for movie in self.movies[1:]:
            if (movie.width, movie.height) != (first.width, first.height):
                raise DatasetError(
                    f"is {movie.width}×{movie.height} pixels, {first.path.name} is {first.width}×{first.height}",
                    where=str(movie.path),
                    fix="all videos must be of one size",
                )
            if abs(movie.fps - first.fps) > 0.01 * first.fps:
                raise DatasetError(
                    f"has {movie.fps:g} frames per second, {first.path.name} {first.fps:g}",
                    where=str(movie.path),
                    fix="all videos must be synchronised, at one rate",
                )
        self.width, self.height, self.fps = first.width, first.height, first.fps
        self.num_frames = min(movie.num_frames for movie in self.movies)
        """Of the shortest: cameras are seldom stopped at the same frame."""
