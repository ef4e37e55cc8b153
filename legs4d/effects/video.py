"""Writes frames as a video or as numbered pictures; nothing half-written is left under the name asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d.errors import Legs4dError

QUALITY = 8
"""imageio-ffmpeg's scale, 0..10."""


class FrameWriter(Protocol):
    """Takes frames one after another."""

    def __call__(self, frame: NDArray[np.floating]) -> None:
        """Append a frame: [H, W, 3] RGB, clamped to 0..1, all of one size."""
        ...


@contextmanager
def write_video(path: str | Path, fps: float) -> Iterator[FrameWriter]:
    """Write an H.264 .mp4, or a folder of PNGs when `path` has no suffix; frames are numbered from 0.

        with write_video("x.mp4", 30) as write:
            for picture in pictures:
                write(picture)

    A video appears when it is complete. Sizes are even in H.264, so an odd last row or column is shown twice.

    Raises:
        Legs4dError: another suffix, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix.lower() == ".mp4":
        with _write_mp4(target, fps) as write:
            yield write
    elif not target.suffix:
        yield _PictureFolder(target)
    else:
        raise Legs4dError(
            f"{target.suffix} is no kind of video that can be written",
            where=str(target),
            fix="name a .mp4, or a folder for PNGs",
        )


@contextmanager
def _write_mp4(target: Path, fps: float) -> Iterator[FrameWriter]:
    movie = _Movie(target.with_name(f".{target.stem}.partial.mp4"), fps)
    try:
        yield movie
        movie.finish(target)
    finally:
        movie.discard()


class _Movie:
    def __init__(self, partial: Path, fps: float) -> None:
        self._partial, self._fps = partial, fps
        self._encoder: Generator[None, Any, None] | None = None

    def __call__(self, frame: NDArray[np.floating]) -> None:
        picture = _even(to_bytes(frame))
        try:
            if self._encoder is None:
                self._encoder = self._start(picture.shape[1], picture.shape[0])
            self._encoder.send(picture)
        except OSError as error:
            raise cannot_write(self._partial.parent, error) from error

    def _start(self, width: int, height: int) -> Generator[None, Any, None]:
        import imageio_ffmpeg

        self._partial.parent.mkdir(parents=True, exist_ok=True)
        encoder = imageio_ffmpeg.write_frames(
            str(self._partial),
            (width, height),
            fps=self._fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=QUALITY,
            macro_block_size=2,
            ffmpeg_log_level="error",
        )
        encoder.send(None)
        return encoder

    def finish(self, target: Path) -> None:
        if self._encoder is None:
            raise Legs4dError("there are no frames to write", where=str(target))
        self._encoder.close()
        self._encoder = None
        if not self._partial.exists() or not self._partial.stat().st_size:
            raise Legs4dError(
                "the video could not be written", where=str(target), fix="free some space or write elsewhere"
            )
        self._partial.replace(target)

    def discard(self) -> None:
        if self._encoder is not None:
            self._encoder.close()
            self._encoder = None
        if self._partial.exists():
            self._partial.unlink()


class _PictureFolder:
    def __init__(self, folder: Path) -> None:
        self._folder, self._next = folder, 0

    def __call__(self, frame: NDArray[np.floating]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_picture(self._folder / f"{self._next:06d}.png", frame)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._next += 1


def write_picture(path: Path, picture: NDArray[np.floating]) -> None:
    """Write [H, W, 3] RGB, clamped to 0..1, as a PNG that appears when it is complete."""
    from PIL import Image

    partial = path.with_name(f".{path.stem}.partial.png")
    Image.fromarray(to_bytes(picture)).save(partial)
    partial.replace(path)


def grid(views: NDArray[np.floating]) -> NDArray[np.floating]:
    """C views [C, H, W, 3] as one picture, in rows as nearly square as can be; empty places are black."""
    count, height, width, channels = views.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, height, width, channels), views.dtype)
    filled[:count] = views
    return (
        filled.reshape(rows, columns, height, width, channels)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, channels)
    )


def to_bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    """0..1, clamped, to 0..255, rounded."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    return np.ascontiguousarray(np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def cannot_write(where: Path, error: OSError) -> Legs4dError:
    return Legs4dError(f"cannot be written ({error})", where=str(where), fix="free some space or write elsewhere")
