"""Writes frames as a video or as numbered pictures; nothing half-written is left under the name asked for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from legs4d.effects.rates import exact_rate
from legs4d.errors import Legs4dError
from legs4d.scene.images import as_bytes

QUALITY = 8
"""imageio-ffmpeg's scale, 0..10."""

_TO_BT709 = (
    "scale=in_range=pc:out_range=tv:out_color_matrix=bt709:flags=bilinear+accurate_rnd+full_chroma_int,"
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
)
"""Colours of HD video, and that they are: unless pictures say it, newer FFmpegs leave it out of the file."""
_BT709 = ("-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
"""The same, for those that heed options; players would guess another matrix and shift the colours."""


@dataclass(frozen=True)
class _Codec:
    """How ffmpeg writes a kind of video, and the bits per channel that it takes."""

    name: str
    pixels: str
    bits: int
    quality: int | None
    options: tuple[str, ...] = ()


CODECS = {
    ".mp4": _Codec("libx264", "yuv420p", 8, QUALITY),
    ".mov": _Codec("prores_ks", "yuv422p10le", 16, None, ("-profile:v", "hq", "-vendor", "apl0")),
}
"""H.264 and ProRes 422 HQ, by suffix."""


class FrameWriter(Protocol):
    """Takes frames one after another."""

    def __call__(self, frame: NDArray[np.floating]) -> None:
        """Append a frame: [H, W, 3] RGB or [H, W] grey, of PNGs [H, W, 4] with alpha too, clamped to 0..1, all of one
        size."""
        ...


@contextmanager
def write_video(path: str | Path, fps: float, *, deep: bool = False) -> Iterator[FrameWriter]:
    """Write H.264 (.mp4), ProRes 422 HQ (.mov), or a folder of PNGs when `path` has no suffix, numbered from 0.

        with write_video("x.mp4", 30) as write:
            for picture in pictures:
                write(picture)

    A video appears when it is complete. Sizes are even in videos, so an odd last row or column is shown twice.

    Args:
        fps: frames per second; of no meaning to PNGs.
        deep: PNGs of grey frames have 16 bits instead of 8.

    Raises:
        Legs4dError: another suffix, or the file cannot be written.
    """
    target = Path(path)
    check_video_name(target)
    if target.suffix:
        with _write_movie(target, fps) as write:
            yield write
    else:
        yield _PictureFolder(target, deep)


def check_video_name(target: Path) -> None:
    """Raise Legs4dError when this is the name of no kind of video that can be written."""
    if target.suffix and target.suffix.lower() not in CODECS:
        raise Legs4dError(
            f"{target.suffix} is no kind of video that can be written",
            where=str(target),
            fix="name a .mp4, a .mov (ProRes), or a folder for PNGs",
        )


@contextmanager
def _write_movie(target: Path, fps: float) -> Iterator[FrameWriter]:
    movie = _Movie(target.with_name(f".{target.stem}.partial{target.suffix}"), fps, CODECS[target.suffix.lower()])
    try:
        yield movie
        movie.finish(target)
    finally:
        movie.discard()


class _Movie:
    def __init__(self, partial: Path, fps: float, codec: _Codec) -> None:
        self._partial, self._fps, self._codec = partial, fps, codec
        self._encoder: Generator[None, Any, None] | None = None
        self._shape: tuple[int, ...] | None = None
        self._begun = False

    def __call__(self, frame: NDArray[np.floating]) -> None:
        steps = np.float32(2**self._codec.bits - 1)
        colored = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=-1)
        if self._shape not in (None, colored.shape):
            raise Legs4dError(
                f"pictures of {_size(self._shape)} pixels go on with one of {_size(colored.shape)}",
                where=str(self._partial.parent),
                fix="write them into files of their own",
            )
        self._shape = colored.shape
        picture = _even(np.rint(np.clip(colored, 0, 1) * steps).astype("<u2" if self._codec.bits > 8 else np.uint8))
        try:
            if self._encoder is None:
                self._encoder = self._start(picture.shape[1], picture.shape[0])
            self._encoder.send(picture)
        except OSError as error:
            raise cannot_write(self._partial.parent, error) from error

    def _start(self, width: int, height: int) -> Generator[None, Any, None]:
        import imageio_ffmpeg

        self._partial.parent.mkdir(parents=True, exist_ok=True)
        self._partial.open("wb").close()  # what forbids it is told as all errors are, not in the encoder's words
        self._begun = True
        encoder = imageio_ffmpeg.write_frames(
            str(self._partial),
            (width, height),
            fps=self._fps,
            pix_fmt_in="rgb48le" if self._codec.bits > 8 else "rgb24",
            codec=self._codec.name,
            pix_fmt_out=self._codec.pixels,
            quality=self._codec.quality,
            macro_block_size=2,
            ffmpeg_log_level="error",
            input_params=["-r", str(exact_rate(self._fps))],  # the last counts; its own has two digits
            output_params=["-vf", _TO_BT709, *_BT709, "-movflags", "+write_colr", *self._codec.options],
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
        if self._begun:
            self._partial.unlink(missing_ok=True)


class _PictureFolder:
    def __init__(self, folder: Path, deep: bool) -> None:
        self._folder, self._deep, self._next = folder, deep, 0

    def __call__(self, frame: NDArray[np.floating]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_picture(self._folder / f"{self._next:06d}.png", frame, deep=self._deep)
        except OSError as error:
            raise cannot_write(self._folder, error) from error
        self._next += 1


def write_picture(path: Path, picture: NDArray[np.floating], *, deep: bool = False) -> None:
    """Write [H, W, 3] RGB, [H, W, 4] with alpha, or [H, W] grey, clamped to 0..1, as a PNG that appears when
    it is complete.

    Args:
        deep: 16 bits a pixel instead of 8; for grey pictures.
    """
    from PIL import Image

    partial = path.with_name(f".{path.stem}.partial.png")
    values = np.rint(np.clip(picture, 0, 1) * 65535).astype(np.uint16) if deep else as_bytes(picture)
    Image.fromarray(values).save(partial)
    partial.replace(path)


def grid(views: NDArray[np.floating]) -> NDArray[np.floating]:
    """C views [C, H, W, ...] as one picture, in rows as nearly square as can be; empty places are black."""
    count, height, width, *channels = views.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, height, width, *channels), views.dtype)
    filled[:count] = views
    return (
        filled.reshape(rows, columns, height, width, *channels)
        .swapaxes(1, 2)
        .reshape(rows * height, columns * width, *channels)
    )


def _even(picture: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    height, width, _ = picture.shape
    return np.ascontiguousarray(np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}×{shape[0]}"


def cannot_write(where: Path, error: OSError) -> Legs4dError:
    return Legs4dError(f"cannot be written ({error})", where=str(where), fix="free some space or write elsewhere")
